// Orders of summation: of configs, and of the layer whose kernels are to be batch-invariant.
// Entry point: the tests of suites SumOrder and InvariantOrder.
#include "codegen/plan/sum_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "codegen/base/error.h"
#include "codegen/generator.h"
#include "tests/unit/problems.h"

namespace marlin {
namespace {

const Target kH200{"sm_90a", 132};

std::optional<SumOrder> order_of(const Problem& problem, const char* config,
                                 const Target& target = kH200) {
  EXPECT_EQ(why_illegal(problem, target, parse_config(config)), std::nullopt) << config;
  return sum_order(problem, target, parse_config(config));
}

TEST(SumOrder, IsTheSameForTilesOfAllSizesAndLoops) {
  const Problem problem = problem_of(64, 4096, 4096);
  const auto order = order_of(problem, "wgmma m64 n256 w8x1 k128 s3 accumulators split1 b1");
  ASSERT_TRUE(order);
  EXPECT_EQ(to_string(*order), "wgmma accumulators of 128");
  for (const char* other :
       {"wgmma m16 n128 w4x1 k128 s5 accumulators split1 b1 burst2",
        "wgmma m32 n128 w8x1 k128 s4 accumulators split1 b1 whole sets2 late early",
        "wgmma m64 n128 w8x1 k128 s4 accumulators split1 b1 burst4 multicast2"}) {
    EXPECT_EQ(order_of(problem, other), order) << other;
  }
}

TEST(SumOrder, DependsOnWhatIsScaledAndOnHowKIsCut) {
  const Problem problem = problem_of(64, 4096, 4096);
  std::vector<SumOrder> orders;
  for (const char* config :
       {"wgmma m64 n128 w4x1 k128 s3 weights split1 b1",
        "wgmma m64 n128 w4x1 k128 s3 accumulators split1 b1",
        "wgmma m64 n128 w4x1 k64 s3 accumulators split1 b1",
        "wgmma m64 n128 w4x1 k128 s3 accumulators cluster2 b1",
        "wgmma m64 n128 w4x1 k128 s3 accumulators cluster3 b1",
        "m64 n128 w2x4 k32 s2 weights split1 b1", "m64 n256 w4x2 k64 s2 weights split1 b1"}) {
    const auto order = order_of(problem, config);
    ASSERT_TRUE(order) << config;
    EXPECT_EQ(std::count(orders.begin(), orders.end(), *order), 0) << config;
    orders.push_back(*order);
  }
}

// Half a group's K in a stage: its scale is applied to two sums.
TEST(SumOrder, OfAccumulatorsHasTheKThatIsScaledAtOnce) {
  const auto scaled = [](int group, const char* config) {
    return order_of(problem_of(64, 4096, 4096, group), config)->scaled_k;
  };
  EXPECT_EQ(scaled(128, "wgmma m64 n128 w4x1 k128 s3 accumulators split1 b1"), 128);
  EXPECT_EQ(scaled(128, "wgmma m64 n128 w4x1 k64 s3 accumulators split1 b1"), 64);
  EXPECT_EQ(scaled(64, "wgmma m64 n128 w4x1 k128 s3 accumulators split1 b1"), 64);
  EXPECT_EQ(scaled(-1, "wgmma m64 n128 w4x1 k128 s3 accumulators split1 b1"), 0);
  EXPECT_EQ(scaled(128, "wgmma m64 n128 w4x1 k128 s3 weights split1 b1"), 0);
}

// The sum of two does not depend on which comes first.
TEST(SumOrder, TwoPartsAreTheSameInAClusterAndThroughL2) {
  const Problem problem = problem_of(16, 4096, 4096);
  EXPECT_EQ(order_of(problem, "wgmma m16 n128 w4x1 k128 s3 accumulators cluster2 b1"),
            order_of(problem, "wgmma m16 n128 w4x1 k128 s3 accumulators split2 b1"));
  EXPECT_EQ(order_of(problem, "wgmma m16 n128 w4x1 k128 s3 accumulators split3 b1"), std::nullopt);
}

TEST(SumOrder, IsNoneWhereTheTilesDecide) {
  EXPECT_EQ(
      order_of(problem_of(64, 4096, 4096), "wgmma m64 n256 w8x1 k128 s3 weights stripes100 b1"),
      std::nullopt);
  EXPECT_EQ(order_of(problem_of(64, 4096, 4096), "m64 n256 w4x2 k64 s2 weights stripes132 b1"),
            std::nullopt);
}

Problem invariant(std::int64_t m, std::int64_t n, std::int64_t k, int group = 128) {
  Problem problem = problem_of(m, n, k, group);
  problem.batch_invariant = true;
  return problem;
}

struct Layer {
  std::int64_t n, k;
  int group = 128;
};

// The rungs up to 64 rows, and of the others every so many, the last one with them.
std::vector<std::int64_t> some_rungs(int every) {
  constexpr std::int64_t kAll = 64;
  std::vector<std::int64_t> some;
  for (int i = 0; i < kRungs; ++i) {
    if (rungs()[i] <= kAll || (kRungs - 1 - i) % every == 0) some.push_back(rungs()[i]);
  }
  return some;
}

// Legal configs of the layer's order for each of the row counts.
void expect_served(const Layer& layer, const Target& target, int every) {
  SCOPED_TRACE(to_string(invariant(1, layer.n, layer.k, layer.group)) + " on " + to_string(target));
  const SumOrder order = invariant_order(invariant(1, layer.n, layer.k, layer.group), target);
  for (const std::int64_t m : some_rungs(every)) {
    const Problem problem = invariant(m, layer.n, layer.k, layer.group);
    const std::vector<Config> configs = legal_configs(problem, target);
    ASSERT_FALSE(configs.empty()) << "m " << m << ": " << to_string(order);
    for (const Config& config : {configs.front(), configs.back()}) {
      ASSERT_EQ(sum_order(problem, target, config), order) << "m " << m << to_string(config);
      ASSERT_EQ(why_illegal(problem, target, config), std::nullopt) << to_string(config);
    }
  }
}

constexpr Layer kLlama3[] = {{6144, 4096},  {4096, 4096}, {28672, 4096}, {4096, 14336},
                             {10240, 8192}, {8192, 8192}, {57344, 8192}, {8192, 28672}};

TEST(InvariantOrder, ServesTheLlama3Layers) {
  constexpr int kEvery = 11;
  for (const Layer& layer : kLlama3) expect_served(layer, kH200, kEvery);
}

TEST(InvariantOrder, ServesEveryRungOfASmallLayer) {
  for (const Target& target : {kH200, Target{"sm_80", 108}}) expect_served({256, 512}, target, 1);
}

TEST(InvariantOrder, ServesLayersOfAllGroupsAndSizes) {
  constexpr int kEvery = 28;
  for (const Target& target : {Target{"sm_90a", 132}, Target{"sm_90a", 3}, Target{"sm_80", 108},
                               Target{"sm_90", 78}, Target{"sm_120", 170}}) {
    for (const Layer& layer : {Layer{64, 64, -1}, Layer{64, 64, 32}, Layer{192, 192, 64},
                               Layer{320, 448, 64}, Layer{512, 1024, -1}, Layer{3584, 2560, 32}}) {
      expect_served(layer, target, kEvery);
    }
  }
}

TEST(InvariantOrder, IsOfWgmmaOnHopperAndOfMmaSyncElsewhere) {
  for (const Layer& layer : {Layer{4096, 4096}, Layer{512, 1024, 64}}) {
    const Problem problem = invariant(1, layer.n, layer.k, layer.group);
    EXPECT_EQ(invariant_order(problem, kH200).family, Family::wgmma);
    EXPECT_EQ(invariant_order(problem, {"sm_80", 108}).family, Family::stripe);
    EXPECT_EQ(invariant_order(problem, {"sm_100", 148}).family, Family::stripe);
  }
}

TEST(InvariantOrder, IsThatOfTheLayerWhateverTheProblem) {
  const SumOrder order = invariant_order(invariant(1, 512, 1024), kH200);
  Problem other = problem_of(2048, 512, 1024);
  EXPECT_EQ(invariant_order(other, kH200), order);
  other.shape.exact_m = true;
  EXPECT_EQ(invariant_order(other, kH200), order);
}

TEST(InvariantOrder, ConfigsOfAnotherAreIllegal) {
  const Problem problem = invariant(64, 512, 1024);
  const SumOrder order = invariant_order(problem, kH200);
  int refused = 0;
  for (const Config& config : legal_configs(problem_of(64, 512, 1024), kH200)) {
    const auto rule = why_illegal(problem, kH200, config);
    if (sum_order(problem, kH200, config) == order) {
      EXPECT_EQ(rule, std::nullopt) << to_string(config);
    } else {
      ASSERT_TRUE(rule) << to_string(config);
      EXPECT_NE(rule->find(to_string(order)), std::string::npos) << *rule;
      ++refused;
    }
  }
  EXPECT_GT(refused, 0);
  EXPECT_THROW(
      make_plan(problem, kH200, parse_config("m64 n256 w4x2 k64 s2 weights stripes132 b1")), Error);
}

// The other half of it: what is not asked for is not narrowed.
TEST(InvariantOrder, OtherProblemsHaveAllConfigs) {
  const std::vector<Config> all = legal_configs(problem_of(64, 4096, 4096), kH200);
  EXPECT_TRUE(std::any_of(all.begin(), all.end(), [](const Config& config) {
    return config.partition.kind == Partition::Kind::stripes;
  }));
}

}  // namespace
}  // namespace marlin
