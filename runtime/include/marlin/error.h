// Public name for codegen/base/error.h, where the type is defined.
#pragma once

#include "codegen/base/error.h"
