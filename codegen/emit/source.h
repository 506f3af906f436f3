// Source: what the text of every family's kernels begins with.
#pragma once

#include <string>
#include <string_view>

#include "codegen/plan/plan.h"
#include "codegen/plan/shared_map.h"

namespace marlin {

std::string emit_title(const Plan& plan);
// `way` is the family's sentences on what a block does.
std::string emit_description(const Plan& plan, std::string_view summary);
std::string emit_assumptions(const Plan& plan, std::string_view more);
// The expression for the row of scales where those of a unit (or k tile) of this name begin.
std::string first_scale_row(const Plan& plan, std::string_view unit);
// The areas of shared memory as named constants, which the kernel's addresses are made of.
std::string emit_shared_map(const SharedMap& map, int shared_bytes);

}  // namespace marlin
