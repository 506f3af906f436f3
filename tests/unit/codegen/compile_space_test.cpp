// The whole config space of a small shape, compiled: no spills, no stack, and no more registers
// than legality counted on. Each text is compiled once, for one of the architectures that have it,
// which take turns. Kernels of many tokens are sampled.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <ostream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "codegen/base/error.h"
#include "codegen/generator.h"
#include "codegen/plan/resources.h"
#include "runtime/compile/nvrtc.h"
#include "tests/unit/problems.h"

namespace marlin {
namespace {

// Only the families with mma.sync have an estimate.
const WarpTile& warp_of(const Plan& plan) {
  return plan.config.family() == Family::decode ? plan.decode().warp : plan.stripe().warp;
}

struct Space {
  Problem problem;
  int every;  // compile one text in so many

  friend std::ostream& operator<<(std::ostream& out, const Space& space) {
    return out << to_string(space.problem);
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

// A kernel's text without the two lines that name its architecture.
std::string without_arch(const std::string& source) {
  std::string text = source;
  for (const char* mark : {"// Written for ", "static_assert(__CUDA_ARCH__ == "}) {
    const std::size_t at = text.find(mark);
    if (at == std::string::npos) throw std::runtime_error("no architecture in the text");
    text.erase(at, text.find('\n', at) - at);
  }
  return text;
}

// All texts that kernels of this shape have, each with the plans it is written by, one for each
// architecture. Few enough SMs for a small shape to have splits, spans and stripes.
std::vector<std::vector<Plan>> plans_by_text(const Problem& problem) {
  constexpr int kSms = 4;
  std::vector<std::vector<Plan>> found;
  std::map<std::string, std::size_t> places;
  for (const ArchLimits& arch : known_archs()) {
    const Target target{std::string(arch.name), kSms};
    if (!compiler_knows(target.arch)) continue;
    for (const Config& config : legal_configs(problem, target)) {
      const Plan plan = make_plan(problem, target, config);
      const auto [at, is_new] = places.emplace(without_arch(emit_source(plan)), found.size());
      if (is_new) found.emplace_back();
      found[at->second].push_back(plan);
    }
  }
  return found;
}

// One plan of each text, of the architecture that has had the fewest so far.
std::vector<Plan> plans_to_compile(const Space& space) {
  const std::vector<std::vector<Plan>> texts = plans_by_text(space.problem);
  std::map<std::string, int> chosen;
  std::vector<Plan> plans;
  for (std::size_t i = 0; i < texts.size(); i += static_cast<std::size_t>(space.every)) {
    const auto fewer = [&](const Plan& a, const Plan& b) {
      return chosen[a.target.arch] < chosen[b.target.arch];
    };
    plans.push_back(*std::min_element(texts[i].begin(), texts[i].end(), fewer));
    ++chosen[plans.back().target.arch];
  }
  return plans;
}

class CompileSpace : public testing::TestWithParam<Space> {};

TEST_P(CompileSpace, HasNoSpills) {
  const std::vector<Plan> plans = plans_to_compile(GetParam());
  if (plans.empty()) GTEST_SKIP() << "no NVRTC";
  std::map<std::string, int> compiled;
  for (const Plan& plan : plans) ++compiled[plan.target.arch];
  for (const ArchLimits& arch : known_archs()) {
    const std::string name(arch.name);
    EXPECT_EQ(compiled.count(name), compiler_knows(name) ? 1U : 0U) << name;
  }
  std::atomic<std::size_t> next{0};
  std::mutex reporting;
  const auto work = [&] {
    for (std::size_t i; (i = next++) < plans.size();) {
      const std::string fault = fault_of(plans[i], emit_source(plans[i]));
      const std::lock_guard lock(reporting);
      EXPECT_EQ(fault, "") << to_string(plans[i].config) << " on " << plans[i].target.arch;
    }
  };
  std::thread other(work);
  work();
  other.join();
}

INSTANTIATE_TEST_SUITE_P(Small, CompileSpace,
                         testing::Values(Space{problem_of(16, 512, 1024, 128, false), 5},
                                         Space{problem_of(16, 512, 1024, -1, true), 9},
                                         Space{problem_of(32, 512, 1024, 128, true), 23},
                                         Space{problem_of(64, 512, 1024, -1, false), 5},
                                         Space{problem_of(200, 512, 1024, 128, false), 5}));

// A kernel held to the registers of the estimate, by a bound of more blocks for each SM, needs no
// more: what legality lets pass on the strength of the estimate does not spill.
TEST(RegisterEstimate, IsEnough) {
  const Target target{"sm_80", 4};
  if (!compiler_knows(target.arch)) GTEST_SKIP() << "no NVRTC for " << target.arch;
  for (const Problem& problem :
       {problem_of(16, 512, 1024, 128, false), problem_of(40, 512, 1024, -1, true),
        problem_of(24, 512, 1024, 128, false), problem_of(64, 512, 1024, 128, true)}) {
    const std::vector<Config> configs = legal_configs(problem, target);
    for (std::size_t i = 0; i < configs.size(); i += 11) {
      const Plan plan = make_plan(problem, target, configs[i]);
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
