// The stripe family: mma.sync with weights as the A operand, cp.async rings, Marlin's stripes.
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

SharedMap stripe_shared_map(const Plan& plan);

// As KernelFamily's members of the same names.
std::vector<Config> stripe_configs(const Problem& problem, const Target& target);
std::optional<SumOrder> stripe_sum_order(const Plan& plan);
std::optional<std::string> stripe_rule(const Problem& problem, const Target& target,
                                       const Config& config);
Plan stripe_plan(const Problem& problem, const Target& target, const Config& config);
std::string stripe_source(const Plan& plan);
Cost stripe_cost(const Plan& plan, const GpuModel& gpu, bool chained);

}  // namespace marlin
