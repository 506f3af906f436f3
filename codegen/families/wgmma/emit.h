// The emit functions of the wgmma family, one file for each memory hop.
#pragma once

#include <string>
#include <string_view>

#include "codegen/emit/source.h"
#include "codegen/emit/text.h"
#include "codegen/plan/plan.h"

namespace marlin {

// emit_wgmma_work.cpp: block -> pieces of tiles; barriers.
bool one_piece(const Plan& plan);               // of one tile, for every block
void open_piece(const Plan& plan, Text& text);  // the line that begins what is done for each piece
void next_stage(const Plan& plan, Text& text);
// The blocks whose sums this one adds to its own, from the nearest on, where the condition holds.
void open_givers(const Plan& plan, Text& text, std::string_view condition);
std::string giver_block(const Plan& plan);
// Where a block's sums and flags are in the workspace.
std::string partials_of(const Plan& plan, std::string_view block);
std::string flags_of(const Plan& plan, std::string_view block);
int users_of_barriers(const Plan& plan);  // threads: the consumers and the warp that makes them
std::string emit_wgmma_work(const Plan& plan);
std::string emit_wgmma_barriers(const Plan& plan);

// emit_wgmma_copies.cpp: global -> shared memory.
std::string emit_wgmma_produce(const Plan& plan);

// emit_wgmma_product.cpp: shared memory -> fragments -> sums.
// A warp has read all of a stage.
void release_stage(const Plan& plan, Text& text, std::string_view condition,
                   std::string_view stage);
std::string wgmma_result(const Plan& plan);  // the array of the sums that become C
std::string emit_wgmma_primitive(const Plan& plan);
std::string emit_wgmma_addresses(const Plan& plan);
std::string emit_wgmma_consume(const Plan& plan);

// emit_wgmma_output.cpp: sums -> other blocks -> C.
std::string emit_wgmma_output(const Plan& plan);

}  // namespace marlin
