// Public name for codegen/problem/scheme.h, where the type is defined.
#pragma once

#include "codegen/problem/scheme.h"
