// One k16 step of the families with mma.sync: two steps alternate between two buffers of fragments.
// Which stage is read is in the expressions for the addresses of its words, tokens and scales.
#pragma once

#include <string_view>

#include "codegen/emit/text.h"
#include "codegen/plan/plan.h"

namespace marlin {

void declare_registers(const Plan& plan, Text& text);
void load_step(const Plan& plan, Text& text, int step, std::string_view words,
               std::string_view tokens);
void load_scales(const Plan& plan, Text& text, std::string_view scales);
// `group_steps` steps share a scale: the first of them starts their sums.
void multiply_step(const Plan& plan, Text& text, int step, int group_steps);
void add_group(const Plan& plan, Text& text);

}  // namespace marlin
