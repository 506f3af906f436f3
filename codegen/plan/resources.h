// What a plan's block takes of an SM, and whether the SM has it.
#pragma once

#include <optional>
#include <string>

#include "codegen/plan/plan.h"

namespace marlin {

// For the families with mma.sync: registers that suffice for a thread's accumulators, fragments,
// scales and addresses without spills; the compiler takes more where it has room. Legality compares
// it with what a config leaves a thread.
int register_estimate(const Plan& plan, const WarpTile& warp);

// Blocks of this plan that fit on an SM together, by that estimate.
int resident_blocks(const Plan& plan, const WarpTile& warp);

// The rule that a block's threads, registers and shared memory break, alone or with the others that
// the config wants on an SM; or nothing.
std::optional<std::string> resource_rule(const Plan& plan, const WarpTile& warp);

// That of shared memory alone, for all families.
std::optional<std::string> shared_memory_rule(const Plan& plan);

}  // namespace marlin
