// Public name for codegen/target.h, where the type is defined.
#pragma once

#include "codegen/target.h"
