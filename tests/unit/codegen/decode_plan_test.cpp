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

namespace marlin {
namespace {

// 9 units of 128 for four parts: two each and one more for the first.
TEST(DecodePlan, WorkedByHand) {
  const Plan plan =
      make_plan({12, 512, 1152, 64, false}, {"sm_90a", 132},
                parse_config("decode m16 n128 w2x2 k128 s2 accumulators cluster2 b1"));
  EXPECT_EQ(plan.entry, "marlin_decode_12x512x1152_g64");
  const std::map<std::string, std::int64_t> expected = {
      {"threads", 128},
      {"grid_x", 2},
      {"grid_y", 4},
      {"grid_z", 1},
      {"workspace_bytes", 0},
      {"shares_slices", 0},
      {"rows", 12},
      {"dynamic_m", 1},
      {"guard_rows", 1},
      {"weights_row", 4096},
      {"tokens_row", 2304},
      {"scales_row", 1024},
      {"output_row", 1024},
      {"private_rings", 0},
      {"warp_columns", 64},
      {"blocks64", 1},
      {"k_steps", 8},
      {"token_tiles", 2},
      {"group_scales", 1},
      {"dependent_launch", 1},
      {"cluster", 2},
      {"parts", 4},
      {"part_units", 2},
      {"long_parts", 1},
      {"unit_groups", 2},
      {"group_steps", 4},
      {"weights_unit_row", 512},
      {"weights_unit", 4096},
      {"scales_offset", 4096},
      {"scales_unit", 256},
      {"words_bytes", 4352},
      {"tokens_pitch", 128},
      {"tokens_line", 2048},
      {"tokens_unit", 4096},
      {"token_copiers", 64},
      {"token_chunks_row", 16},
      {"token_rows_pass", 4},
      {"token_passes", 3},
      {"token_last_copiers", 64},
      {"words_offset", 16384},    // 2 pairs of warps x 2 stages of tokens
      {"receive_offset", 51200},  // and 4 warps x 2 stages of words
      {"fragments", 8},
      {"most_owned", 4},
      {"receive_part", 4096},      // 2 warps side by side x 4 fragments of 512
      {"received_offset", 67584},  // after 4 parts
      {"shared_bytes", 67600},
      {"quad_lanes", 4},
  };
  std::map<std::string, std::int64_t> found;
  for (const auto& [name, value] : named_values(plan)) found[name] = value;
  for (const auto& [name, value] : expected) EXPECT_EQ(found.at(name), value) << name;
  ASSERT_EQ(plan.owners.size(), 2u);
  EXPECT_EQ(plan.owners[0].first, 0);
  EXPECT_EQ(plan.owners[0].count, 4);
  EXPECT_EQ(plan.owners[1].first, 4);
  EXPECT_EQ(plan.owners[1].count, 4);
}

TEST(DecodePlan, OnlyLanesThatHoldARowSend) {
  for (const auto& [m, lanes] : {std::pair{1, 1}, {2, 1}, {3, 2}, {5, 3}, {7, 4}, {8, 4}}) {
    const Plan plan = make_plan({m, 64, 256, -1, true}, {"sm_90a", 132},
                                parse_config("decode m8 n64 w1x2 k64 s2 accumulators cluster1 b1"));
    EXPECT_EQ(plan.quad_lanes, lanes) << m;
    EXPECT_EQ(plan.rows, m);
  }
}

class RandomDecodePlans : public testing::Test {
 protected:
  static const std::vector<Plan>& plans() {
    static const std::vector<Plan> all = [] {
      std::vector<Plan> found;
      for (const LegalCase& c : RandomCases(2025, {32, 16, 80, 144}).take(400, Family::decode)) {
        found.push_back(make_plan(c.shape, c.target, c.config));
      }
      return found;
    }();
    return all;
  }
  static std::string name(const Plan& plan) {
    return to_string(plan.shape) + " | " + to_string(plan.config);
  }
};

TEST_F(RandomDecodePlans, PartsTakeEveryUnitOfKOnce) {
  for (const Plan& plan : plans()) {
    std::set<int> taken;
    for (int part = 0; part < plan.parts; ++part) {
      const int units = plan.part_units + (part < plan.long_parts ? 1 : 0);
      EXPECT_GE(units, plan.config.stages) << name(plan);
      for (int i = 0; i < units; ++i) {
        EXPECT_TRUE(taken.insert(part + i * plan.parts).second) << name(plan);
      }
    }
    EXPECT_EQ(static_cast<std::int64_t>(taken.size()) * plan.config.warp_k, plan.shape.k)
        << name(plan);
    EXPECT_EQ(*taken.rbegin() + 1, static_cast<int>(taken.size())) << name(plan);
    EXPECT_EQ(plan.parts, plan.cluster * plan.config.warps_k) << name(plan);
    EXPECT_EQ(plan.cluster, plan.config.partition.count) << name(plan);
    EXPECT_EQ(plan.grid_x, plan.cluster) << name(plan);
    EXPECT_EQ(std::int64_t{plan.grid_y} * plan.config.tile_n, plan.shape.n) << name(plan);
    EXPECT_EQ(plan.grid_z, 1) << name(plan);
    EXPECT_EQ(plan.workspace_bytes, 0) << name(plan);
    EXPECT_TRUE(plan.dependent_launch) << name(plan);
  }
}

TEST_F(RandomDecodePlans, EveryFragmentHasOneOwner) {
  for (const Plan& plan : plans()) {
    EXPECT_EQ(plan.fragments * 128, plan.warp_columns * plan.token_tiles * 8) << name(plan);
    ASSERT_EQ(static_cast<int>(plan.owners.size()), plan.cluster) << name(plan);
    int next = 0, most = 0, least = plan.fragments;
    for (const Owner& owner : plan.owners) {
      EXPECT_EQ(owner.first, next) << name(plan);
      next += owner.count;
      most = std::max(most, owner.count);
      least = std::min(least, owner.count);
    }
    EXPECT_EQ(next, plan.fragments) << name(plan);
    EXPECT_EQ(plan.most_owned, most) << name(plan);
    EXPECT_GE(least, 1) << name(plan);
    EXPECT_LE(most - least, 1) << name(plan);
  }
}

TEST_F(RandomDecodePlans, AreasOfSharedMemoryLieApartAndFit) {
  for (const Plan& plan : plans()) {
    const Config& config = plan.config;
    const int stages = config.stages;
    // Rings of tokens, rings of words, what is received, the barrier.
    EXPECT_EQ(plan.tokens_offset, 0) << name(plan);
    EXPECT_GE(plan.words_offset, config.warps_k * stages * plan.tokens_unit) << name(plan);
    EXPECT_GE(plan.receive_offset, plan.words_offset + config.warps() * stages * plan.words_bytes)
        << name(plan);
    EXPECT_GE(plan.received_offset, plan.receive_offset + plan.parts * plan.receive_part)
        << name(plan);
    EXPECT_GE(plan.shared_bytes, plan.received_offset + (plan.cluster > 1 ? 8 : 0)) << name(plan);
    EXPECT_LE(plan.shared_bytes, limits_of(plan.target).shared_per_block) << name(plan);
    // A warp's words of one stage, then its scales.
    EXPECT_EQ(plan.weights_unit, plan.k_steps * plan.blocks64 * 512) << name(plan);
    EXPECT_GE(plan.scales_offset, plan.weights_unit) << name(plan);
    EXPECT_GE(plan.words_bytes, plan.scales_offset + plan.scales_unit) << name(plan);
    EXPECT_EQ(plan.scales_unit, 2 * plan.warp_columns * plan.unit_groups) << name(plan);
    EXPECT_GE(plan.receive_part, config.warps_n * plan.most_owned * 512) << name(plan);
    // The swizzle flips bits 4..6: what it is applied to begins a 128-byte line. Words are copied
    // by sixteen bytes, a barrier has eight.
    EXPECT_EQ(plan.tokens_unit % 128, 0) << name(plan);
    EXPECT_EQ(plan.tokens_line % 128, 0) << name(plan);
    for (const int at : {plan.words_offset, plan.words_bytes, plan.scales_offset,
                         plan.receive_offset, plan.receive_part}) {
      EXPECT_EQ(at % 16, 0) << name(plan);
    }
    EXPECT_EQ(plan.received_offset % 8, 0) << name(plan);
  }
}

// Where chunk `chunk` of sixteen bytes of a token's row of a unit lies.
int token_place(const Plan& plan, int row, int chunk) {
  const int place = row * plan.tokens_pitch + chunk % 8 * 16;
  return (place ^ (place >> plan.swizzle_shift & plan.swizzle_mask) << 4) +
         chunk / 8 * plan.tokens_line;
}

TEST_F(RandomDecodePlans, TokenCopiesCoverAUnitOnce) {
  for (const Plan& plan : plans()) {
    EXPECT_EQ(plan.token_copiers, 32 * plan.config.warps_n) << name(plan);
    EXPECT_EQ(plan.token_chunks_row * 16, 2 * plan.config.warp_k) << name(plan);
    std::set<std::pair<int, int>> chunks;
    std::set<int> places;
    for (int pass = 0; pass < plan.token_passes; ++pass) {
      const bool last = pass + 1 == plan.token_passes;
      const int copiers = last ? plan.token_last_copiers : plan.token_copiers;
      for (int copier = 0; copier < copiers; ++copier) {
        const int row = pass * plan.token_rows_pass + copier / plan.token_chunks_row;
        const int chunk = copier % plan.token_chunks_row;
        EXPECT_LT(row, plan.rows) << name(plan);
        EXPECT_TRUE(chunks.insert({row, chunk}).second) << name(plan);
        const int place = token_place(plan, row, chunk);
        EXPECT_TRUE(places.insert(place).second) << name(plan);
        EXPECT_LT(place, plan.tokens_unit) << name(plan);
      }
    }
    EXPECT_EQ(static_cast<int>(chunks.size()), plan.rows * plan.token_chunks_row) << name(plan);
  }
}

// The eight rows that one ldmatrix matrix takes must lie in the eight different 16-byte columns of
// the banks.
TEST_F(RandomDecodePlans, EightTokensOfAnyChunkLieInDifferentBanks) {
  for (const Plan& plan : plans()) {
    for (int row = 0; row < plan.token_tiles * 8; row += 8) {
      for (int chunk = 0; chunk < plan.token_chunks_row; ++chunk) {
        std::set<int> columns;
        for (int i = 0; i < 8; ++i) columns.insert(token_place(plan, row + i, chunk) / 16 % 8);
        ASSERT_EQ(columns.size(), 8u) << name(plan) << ", row " << row << ", chunk " << chunk;
      }
    }
  }
}

TEST_F(RandomDecodePlans, AUnitHasWholeGroupsOrLiesInsideOne) {
  for (const Plan& plan : plans()) {
    EXPECT_EQ(plan.group_scales, scale_order(plan.shape.k, plan.shape.group) == ScaleOrder::grouped)
        << name(plan);
    if (!plan.group_scales) continue;
    EXPECT_EQ(plan.group_steps * plan.unit_groups, plan.k_steps) << name(plan);
    EXPECT_TRUE(plan.shape.group % plan.config.warp_k == 0 ||
                plan.shape.group * plan.unit_groups == plan.config.warp_k)
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
          const Shape shape{m, n, k, group, m == 5 || m == 17};
          std::size_t decode = 0;
          for (const Config& config : legal_configs(shape, target)) {
            if (config.family != Family::decode) continue;
            ++decode;
            const std::string text = emit_source(make_plan(shape, target, config));
            EXPECT_EQ(text.find("${"), std::string::npos) << to_string(config);
          }
          EXPECT_GE(decode, k > 512 ? 1u : 0u) << to_string(shape);
          texts += decode;
        }
      }
    }
  }
  EXPECT_GT(texts, 5000u);
}

TEST(DecodeConfigs, BeginWithHopperAndEndWithManyTokens) {
  const auto decode = [](const Shape& shape, const char* arch) {
    const std::vector<Config> configs = legal_configs(shape, {arch, 132});
    return std::count_if(configs.begin(), configs.end(),
                         [](const Config& config) { return config.family == Family::decode; });
  };
  const Shape shape{8, 4096, 4096, 128, false};
  for (const char* arch : {"sm_80", "sm_86", "sm_87", "sm_89"}) EXPECT_EQ(decode(shape, arch), 0);
  for (const char* arch : {"sm_90", "sm_90a", "sm_100", "sm_120"}) {
    EXPECT_GT(decode(shape, arch), 0) << arch;
  }
  EXPECT_EQ(decode({48, 4096, 4096, 128, false}, "sm_90a"), 0);
}

}  // namespace
}  // namespace marlin
