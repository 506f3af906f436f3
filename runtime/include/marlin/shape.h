// Public name for codegen/shape.h, where the type is defined.
#pragma once

#include "codegen/shape.h"
