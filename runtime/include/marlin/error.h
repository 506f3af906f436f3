// Public name for codegen/error.h, where the type is defined.
#pragma once

#include "codegen/error.h"
