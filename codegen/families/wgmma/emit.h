// The emit functions of the wgmma family, one file for each memory hop.
#pragma once

#include <string>
#include <string_view>

#include "codegen/emit/source.h"
#include "codegen/emit/text.h"
#include "codegen/plan/plan.h"

namespace marlin {

// emit_tiles.cpp: block -> segments of tiles; barriers.
bool one_segment(const Plan& plan);  // of one tile, for every block
void open_segment(const Plan& plan,
                  Text& text);  // the line that begins what is done for each segment
void next_stage(const Plan& plan, Text& text);
// Loops over the fixup peers, the blocks whose partial sums this one adds, nearest first, while the
// condition holds.
void open_fixup_peers(const Plan& plan, Text& text, std::string_view condition);
std::string fixup_peer_block(const Plan& plan);
// Where a block's sums and flags are in the workspace.
std::string partials_of(const Plan& plan, std::string_view block);
std::string flags_of(const Plan& plan, std::string_view block);
int mbarrier_threads(const Plan& plan);  // threads: the consumers and the warp that makes them
std::string emit_wgmma_work(const Plan& plan);
std::string emit_wgmma_barriers(const Plan& plan);

// emit_producer.cpp: global -> shared memory.
std::string emit_wgmma_produce(const Plan& plan);

// emit_consumer.cpp: shared memory -> fragments -> sums.
// A warp has read all of a stage.
void release_stage(const Plan& plan, Text& text, std::string_view condition,
                   std::string_view stage);
std::string wgmma_result(const Plan& plan);  // the array of the sums that become C
std::string emit_wgmma_primitive(const Plan& plan);
std::string emit_wgmma_addresses(const Plan& plan);
std::string emit_wgmma_consume(const Plan& plan);

// emit_epilogue.cpp: sums -> other blocks -> C.
std::string emit_wgmma_output(const Plan& plan);

}  // namespace marlin
