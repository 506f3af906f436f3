// Emitted kernels, run on the CPU by tests/simulator: the right product, no race, no stray access,
// no bank conflict, every byte copied exactly as often as needed. Legal configs of small shapes.
#include <gtest/gtest.h>

#include <algorithm>
#include <ostream>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "codegen/source.h"
#include "tests/simulator/trial.h"

namespace marlin {
namespace {

using simulator::first_fault;
using simulator::run_trial;
using simulator::Trial;

struct Case {
  Shape shape;
  Target target;
  int every = 1;  // of the legal configs, one in so many
};

std::ostream& operator<<(std::ostream& out, const Case& c) { return out << to_string(c.shape); }

std::string fault_of(const Plan& plan, int m, unsigned seed) {
  try {
    return first_fault(plan, run_trial(plan, emit_source(plan), m, seed, seed), m);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
}

class SimulatedKernel : public testing::TestWithParam<Case> {};

TEST_P(SimulatedKernel, KeepsEveryRuleForEveryConfig) {
  const Case& c = GetParam();
  const std::vector<Config> configs = legal_configs(c.shape, c.target);
  ASSERT_FALSE(configs.empty());
  for (std::size_t i = 0; i < configs.size(); i += c.every) {
    const Plan plan = make_plan(c.shape, c.target, configs[i]);
    EXPECT_EQ(fault_of(plan, static_cast<int>(c.shape.m), 1), "") << to_string(configs[i]);
    if (!plan.dynamic_m) continue;
    const int fewer = static_cast<int>(c.shape.m) - 1;
    EXPECT_EQ(fault_of(plan, fewer, 1), "") << to_string(configs[i]) << ", m = " << fewer;
  }
}

INSTANTIATE_TEST_SUITE_P(SmallShapes, SimulatedKernel,
                         testing::Values(Case{{16, 256, 512, 128, true}, {"sm_90a", 6}},
                                         Case{{16, 256, 512, -1, false}, {"sm_80", 6}}));

}  // namespace
}  // namespace marlin
