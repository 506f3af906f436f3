// The emit functions of the decode family, one file for each memory hop.
#pragma once

#include <string>

#include "codegen/emit/activation_copies.h"
#include "codegen/emit/mma_step.h"
#include "codegen/emit/source.h"
#include "codegen/emit/text.h"
#include "codegen/plan/plan.h"

namespace marlin {

// emit_copies.cpp: block -> its part of the work; global -> shared memory.
std::string decode_rank(const Plan& plan);    // the name of a block's rank, "0" when alone
std::string decode_n_tile(const Plan& plan);  // of its tile, "0" when there is only one
bool reduces_unevenly(const Plan& plan);      // some blocks of a cluster add up less than others
std::string emit_decode_work(const Plan& plan);
std::string emit_decode_copies(const Plan& plan);
std::string emit_decode_fill(const Plan& plan);

// emit_mainloop.cpp: shared memory -> fragments -> sums.
std::string emit_decode_fragments(const Plan& plan);
std::string emit_decode_product(const Plan& plan);

// emit_epilogue.cpp: sums -> reducers -> C.
std::string emit_decode_output(const Plan& plan);

}  // namespace marlin
