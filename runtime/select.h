// Config selection: the config get() uses where nobody asked for a particular one.
#pragma once

#include "codegen/config.h"
#include "codegen/shape.h"
#include "codegen/target.h"

namespace marlin {

// The legal config that the cost estimate ranks first. Pure and deterministic. Throws
// Error{invalid_shape or invalid_target}; every valid shape has a config on every known target.
Config choose_config(const Shape& shape, const Target& target);

}  // namespace marlin
