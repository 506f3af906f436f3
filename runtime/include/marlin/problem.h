// Public name for codegen/problem/problem.h, where the type is defined.
#pragma once

#include "codegen/problem/problem.h"
