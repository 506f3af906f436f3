// The whole config space of a small shape, compiled for every architecture: no spills, no stack,
// and no more registers than legality counted on. Kernels of many tokens are sampled.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include "codegen/base/error.h"
#include "codegen/generator.h"
#include "codegen/plan/resources.h"
#include "runtime/compile/nvrtc.h"

namespace marlin {
namespace {

// Only the families with mma.sync have an estimate.
const WarpTile& warp_of(const Plan& plan) {
  return plan.config.family() == Family::decode ? plan.decode().warp : plan.stripe().warp;
}

struct Space {
  Shape shape;
  Target target;
  int every;  // compile one config in so many

  friend std::ostream& operator<<(std::ostream& out, const Space& space) {
    return out << to_string(space.shape) << " on " << space.target.arch;
  }
};

// What is wrong with a kernel of this plan in this text, or "".
std::string fault_of(const Plan& plan, const std::string& source) try {
  const CompileOutput output =
      nvrtc_compile({source, plan.launch.entry, plan.target.arch, kernel_compile_options()});
  const KernelResources used = parse_resources(output.log, plan.launch.entry);
  std::string fault;
  if (used.spill_stores + used.spill_loads + used.stack_bytes > 0) {
    fault += " spills " + std::to_string(used.spill_stores) + " bytes, stack " +
             std::to_string(used.stack_bytes);
  }
  const int room =
      limits_of(plan.target).registers_per_sm / (plan.launch.threads * plan.config.blocks_per_sm);
  if (used.registers > room) fault += " takes " + std::to_string(used.registers) + " registers";
  if (used.static_shared_bytes > 0) fault += " has shared memory outside the plan";
  return fault;
} catch (const Error& error) {
  return std::string(" ") + error.what() + "\n" + error.log();
}

bool compiler_knows(const std::string& arch) try {
  nvrtc_compile({"", "empty", arch, {}});
  return true;
} catch (const Error& error) {
  return error.code() != ErrorCode::no_nvrtc;
}

class CompileSpace : public testing::TestWithParam<Space> {};

TEST_P(CompileSpace, HasNoSpills) {
  const Space& space = GetParam();
  if (!compiler_knows(space.target.arch)) GTEST_SKIP() << "no NVRTC for " << space.target.arch;
  const std::vector<Config> configs = legal_configs(space.shape, space.target);
  ASSERT_FALSE(configs.empty());
  std::atomic<std::size_t> next{0};
  std::mutex reporting;
  const auto work = [&] {
    for (std::size_t i; (i = space.every * next++) < configs.size();) {
      const Plan plan = make_plan(space.shape, space.target, configs[i]);
      const std::string fault = fault_of(plan, emit_source(plan));
      const std::lock_guard lock(reporting);
      EXPECT_EQ(fault, "") << to_string(configs[i]);
    }
  };
  std::thread other(work);
  work();
  other.join();
}

std::vector<Space> spaces() {
  std::vector<Space> found;
  for (const ArchLimits& arch : known_archs()) {
    // Few enough SMs for this shape to have splits, spans and stripes.
    const Target target{std::string(arch.name), 4};
    found.push_back({{16, 512, 1024, 128, false}, target, 1});
    found.push_back({{16, 512, 1024, -1, true}, target, 3});
    found.push_back({{32, 512, 1024, 128, true}, target, 11});
    found.push_back({{64, 512, 1024, -1, false}, target, 9});
    found.push_back({{200, 512, 1024, 128, false}, target, 9});
  }
  return found;
}

INSTANTIATE_TEST_SUITE_P(Small, CompileSpace, testing::ValuesIn(spaces()));

// A kernel held to the registers of the estimate, by a bound of more blocks for each SM, needs no
// more: what legality lets pass on the strength of the estimate does not spill.
TEST(RegisterEstimate, IsEnough) {
  const Target target{"sm_80", 4};
  if (!compiler_knows(target.arch)) GTEST_SKIP() << "no NVRTC for " << target.arch;
  for (const Shape& shape : {Shape{16, 512, 1024, 128, false}, Shape{40, 512, 1024, -1, true},
                             Shape{24, 512, 1024, 128, false}, Shape{64, 512, 1024, 128, true}}) {
    const std::vector<Config> configs = legal_configs(shape, target);
    for (std::size_t i = 0; i < configs.size(); i += 11) {
      const Plan plan = make_plan(shape, target, configs[i]);
      const int estimate = (register_estimate(plan, warp_of(plan)) + 7) / 8 * 8;
      const int blocks = std::max(1, 65536 / (plan.launch.threads * estimate));
      std::string source = emit_source(plan);
      const std::size_t bound = source.find("__launch_bounds__(");
      ASSERT_NE(bound, std::string::npos);
      source.replace(bound, source.find(')', bound) - bound,
                     "__launch_bounds__(" + std::to_string(plan.launch.threads) + ", " +
                         std::to_string(blocks));
      EXPECT_EQ(fault_of(plan, source), "") << to_string(configs[i]);
    }
  }
}

}  // namespace
}  // namespace marlin
