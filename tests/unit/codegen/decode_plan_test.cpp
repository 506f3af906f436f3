// The plan of decode kernels: one worked by hand, then what the numbers must be to one another and
// to the memory layouts, for hundreds of random legal configs and for every one of small shapes.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "codegen/formats/marlin_4bit.h"
#include "codegen/generator.h"
#include "tests/unit/codegen/legal_cases.h"
#include "tests/unit/problems.h"

namespace marlin {
namespace {

// 9 units of 128 for four parts: two each and one more for the first.
TEST(DecodePlan, WorkedByHand) {
  const Plan plan =
      make_plan(problem_of(12, 512, 1152, 64, false), {"sm_90a", 132},
                parse_config("decode m16 n128 w2x2 k128 s2 accumulators cluster2 b1"));
  EXPECT_EQ(plan.launch.entry, "marlin_decode_12x512x1152_g64");
  const std::map<std::string, std::int64_t> expected = {
      {"launch.threads", 128},
      {"launch.grid_x", 2},
      {"launch.grid_y", 4},
      {"launch.grid_z", 1},
      {"workspace.bytes", 0},
      {"workspace.shared", 0},
      {"tiles.rows", 12},
      {"tiles.dynamic_m", 1},
      {"tiles.guard_rows", 1},
      {"global.packed.row", 4096},
      {"global.activations.row", 2304},
      {"global.scales.row", 1024},
      {"global.output.row", 1024},
      {"decode.private_rings", 0},
      {"decode.warp.columns", 64},
      {"decode.warp.blocks64", 1},
      {"tiles.k_steps", 8},
      {"decode.warp.n8_tiles", 2},
      {"scales.grouped", 1},
      {"launch.dependent", 1},
      {"launch.cluster", 2},
      {"decode.splits.count", 4},
      {"decode.splits.k_tiles", 2},
      {"decode.splits.longer", 1},
      {"scales.rows", 2},
      {"scales.steps", 4},
      {"decode.packed.row", 512},
      {"decode.packed.unit", 4096},
      {"decode.scales.offset", 4096},
      {"decode.scales.unit", 256},
      {"decode.shared.packed_stage", 4352},
      {"decode.activations.pitch", 128},
      {"decode.activations.line", 2048},
      {"decode.activations.unit", 4096},
      {"decode.copies.copiers", 64},
      {"decode.copies.row_chunks", 16},
      {"decode.copies.pass_rows", 4},
      {"decode.copies.passes", 3},
      {"decode.copies.last_copiers", 64},
      {"decode.shared.packed", 16384},    // 2 pairs of warps x 2 stages of activations
      {"decode.shared.received", 51200},  // and 4 warps x 2 stages of packed weights
      {"decode.reduction.fragments", 8},
      {"decode.reduction.most", 4},
      {"decode.shared.received_split", 4096},  // 2 warps side by side x 4 fragments of 512
      {"decode.shared.barrier", 67584},        // after 4 parts
      {"launch.shared_bytes", 67600},
      {"decode.reduction.row_lanes", 4},
  };
  std::map<std::string, std::int64_t> found;
  for (const auto& [name, value] : named_values(plan)) found[name] = value;
  for (const auto& [name, value] : expected) EXPECT_EQ(found.at(name), value) << name;
  ASSERT_EQ(plan.decode().reduction.reducers.size(), 2u);
  EXPECT_EQ(plan.decode().reduction.reducers[0].first, 0);
  EXPECT_EQ(plan.decode().reduction.reducers[0].count, 4);
  EXPECT_EQ(plan.decode().reduction.reducers[1].first, 4);
  EXPECT_EQ(plan.decode().reduction.reducers[1].count, 4);
}

TEST(DecodePlan, OnlyLanesThatHoldARowSend) {
  for (const auto& [m, lanes] : {std::pair{1, 1}, {2, 1}, {3, 2}, {5, 3}, {7, 4}, {8, 4}}) {
    const Plan plan = make_plan(problem_of(m, 64, 256, -1, true), {"sm_90a", 132},
                                parse_config("decode m8 n64 w1x2 k64 s2 accumulators cluster1 b1"));
    EXPECT_EQ(plan.decode().reduction.row_lanes, lanes) << m;
    EXPECT_EQ(plan.tiles.rows, m);
  }
}

class RandomDecodePlans : public testing::Test {
 protected:
  static const std::vector<Plan>& plans() {
    static const std::vector<Plan> all = [] {
      std::vector<Plan> found;
      for (const LegalCase& c : RandomCases(2025, {32, 16, 80, 144}).take(400, Family::decode)) {
        found.push_back(make_plan(c.problem, c.target, c.config));
      }
      return found;
    }();
    return all;
  }
  static std::string name(const Plan& plan) {
    return to_string(plan.problem) + " | " + to_string(plan.config);
  }
};

TEST_F(RandomDecodePlans, PartsTakeEveryUnitOfKOnce) {
  for (const Plan& plan : plans()) {
    std::set<int> taken;
    for (int split = 0; split < plan.decode().splits.count; ++split) {
      const int units =
          plan.decode().splits.k_tiles + (split < plan.decode().splits.longer ? 1 : 0);
      EXPECT_GE(units, plan.config.stages) << name(plan);
      for (int i = 0; i < units; ++i) {
        EXPECT_TRUE(taken.insert(split + i * plan.decode().splits.count).second) << name(plan);
      }
    }
    EXPECT_EQ(static_cast<std::int64_t>(taken.size()) * plan.config.warp_k, plan.problem.shape.k)
        << name(plan);
    EXPECT_EQ(*taken.rbegin() + 1, static_cast<int>(taken.size())) << name(plan);
    EXPECT_EQ(plan.decode().splits.count, plan.launch.cluster * plan.config.warps_k) << name(plan);
    EXPECT_EQ(plan.launch.cluster, plan.config.partition.count) << name(plan);
    EXPECT_EQ(plan.launch.grid_x, plan.launch.cluster) << name(plan);
    EXPECT_EQ(std::int64_t{plan.launch.grid_y} * plan.config.tile_n, plan.problem.shape.n)
        << name(plan);
    EXPECT_EQ(plan.launch.grid_z, 1) << name(plan);
    EXPECT_EQ(plan.workspace.bytes, 0) << name(plan);
    EXPECT_TRUE(plan.launch.dependent) << name(plan);
  }
}

TEST_F(RandomDecodePlans, EveryFragmentHasOneOwner) {
  for (const Plan& plan : plans()) {
    EXPECT_EQ(plan.decode().reduction.fragments * 128,
              plan.decode().warp.columns * plan.decode().warp.n8_tiles * 8)
        << name(plan);
    ASSERT_EQ(static_cast<int>(plan.decode().reduction.reducers.size()), plan.launch.cluster)
        << name(plan);
    int next = 0, most = 0, least = plan.decode().reduction.fragments;
    for (const Reducer& owner : plan.decode().reduction.reducers) {
      EXPECT_EQ(owner.first, next) << name(plan);
      next += owner.count;
      most = std::max(most, owner.count);
      least = std::min(least, owner.count);
    }
    EXPECT_EQ(next, plan.decode().reduction.fragments) << name(plan);
    EXPECT_EQ(plan.decode().reduction.most, most) << name(plan);
    EXPECT_GE(least, 1) << name(plan);
    EXPECT_LE(most - least, 1) << name(plan);
  }
}

TEST_F(RandomDecodePlans, AreasOfSharedMemoryLieApartAndFit) {
  for (const Plan& plan : plans()) {
    const Config& config = plan.config;
    const int stages = config.stages;
    // Rings of activations, rings of packed weights, what is received, the barrier.
    EXPECT_GE(plan.decode().shared.packed, config.warps_k * stages * plan.decode().activations.unit)
        << name(plan);
    EXPECT_GE(
        plan.decode().shared.received,
        plan.decode().shared.packed + config.warps() * stages * plan.decode().shared.packed_stage)
        << name(plan);
    EXPECT_GE(plan.decode().shared.barrier,
              plan.decode().shared.received +
                  plan.decode().splits.count * plan.decode().shared.received_split)
        << name(plan);
    EXPECT_GE(plan.launch.shared_bytes,
              plan.decode().shared.barrier + (plan.launch.cluster > 1 ? 8 : 0))
        << name(plan);
    EXPECT_LE(plan.launch.shared_bytes, limits_of(plan.target).shared_per_block) << name(plan);
    // A warp's packed weights of one stage, then its scales.
    EXPECT_EQ(plan.decode().packed.unit, plan.tiles.k_steps * plan.decode().warp.blocks64 * 512)
        << name(plan);
    EXPECT_GE(plan.decode().scales.offset, plan.decode().packed.unit) << name(plan);
    EXPECT_GE(plan.decode().shared.packed_stage,
              plan.decode().scales.offset + plan.decode().scales.unit)
        << name(plan);
    EXPECT_EQ(plan.decode().scales.unit, 2 * plan.decode().warp.columns * plan.scales.rows)
        << name(plan);
    EXPECT_GE(plan.decode().shared.received_split,
              config.warps_n * plan.decode().reduction.most * 512)
        << name(plan);
    // The swizzle flips bits 4..6: what it is applied to begins a 128-byte line. Words are copied
    // by sixteen bytes, a barrier has eight.
    EXPECT_EQ(plan.decode().activations.unit % 128, 0) << name(plan);
    EXPECT_EQ(plan.decode().activations.line % 128, 0) << name(plan);
    for (const int at : {plan.decode().shared.packed, plan.decode().shared.packed_stage,
                         plan.decode().scales.offset, plan.decode().shared.received,
                         plan.decode().shared.received_split}) {
      EXPECT_EQ(at % 16, 0) << name(plan);
    }
    EXPECT_EQ(plan.decode().shared.barrier % 8, 0) << name(plan);
  }
}

// Where chunk `chunk` of sixteen bytes of a token's row of a unit lies.
int activation_offset(const Plan& plan, int row, int chunk) {
  const int offset = row * plan.decode().activations.pitch + chunk % 8 * 16;
  return (offset ^ (offset >> plan.decode().activations.swizzle_shift &
                    plan.decode().activations.swizzle_mask)
                       << 4) +
         chunk / 8 * plan.decode().activations.line;
}

TEST_F(RandomDecodePlans, TokenCopiesCoverAUnitOnce) {
  for (const Plan& plan : plans()) {
    EXPECT_EQ(plan.decode().copies.copiers, 32 * plan.config.warps_n) << name(plan);
    EXPECT_EQ(plan.decode().copies.row_chunks * 16, 2 * plan.config.warp_k) << name(plan);
    std::set<std::pair<int, int>> chunks;
    std::set<int> offsets;
    for (int pass = 0; pass < plan.decode().copies.passes; ++pass) {
      const bool last = pass + 1 == plan.decode().copies.passes;
      const int copiers = last ? plan.decode().copies.last_copiers : plan.decode().copies.copiers;
      for (int copier = 0; copier < copiers; ++copier) {
        const int row =
            pass * plan.decode().copies.pass_rows + copier / plan.decode().copies.row_chunks;
        const int chunk = copier % plan.decode().copies.row_chunks;
        EXPECT_LT(row, plan.tiles.rows) << name(plan);
        EXPECT_TRUE(chunks.insert({row, chunk}).second) << name(plan);
        const int offset = activation_offset(plan, row, chunk);
        EXPECT_TRUE(offsets.insert(offset).second) << name(plan);
        EXPECT_LT(offset, plan.decode().activations.unit) << name(plan);
      }
    }
    EXPECT_EQ(static_cast<int>(chunks.size()), plan.tiles.rows * plan.decode().copies.row_chunks)
        << name(plan);
  }
}

// The eight rows that one ldmatrix matrix takes must lie in the eight different 16-byte columns of
// the banks.
TEST_F(RandomDecodePlans, EightTokensOfAnyChunkLieInDifferentBanks) {
  for (const Plan& plan : plans()) {
    for (int row = 0; row < plan.decode().warp.n8_tiles * 8; row += 8) {
      for (int chunk = 0; chunk < plan.decode().copies.row_chunks; ++chunk) {
        std::set<int> columns;
        for (int i = 0; i < 8; ++i)
          columns.insert(activation_offset(plan, row + i, chunk) / 16 % 8);
        ASSERT_EQ(columns.size(), 8u) << name(plan) << ", row " << row << ", chunk " << chunk;
      }
    }
  }
}

TEST_F(RandomDecodePlans, AUnitHasWholeGroupsOrLiesInsideOne) {
  for (const Plan& plan : plans()) {
    EXPECT_EQ(plan.scales.grouped,
              scale_order(plan.problem.shape.k, plan.problem.scheme.group) == ScaleOrder::grouped)
        << name(plan);
    if (!plan.scales.grouped) continue;
    EXPECT_EQ(plan.scales.steps * plan.scales.rows, plan.tiles.k_steps) << name(plan);
    EXPECT_TRUE(plan.problem.scheme.group % plan.config.warp_k == 0 ||
                plan.problem.scheme.group * plan.scales.rows == plan.config.warp_k)
        << name(plan);
  }
}

// Every legal config of small and of awkward shapes makes a plan and a text.
TEST(DecodeConfigs, AllHavePlansAndTexts) {
  const Target target{"sm_90a", 5};  // few enough for clusters of every size
  std::size_t texts = 0;
  for (const int m : {1, 5, 8, 16, 17, 32}) {
    for (const int n : {64, 128, 192, 3584}) {
      for (const int k : {256, 512, 3584, 18944}) {
        for (const int group : {128, 64, 32, -1}) {
          const Problem problem = problem_of(m, n, k, group, m == 5 || m == 17);
          std::size_t decode = 0;
          for (const Config& config : legal_configs(problem, target)) {
            if (config.family() != Family::decode) continue;
            ++decode;
            const std::string text = emit_source(make_plan(problem, target, config));
            EXPECT_EQ(text.find("${"), std::string::npos) << to_string(config);
          }
          EXPECT_GE(decode, k > 512 ? 1u : 0u) << to_string(problem);
          texts += decode;
        }
      }
    }
  }
  EXPECT_GT(texts, 5000u);
}

TEST(DecodeConfigs, BeginWithHopperAndEndWithManyTokens) {
  const auto decode = [](const Problem& problem, const char* arch) {
    const std::vector<Config> configs = legal_configs(problem, {arch, 132});
    return std::count_if(configs.begin(), configs.end(),
                         [](const Config& config) { return config.family() == Family::decode; });
  };
  const Problem problem = problem_of(8, 4096, 4096, 128, false);
  for (const char* arch : {"sm_80", "sm_86", "sm_87", "sm_89"}) EXPECT_EQ(decode(problem, arch), 0);
  for (const char* arch : {"sm_90", "sm_90a", "sm_100", "sm_120"}) {
    EXPECT_GT(decode(problem, arch), 0) << arch;
  }
  EXPECT_EQ(decode(problem_of(48, 4096, 4096, 128, false), "sm_90a"), 0);
}

}  // namespace
}  // namespace marlin
