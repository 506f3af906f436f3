// The emit functions, one file for each memory hop: each turns a Plan into the lines of one part of
// the kernel. They print numbers of the Plan and compute none.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "codegen/plan.h"
#include "codegen/text.h"

namespace marlin {

// source.cpp: what every family's source begins with. `way` is its sentences on what a block does.
std::string emit_title(const Plan& plan);
std::string emit_description(const Plan& plan, std::string_view way);
std::string emit_beliefs(const Plan& plan, std::string_view more);
std::string device_text(const std::vector<std::string_view>& names);  // of templates/device/

// emit_work.cpp: block -> tiles. The names of a block's place, "0" where there is only one.
std::string m_tile_name(const Plan& plan);
std::string slice_name(const Plan& plan);
std::string first_k_tile_name(const Plan& plan);
std::string emit_stripe_table(const Plan& plan);
std::string emit_warp_place(const Plan& plan);
std::string emit_work(const Plan& plan);
// The expression for the rows that the matrix has in the token tile of this name.
std::string rows_of(const Plan& plan, std::string_view m_tile);

// emit_copies.cpp: global -> shared memory.
// One thread's copies of the token rows of a stage or a unit, between these places: a condition,
// "" or "if (...) ", and two addresses.
struct TokenCopy {
  std::string guard, to, from;
};
std::vector<TokenCopy> token_copies(const Plan& plan, std::string_view to, std::string_view from);
// The same as asynchronous copies.
void copy_tokens(const Plan& plan, Text& text, std::string_view to, std::string_view from);
std::string emit_copy_addresses(const Plan& plan);
std::string emit_fetch(const Plan& plan);
std::string emit_fill(const Plan& plan);

// emit_product.cpp: shared memory -> fragments -> sums.
std::string emit_fragment_addresses(const Plan& plan);
std::string emit_product(const Plan& plan);

// emit_fragments.cpp: one k16 step, two steps alternating between two buffers of fragments. Which
// stage is read is in the expressions for the addresses of its words, tokens and scales.
bool scales_accumulators(const Plan& plan);  // group scales, by where they are applied
bool scales_weights(const Plan& plan);
void declare_registers(const Plan& plan, Text& text);
void load_step(const Plan& plan, Text& text, int step, std::string_view words,
               std::string_view tokens);
void load_scales(const Plan& plan, Text& text, std::string_view scales);
// `group_steps` steps share a scale: the first of them starts their sums.
void multiply_step(const Plan& plan, Text& text, int step, int group_steps);
void add_group(const Plan& plan, Text& text);

// emit_output.cpp: sums -> shared memory -> C, through the workspace where a slice is shared.
std::string emit_output_addresses(const Plan& plan);
std::string emit_finish(const Plan& plan);

}  // namespace marlin
