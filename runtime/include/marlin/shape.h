// Public name for codegen/problem/shape.h, where the type is defined.
#pragma once

#include "codegen/problem/shape.h"
