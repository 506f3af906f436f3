// Emitted kernels, run on the CPU by tests/simulator: the right product, no race, no stray access,
// no bank conflict, every byte copied exactly as often as needed.
#include <gtest/gtest.h>

#include <algorithm>
#include <ostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "codegen/generator.h"
#include "tests/simulator/trial.h"
#include "tests/unit/codegen/legal_cases.h"
#include "tests/unit/problems.h"

namespace marlin {

static std::ostream& operator<<(std::ostream& out, const Problem& problem) {
  return out << to_string(problem);
}

namespace {

using simulator::first_fault;
using simulator::run_trial;

std::string fault_of(const Plan& plan, std::int64_t m) {
  try {
    const int rows = static_cast<int>(m);
    return first_fault(plan, run_trial(plan, emit_source(plan), rows, 1, 1), rows);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
}

// With all rows, and where the kernel serves fewer, with one less and with less than half.
void expect_right(const Plan& plan) {
  const std::int64_t m = plan.problem.shape.m;
  EXPECT_EQ(fault_of(plan, m), "") << to_string(plan.problem) << " | " << to_string(plan.config);
  if (!plan.tiles.dynamic_m) return;
  EXPECT_EQ(fault_of(plan, m - 1), "")
      << to_string(plan.problem) << " | " << to_string(plan.config) << ", one row less";
}

// Those of the wgmma family, or all others.
void expect_all_right(const Problem& problem, bool wgmma) {
  const Target target{"sm_90a", 5};
  std::size_t count = 0;
  for (const Config& config : legal_configs(problem, target)) {
    if ((config.family() == Family::wgmma) != wgmma) continue;
    expect_right(make_plan(problem, target, config));
    ++count;
  }
  EXPECT_GT(count, 0U);
}

class EveryLegalConfig : public testing::TestWithParam<Problem> {};

TEST_P(EveryLegalConfig, IsRight) { expect_all_right(GetParam(), false); }

// Larger tiles and more of them: these have shapes of their own.
class EveryWgmmaConfig : public testing::TestWithParam<Problem> {};

TEST_P(EveryWgmmaConfig, IsRight) { expect_all_right(GetParam(), true); }

INSTANTIATE_TEST_SUITE_P(SmallShapes, EveryWgmmaConfig,
                         testing::Values(problem_of(24, 192, 512, 128, false),  // a ragged tile
                                         problem_of(33, 256, 256, 32, true),    // groups of a stage
                                         problem_of(40, 384, 320, -1, true),    // none, odd k tiles
                                         problem_of(17, 320, 448, 64,
                                                    true)));  // and of half a stage

INSTANTIATE_TEST_SUITE_P(
    SmallShapes, EveryLegalConfig,
    testing::Values(problem_of(1, 256, 1024, 128, true),    // one token
                    problem_of(16, 512, 512, 128, false),   // two MMA tiles
                    problem_of(24, 256, 512, 128, true),    // an odd number of them
                    problem_of(5, 192, 192, -1, false),     // a padded tile
                    problem_of(9, 256, 128, 128, true),     // k of one group
                    problem_of(64, 256, 256, 128, true),    // the largest tile
                    problem_of(100, 256, 256, 128, false),  // several, a tail
                    problem_of(3, 256, 1024, 64, false),    // groups of a unit
                    problem_of(17, 128, 512, 32, true),     // and of half a unit
                    problem_of(8, 64, 1216, -1, false),     // long and short parts
                    problem_of(96, 256, 320, -1, true)));   // several, none

// Configs that legal_configs would not propose: every option there is, beside every kind of
// partition.
void expect_cover_right(unsigned seed, const CaseLimits& limits, Family family) {
  constexpr int kTries = 400;
  for (const LegalCase& c : RandomCases(seed, limits).covering(kTries, family)) {
    SCOPED_TRACE(c);
    expect_right(make_plan(c.problem, c.target, c.config));
  }
}

TEST(AnyLegalConfig, OfTheStripeFamilyIsRight) {
  expect_cover_right(11, {80, 8, 8, 7}, Family::stripe);
}

TEST(AnyLegalConfig, OfTheDecodeFamilyIsRight) {
  expect_cover_right(12, {32, 8, 16, 7}, Family::decode);
}

TEST(AnyLegalConfig, OfTheWgmmaFamilyIsRight) {
  expect_cover_right(13, {100, 8, 8, 7}, Family::wgmma);
}

// Wgmma configs that legal_configs proposes for larger products only.
TEST(WgmmaKernels, AreRight) {
  const Target target{"sm_90a", 12};
  const Problem problem = problem_of(100, 512, 512, 32, false);
  for (const char* text : {"wgmma m64 n256 w8x1 k64 s4 weights split1 b1 raster2 multicast2",
                           "wgmma m104 n256 w16x1 k64 s3 weights split1 b1",
                           "wgmma m56 n192 w12x1 k128 s3 weights stripes5 b1 raster2",
                           "wgmma m96 n192 w12x1 k64 s3 accumulators split2 b1 burst2",
                           "wgmma m64 n192 w12x1 k64 s2 weights cluster2 b1",
                           "wgmma m48 n128 w4x1 k64 s2 weights split1 b1 burst2",
                           "wgmma m32 n128 w4x1 k64 s2 weights cluster4 b2 burst2 early"}) {
    ASSERT_EQ(why_illegal(problem, target, parse_config(text)), std::nullopt) << text;
    expect_right(make_plan(problem, target, parse_config(text)));
  }
}

// The configs of a list that are unlike in what they do to scales and sums: one for each family,
// place where scales are applied, and way in which parts of a tile come together.
std::vector<Config> unlike(const std::vector<Config>& configs) {
  std::vector<Config> chosen;
  for (const Config& config : configs) {
    const bool known = std::any_of(chosen.begin(), chosen.end(), [&](const Config& other) {
      return other.family() == config.family() && other.scale_on == config.scale_on &&
             other.partition.kind == config.partition.kind;
    });
    if (!known) chosen.push_back(config);
  }
  return chosen;
}

// Which kernel a row count gets must not decide whether the result is right.
TEST(InputRanges, HoldAtTheirEdgesInEveryKernel) {
  const Target target{"sm_90a", 5};
  for (const Problem& problem :
       {problem_of(24, 128, 384, 128, true), problem_of(24, 128, 384, -1, true)}) {
    const std::vector<Config> configs = unlike(legal_configs(problem, target));
    EXPECT_GE(configs.size(), problem.scheme.group == -1 ? 5U : 8U);
    for (const Config& config : configs) {
      const Plan plan = make_plan(problem, target, config);
      const std::string source = emit_source(plan);
      for (const reference::Inputs inputs : reference::kAllInputs) {
        const auto trial = run_trial(plan, source, 24, 1, 1, inputs);
        EXPECT_EQ(first_fault(plan, trial, 24), "")
            << to_string(problem) << " | " << to_string(config) << ", inputs "
            << static_cast<int>(inputs);
      }
    }
  }
}

// The parts of K are added in their order, whichever block of a cluster is first.
TEST(Clusters, GiveTheSameBitsInEveryOrderOfBlocks) {
  const Problem problem = problem_of(16, 256, 1216, 64, true);
  const Target target{"sm_90a", 7};
  for (const char* text : {"decode m16 n64 w1x2 k64 s2 accumulators cluster3 b1",
                           "decode m16 n128 w2x1 k64 s3 accumulators cluster4 b1 early"}) {
    const Plan plan = make_plan(problem, target, parse_config(text));
    const std::string source = emit_source(plan);
    const auto first = run_trial(plan, source, 16, 3, 0).c;
    for (unsigned order = 1; order <= 3; ++order) {
      EXPECT_EQ(run_trial(plan, source, 16, 3, order).c, first) << text << ", order " << order;
    }
  }
}

// Partial sums are added in the order of their k, whichever block comes last.
TEST(SharedTiles, GiveTheSameBitsInEveryOrderOfBlocks) {
  const Problem problem = problem_of(16, 512, 768, 128, true);
  const Target target{"sm_90a", 7};
  for (const char* text :
       {"m16 n64 w1x2 k64 s2 accumulators split3 b1", "m16 n64 w1x2 k64 s3 weights stripes7 b1",
        "m16 n256 w4x2 k64 s4 weights stripes5 b1"}) {
    const Plan plan = make_plan(problem, target, parse_config(text));
    ASSERT_TRUE(plan.workspace.shared);
    const std::string source = emit_source(plan);
    const auto first = run_trial(plan, source, 16, 3, 0).c;
    for (unsigned order = 1; order <= 3; ++order) {
      EXPECT_EQ(run_trial(plan, source, 16, 3, order).c, first) << text << ", order " << order;
    }
  }
}

// The same of the wgmma family, whose blocks wait for each other's sums.
TEST(Stripes, GiveTheSameBitsInEveryOrderOfStrands) {
  const Problem problem = problem_of(100, 320, 512, 128, false);
  const Plan plan = make_plan(problem, {"sm_90a", 12},
                              parse_config("wgmma m56 n128 w8x1 k128 s3 weights stripes5 b1"));
  ASSERT_GT(plan.wgmma().work.striped_k_tiles, 0);
  const std::string source = emit_source(plan);
  const auto first = run_trial(plan, source, 100, 3, 0).c;
  for (unsigned order = 1; order <= 5; ++order) {
    EXPECT_EQ(run_trial(plan, source, 100, 3, order).c, first) << "order " << order;
  }
}

}  // namespace
}  // namespace marlin
