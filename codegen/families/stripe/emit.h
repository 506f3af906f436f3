// The emit functions of the stripe family, one file for each memory hop: each turns a Plan into the
// lines of one part of the kernel.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "codegen/emit/activation_copies.h"
#include "codegen/emit/mma_step.h"
#include "codegen/emit/source.h"
#include "codegen/emit/text.h"
#include "codegen/plan/plan.h"

namespace marlin {

// emit_tiles.cpp: block -> tiles. The names of a block's place, "0" where there is only one.
std::string m_tile_name(const Plan& plan);
std::string n_tile_name(const Plan& plan);
std::string first_k_tile_name(const Plan& plan);
std::string emit_stripe_table(const Plan& plan);
std::string emit_warp_index(const Plan& plan);
std::string emit_work(const Plan& plan);
// The expression for the rows that the matrix has in the token tile of this name.
std::string rows_of(const Plan& plan, std::string_view m_tile);

// emit_copies.cpp: global -> shared memory.
std::string emit_copy_addresses(const Plan& plan);
std::string emit_fetch(const Plan& plan);
std::string emit_fill(const Plan& plan);

// emit_mainloop.cpp: shared memory -> fragments -> sums.
std::string emit_fragment_addresses(const Plan& plan);
std::string emit_product(const Plan& plan);

// emit_epilogue.cpp: sums -> shared memory -> C, through the workspace where a tile is shared.
std::string emit_output_addresses(const Plan& plan);
std::string emit_finish(const Plan& plan);

}  // namespace marlin
