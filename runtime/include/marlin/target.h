// Public name for codegen/problem/target.h, where the type is defined.
#pragma once

#include "codegen/problem/target.h"
