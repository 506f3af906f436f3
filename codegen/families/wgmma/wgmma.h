// The wgmma family, for more tokens on sm_90a: dequantised weights as the register A operand of
// asynchronous warpgroup products, activations by tensor copies, a producer warp beside the
// consumers.
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

// Whether the blocks of one tile have a part of its K each.
bool splits_k(const Config& config);

SharedMap wgmma_shared_map(const Plan& plan);

// As KernelFamily's members of the same names.
std::vector<Config> wgmma_configs(const Problem& problem, const Target& target);
std::optional<SumOrder> wgmma_sum_order(const Plan& plan);
std::optional<std::string> wgmma_rule(const Problem& problem, const Target& target,
                                      const Config& config);
Plan wgmma_plan(const Problem& problem, const Target& target, const Config& config);
std::string wgmma_source(const Plan& plan);
Cost wgmma_cost(const Plan& plan, const GpuModel& gpu, bool chained);

}  // namespace marlin
