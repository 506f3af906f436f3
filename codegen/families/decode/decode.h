// The decode family, for few tokens on sm_90 and later: mma.sync with weights as the A operand, K
// split over the warps of a block and the blocks of a cluster, which add up through distributed
// shared memory.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "codegen/cost/cost.h"
#include "codegen/cost/gpu_model.h"
#include "codegen/plan/plan.h"
#include "codegen/plan/shared_map.h"
#include "codegen/plan/sum_order.h"

namespace marlin {

SharedMap decode_shared_map(const Plan& plan);

// As KernelFamily's members of the same names.
std::vector<Config> decode_configs(const Problem& problem, const Target& target);
std::optional<SumOrder> decode_sum_order(const Plan& plan);
std::optional<std::string> decode_rule(const Problem& problem, const Target& target,
                                       const Config& config);
Plan decode_plan(const Problem& problem, const Target& target, const Config& config);
std::string decode_source(const Plan& plan);
Cost decode_cost(const Plan& plan, const GpuModel& gpu, bool chained);

}  // namespace marlin
