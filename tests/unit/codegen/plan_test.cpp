// Shape + target + config -> every integer of the kernel: two plans worked by hand, then what the
// numbers must be to one another and to the memory layouts, for hundreds of random legal configs.
#include "codegen/plan/plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "codegen/families/family.h"
#include "codegen/formats/marlin_4bit.h"
#include "codegen/generator.h"
#include "tests/unit/codegen/legal_cases.h"

namespace marlin {
namespace {

using Values = std::map<std::string, std::int64_t>;

Values values_of(const Plan& plan) {
  Values values;
  for (const auto& [name, value] : named_values(plan)) values[name] = value;
  return values;
}

// What the other families add, as every plan of the stripe family has it.
const Values kStripeAlone = {
    {"dependent_launch", 0}, {"cluster", 1},     {"parts", 0},           {"part_units", 0},
    {"long_parts", 0},       {"unit_groups", 0}, {"group_steps", 0},     {"tokens_line", 128},
    {"words_offset", 0},     {"words_bytes", 0}, {"received_offset", 0}, {"receive_offset", 0},
    {"receive_part", 0},     {"fragments", 0},   {"most_owned", 0},      {"quad_lanes", 0},
};

void expect_values(const Plan& plan, Values expected) {
  expected.insert(kStripeAlone.begin(), kStripeAlone.end());
  const Values found = values_of(plan);
  for (const auto& [name, value] : expected) {
    const auto at = found.find(name);
    ASSERT_NE(at, found.end()) << name;
    EXPECT_EQ(at->second, value) << name;
  }
  // What other families use is zero.
  for (const auto& [name, value] : found) {
    EXPECT_TRUE(value == 0 || expected.contains(name)) << name << " = " << value << " unexpected";
  }
}

// Four warps side by side share the tokens of a stage; two blocks share each slice.
TEST(Plan, WorkedByHandWithSharedTokens) {
  const Plan plan = make_plan({16, 512, 1024, 128, false}, {"sm_90a", 8},
                              parse_config("m16 n256 w4x2 k64 s3 accumulators split2 b1"));
  EXPECT_EQ(plan.entry, "marlin_stripe_16x512x1024_g128");
  EXPECT_TRUE(plan.stripes.empty());
  expect_values(plan, {{"threads", 256},
                       {"grid_x", 1},
                       {"grid_y", 2},
                       {"grid_z", 2},
                       {"rows_on_x", 1},
                       {"shared_bytes", 64528},
                       {"workspace_bytes", 131072},
                       {"m_tiles", 1},
                       {"n_slices", 2},
                       {"k_tiles", 8},
                       {"block_k_tiles", 4},
                       {"rows", 16},
                       {"dynamic_m", 1},
                       {"guard_rows", 1},
                       {"weights_row", 4096},
                       {"weights_k_tile", 32768},
                       {"weights_slice", 2048},
                       {"weights_column", 262144},
                       {"tokens_row", 2048},
                       {"tokens_k_tile", 256},
                       {"tokens_m_tile", 32768},
                       {"tokens_column", 2048},
                       {"scales_row", 1024},
                       {"scales_k_tile", 1024},
                       {"scales_slice", 512},
                       {"scales_column", 8192},
                       {"output_row", 1024},
                       {"output_slice", 512},
                       {"output_m_tile", 16384},
                       {"private_rings", 0},
                       {"warp_columns", 64},
                       {"blocks64", 1},
                       {"k_steps", 4},
                       {"token_tiles", 2},
                       {"group_scales", 1},
                       {"weights_unit", 2048},
                       {"weights_unit_row", 512},
                       {"tokens_offset", 16384},
                       {"tokens_pitch", 256},
                       {"tokens_unit", 0},
                       {"tokens_warp_k", 128},
                       {"swizzle_shift", 8},
                       {"swizzle_mask", 7},
                       {"scales_offset", 20480},
                       {"scales_unit", 128},
                       {"stage_bytes", 21504},
                       {"ring_bytes", 64512},
                       {"token_copiers", 256},
                       {"token_chunks_row", 16},
                       {"token_rows_pass", 16},
                       {"token_passes", 1},
                       {"token_last_copiers", 256},
                       {"scale_chunks", 8},
                       {"reduce_offset", 0},
                       {"reduce_tokens", 16},
                       {"reduce_passes", 1},
                       {"reduce_pitch", 1040},
                       {"reduce_warp_k", 16640},
                       {"quads", 64},
                       {"reduce_rows", 4},
                       {"shares_slices", 1},
                       {"ticket_offset", 64512},
                       {"counters", 2},
                       {"partials_offset", 65536},
                       {"partial_tile", 16384}});
}

// Two warps with rings of their own; 45 tiles cut into stripes of 23 and 22, which share slice 4.
TEST(Plan, WorkedByHandWithPrivateRingsAndStripes) {
  const Plan plan = make_plan({100, 192, 320, -1, true}, {"sm_86", 3},
                              parse_config("m48 n64 w1x2 k32 s4 accumulators stripes2 b1"));
  EXPECT_EQ(plan.entry, "marlin_stripe_100x192x320_gall");
  EXPECT_EQ(plan.stripes, cut_stripes(9, 5, 2));
  expect_values(plan, {{"threads", 64},
                       {"grid_x", 2},
                       {"grid_y", 1},
                       {"grid_z", 1},
                       {"shared_bytes", 58896},
                       {"workspace_bytes", 90112},
                       {"m_tiles", 3},
                       {"n_slices", 3},
                       {"k_tiles", 5},
                       {"block_k_tiles", 0},
                       {"rows", 48},
                       {"dynamic_m", 0},
                       {"guard_rows", 1},
                       {"weights_row", 1536},
                       {"weights_k_tile", 6144},
                       {"weights_slice", 512},
                       {"weights_column", 30720},
                       {"tokens_row", 640},
                       {"tokens_k_tile", 128},
                       {"tokens_m_tile", 30720},
                       {"tokens_column", 640},
                       {"scales_row", 384},
                       {"scales_k_tile", 0},
                       {"scales_slice", 128},
                       {"scales_column", 0},
                       {"output_row", 384},
                       {"output_slice", 128},
                       {"output_m_tile", 18432},
                       {"private_rings", 1},
                       {"warp_columns", 64},
                       {"blocks64", 1},
                       {"k_steps", 2},
                       {"token_tiles", 6},
                       {"group_scales", 0},
                       {"weights_unit", 1024},
                       {"weights_unit_row", 512},
                       {"tokens_offset", 2048},
                       {"tokens_pitch", 64},
                       {"tokens_unit", 3072},
                       {"tokens_warp_k", 0},
                       {"swizzle_shift", 7},
                       {"swizzle_mask", 3},
                       {"scales_offset", 8192},
                       {"scales_unit", 0},
                       {"stage_bytes", 8192},
                       {"ring_bytes", 32768},
                       {"token_copiers", 32},
                       {"token_chunks_row", 4},
                       {"token_rows_pass", 8},
                       {"token_passes", 6},
                       {"token_last_copiers", 32},
                       {"scale_chunks", 0},
                       {"reduce_offset", 32768},
                       {"reduce_tokens", 48},
                       {"reduce_passes", 1},
                       {"reduce_pitch", 272},
                       {"reduce_warp_k", 13056},
                       {"quads", 16},
                       {"reduce_rows", 4},
                       {"shares_slices", 1},
                       {"ticket_offset", 58880},
                       {"counters", 1},
                       {"partials_offset", 65536},
                       {"partial_tile", 12288}});
}

TEST(Plan, NamedValuesHaveDistinctNames) {
  const auto values = named_values(Plan{});
  EXPECT_EQ(values_of(Plan{}).size(), values.size());
}

TEST(Plan, RowsAreGuardedOnlyWhereATileMayBeShort) {
  struct Case {
    std::int64_t m;
    bool exact;
    int rows, m_tiles;
    bool dynamic_m, guard_rows;
  };
  const Case cases[] = {
      {1, false, 1, 1, false, false},  // the only m it serves
      {1, true, 1, 1, false, false},   {7, true, 7, 1, false, false},
      {8, false, 8, 1, true, true},    {16, true, 16, 1, false, false},
      {32, true, 16, 2, false, false},  // whole tiles
      {33, true, 16, 3, false, true},  {40, true, 16, 3, false, true},
      {48, false, 16, 3, true, true},
  };
  for (const Case& c : cases) {
    Config config = parse_config("m16 n256 w4x2 k64 s2 accumulators split1 b1");
    config.tile_m = c.m < 9 ? 8 : 16;
    const Plan plan = make_plan({c.m, 256, 256, 128, c.exact}, {"sm_80", 8}, config);
    EXPECT_EQ(plan.rows, c.rows) << c.m;
    EXPECT_EQ(plan.m_tiles, c.m_tiles) << c.m;
    EXPECT_EQ(plan.dynamic_m, c.dynamic_m) << c.m;
    EXPECT_EQ(plan.guard_rows, c.guard_rows) << c.m;
    EXPECT_EQ(plan.token_tiles, (c.rows + 7) / 8) << c.m;
  }
}

class RandomPlans : public testing::Test {
 protected:
  static const std::vector<Plan>& plans() {
    static const std::vector<Plan> all = [] {
      std::vector<Plan> found;
      for (const LegalCase& c : RandomCases(2024).take(400)) {
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

TEST_F(RandomPlans, BlocksTimesTheirTilesAreAllTiles) {
  for (const Plan& plan : plans()) {
    const std::int64_t all = std::int64_t{plan.m_tiles} * plan.n_slices * plan.k_tiles;
    const std::int64_t blocks = std::int64_t{plan.grid_x} * plan.grid_y * plan.grid_z;
    EXPECT_GE(std::int64_t{plan.m_tiles} * plan.config.tile_m, plan.shape.m) << name(plan);
    EXPECT_LT((std::int64_t{plan.m_tiles} - 1) * plan.config.tile_m, plan.shape.m) << name(plan);
    EXPECT_EQ(std::int64_t{plan.n_slices} * plan.config.tile_n, plan.shape.n) << name(plan);
    EXPECT_EQ(std::int64_t{plan.k_tiles} * plan.config.tile_k(), plan.shape.k) << name(plan);
    std::int64_t done = blocks * plan.block_k_tiles;
    EXPECT_EQ(plan.striped, !plan.stripes.empty()) << name(plan);
    if (plan.striped) {
      EXPECT_EQ(static_cast<std::int64_t>(plan.stripes.size()), blocks) << name(plan);
      for (const auto& stripe : plan.stripes) {
        for (const Segment& segment : stripe) done += segment.k_tiles;
      }
    }
    EXPECT_EQ(done, all) << name(plan);
    EXPECT_EQ(plan.threads, 32 * plan.config.warps_n * plan.config.warps_k) << name(plan);
  }
}

// Where a lane's sixteen bytes of words begin, against the packed format.
TEST_F(RandomPlans, WeightStridesFollowThePackedFormat) {
  for (const Plan& plan : plans()) {
    const Config& config = plan.config;
    const int slice = plan.n_slices - 1, k_tile = plan.k_tiles - 1;
    for (int warp = 0; warp < config.warps(); ++warp) {
      const int warp_n = warp % config.warps_n, warp_k = warp / config.warps_n;
      for (int step = 0; step < plan.k_steps; ++step) {
        const int block = plan.blocks64 - 1, lane = 13;
        const std::int64_t k = std::int64_t{k_tile} * config.tile_k() + warp_k * config.warp_k +
                               16 * step + 2 * (lane % 4);
        const std::int64_t n = std::int64_t{slice} * config.tile_n + warp_n * plan.warp_columns +
                               64 * block + lane / 4;
        EXPECT_EQ(slice * plan.weights_slice + k_tile * plan.weights_k_tile +
                      (warp_k * plan.k_steps + step) * plan.weights_row +
                      warp_n * plan.weights_unit_row + block * 512 + lane * 16,
                  4 * word_index(k, n, plan.shape.n))
            << name(plan);
      }
    }
    EXPECT_EQ(plan.weights_column, 4 * packed_words(plan.shape.k, plan.shape.n)) << name(plan);
    EXPECT_EQ(plan.weights_column, plan.k_tiles * plan.weights_k_tile) << name(plan);
    EXPECT_EQ(plan.weights_unit_row, 512 * plan.blocks64) << name(plan);
    EXPECT_EQ(plan.blocks64 * 64 * config.warps_n, config.tile_n) << name(plan);
    EXPECT_EQ(plan.k_steps * 16 * config.warps_k, config.tile_k()) << name(plan);
  }
}

TEST_F(RandomPlans, TokenAndOutputStridesAreRowMajor) {
  for (const Plan& plan : plans()) {
    const auto& [m, n, k, group, exact] = plan.shape;
    EXPECT_EQ(plan.tokens_row, 2 * k) << name(plan);
    EXPECT_EQ(plan.tokens_m_tile, 2 * k * plan.config.tile_m) << name(plan);
    EXPECT_EQ(plan.tokens_k_tile * plan.k_tiles, plan.tokens_column) << name(plan);
    EXPECT_EQ(plan.tokens_column, 2 * k) << name(plan);
    EXPECT_EQ(plan.output_row, 2 * n) << name(plan);
    EXPECT_EQ(plan.output_m_tile, 2 * n * plan.config.tile_m) << name(plan);
    EXPECT_EQ(plan.output_slice * plan.n_slices, 2 * n) << name(plan);
  }
}

TEST_F(RandomPlans, ScaleStridesFollowThePackedFormat) {
  for (const Plan& plan : plans()) {
    const auto& [m, n, k, group, exact] = plan.shape;
    const ScaleOrder order = scale_order(k, group);
    EXPECT_EQ(plan.group_scales, order == ScaleOrder::grouped) << name(plan);
    EXPECT_EQ(plan.scales_slice, 2 * scale_index(order, 0, plan.config.tile_n % n, n) +
                                     (plan.n_slices == 1 ? 2 * n : 0))
        << name(plan);
    if (!plan.group_scales) continue;
    EXPECT_EQ(plan.scales_row, 2 * scale_index(order, 1, 0, n)) << name(plan);
    EXPECT_EQ(plan.scales_k_tile, 2 * scale_index(order, plan.config.tile_k() / group, 0, n))
        << name(plan);
    EXPECT_EQ(plan.scales_column, 2 * scale_index(order, scale_rows(k, group), 0, n)) << name(plan);
    // A warp's k never spans two groups.
    EXPECT_EQ(group % plan.config.warp_k, 0) << name(plan);
  }
}

struct Region {
  std::int64_t begin, end;
};

// Regions in ascending order must not touch and must end by `limit`.
void expect_apart(const std::vector<Region>& regions, std::int64_t limit, const std::string& name) {
  std::int64_t free_from = 0;
  for (const Region& region : regions) {
    EXPECT_GE(region.begin, free_from) << name;
    EXPECT_EQ(region.begin % 16, 0) << name;
    free_from = region.end;
  }
  EXPECT_LE(free_from, limit) << name;
}

TEST_F(RandomPlans, RegionsOfAStageLieApart) {
  for (const Plan& plan : plans()) {
    const int warps = plan.config.warps();
    std::vector<Region> regions;
    for (int warp = 0; warp < warps; ++warp) {
      regions.push_back(
          {std::int64_t{warp} * plan.weights_unit,
           std::int64_t{warp} * plan.weights_unit + plan.k_steps * plan.weights_unit_row});
    }
    const int token_bytes = plan.token_tiles * 8 * plan.tokens_pitch;
    for (int owner = 0; owner < (plan.private_rings ? warps : 1); ++owner) {
      const std::int64_t at = plan.tokens_offset + std::int64_t{owner} * plan.tokens_unit;
      regions.push_back({at, at + token_bytes});
    }
    for (int warp = 0; plan.group_scales && warp < warps; ++warp) {
      const std::int64_t at = plan.scales_offset + std::int64_t{warp} * plan.scales_unit;
      regions.push_back({at, at + 2 * plan.warp_columns});
    }
    expect_apart(regions, plan.stage_bytes, name(plan));
    // The swizzle flips bits 4..6 of an address: what it is applied to begins a 128-byte line.
    EXPECT_EQ(plan.stage_bytes % 128, 0) << name(plan);
    EXPECT_EQ(plan.tokens_offset % 128, 0) << name(plan);
    EXPECT_EQ(plan.tokens_unit % 128, 0) << name(plan);
    EXPECT_EQ(plan.ring_bytes, plan.config.stages * plan.stage_bytes) << name(plan);
  }
}

// Every chunk of every row of a tile is copied by one thread, to a place of its own.
TEST_F(RandomPlans, TokenCopiesCoverATileOnce) {
  for (const Plan& plan : plans()) {
    EXPECT_EQ(plan.token_copiers, plan.private_rings ? 32 : plan.threads) << name(plan);
    EXPECT_EQ(plan.token_chunks_row * 16, plan.tokens_pitch) << name(plan);
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
        const int place = row * plan.tokens_pitch + chunk * 16;
        const int swizzled = place ^ (place >> plan.swizzle_shift & plan.swizzle_mask) << 4;
        EXPECT_EQ(swizzled / plan.tokens_pitch, row) << name(plan);
        EXPECT_TRUE(places.insert(swizzled).second) << name(plan);
      }
    }
    EXPECT_EQ(static_cast<int>(chunks.size()), plan.rows * plan.token_chunks_row) << name(plan);
    EXPECT_EQ(plan.scale_chunks * 16, plan.group_scales ? 2 * plan.warp_columns : 0) << name(plan);
    EXPECT_LE(plan.scale_chunks, 32) << name(plan);
  }
}

// The eight rows that one ldmatrix matrix takes must lie in the eight different 16-byte columns of
// the banks, for every k16 step, half of it, warp along k and tile of tokens.
TEST_F(RandomPlans, EightTokensOfAnyHalfStepLieInDifferentBanks) {
  for (const Plan& plan : plans()) {
    for (int row = 0; row < plan.token_tiles * 8; row += 8) {
      for (int offset = 0; offset < plan.tokens_pitch; offset += 16) {
        std::set<int> columns;
        for (int i = 0; i < 8; ++i) {
          const int place = (row + i) * plan.tokens_pitch + offset;
          const int swizzled = place ^ (place >> plan.swizzle_shift & plan.swizzle_mask) << 4;
          columns.insert(swizzled / 16 % 8);
        }
        ASSERT_EQ(columns.size(), 8u) << name(plan) << ", row " << row << ", byte " << offset;
      }
    }
    const int warp_k_bytes = plan.private_rings ? plan.tokens_pitch : plan.tokens_warp_k;
    EXPECT_EQ(warp_k_bytes, 2 * plan.config.warp_k) << name(plan);
    EXPECT_EQ(plan.tokens_pitch,
              plan.private_rings ? warp_k_bytes : warp_k_bytes * plan.config.warps_k)
        << name(plan);
  }
}

TEST_F(RandomPlans, ReductionCoversTheTileAndLeavesLiveStagesAlone) {
  for (const Plan& plan : plans()) {
    EXPECT_EQ(plan.reduce_tokens % 8, 0) << name(plan);
    EXPECT_GE(plan.reduce_passes * plan.reduce_tokens, plan.token_tiles * 8) << name(plan);
    EXPECT_LT((plan.reduce_passes - 1) * plan.reduce_tokens, plan.token_tiles * 8) << name(plan);
    EXPECT_GE(plan.reduce_pitch, 4 * plan.config.tile_n) << name(plan);
    EXPECT_EQ(plan.reduce_pitch % 16, 0) << name(plan);
    EXPECT_GE(plan.reduce_warp_k, plan.reduce_tokens * plan.reduce_pitch) << name(plan);
    EXPECT_EQ(plan.quads * 4, plan.config.tile_n) << name(plan);
    EXPECT_EQ(plan.reduce_rows * plan.quads, plan.threads) << name(plan);
    const bool more_slices = plan.config.partition.kind != Partition::Kind::split;
    EXPECT_EQ(plan.reduce_offset, more_slices ? plan.ring_bytes : 0) << name(plan);
    const std::int64_t end =
        plan.reduce_offset + std::int64_t{plan.config.warps_k} * plan.reduce_warp_k;
    const int limit = plan.shares_slices ? plan.ticket_offset : plan.shared_bytes;
    EXPECT_LE(end, limit) << name(plan);
    EXPECT_LE(plan.ring_bytes, limit) << name(plan);
  }
}

TEST_F(RandomPlans, SharedMemoryAndThreadsFitTheMachine) {
  for (const Plan& plan : plans()) {
    const ArchLimits& limits = limits_of(plan.target);
    const int blocks = plan.config.blocks_per_sm;
    EXPECT_LE(plan.shared_bytes, limits.shared_per_block) << name(plan);
    EXPECT_LE((plan.shared_bytes + 1024) * blocks, limits.shared_per_sm) << name(plan);
    EXPECT_LE(plan.threads * blocks, limits.threads_per_sm) << name(plan);
    EXPECT_LE(register_estimate(plan) * plan.threads * blocks, limits.registers_per_sm)
        << name(plan);
    EXPECT_LE(plan.grid_y, 65535) << name(plan);
    EXPECT_LE(plan.grid_z, 65535) << name(plan);
  }
}

TEST_F(RandomPlans, WorkspaceHoldsACounterForEachSharedSliceAndATileForEachOwner) {
  for (const Plan& plan : plans()) {
    std::int64_t counters = 0, slots = 0;
    if (plan.striped) {
      std::set<int> shared;
      for (const auto& stripe : plan.stripes) {
        for (const Segment& segment : stripe) {
          if (segment.owners == 1) continue;
          EXPECT_LT(segment.slot + segment.rank,
                    (plan.workspace_bytes - plan.partials_offset) / plan.partial_tile)
              << name(plan);
          shared.insert(segment.counter);
          ++slots;
        }
      }
      counters = static_cast<std::int64_t>(shared.size());
    } else if (plan.grid_z > 1) {
      counters = std::int64_t{plan.m_tiles} * plan.n_slices;
      slots = counters * plan.grid_z;
    }
    EXPECT_EQ(plan.shares_slices, counters > 0) << name(plan);
    EXPECT_EQ(plan.partial_tile, std::int64_t{4} * plan.rows * plan.config.tile_n) << name(plan);
    if (counters == 0) {
      EXPECT_EQ(plan.workspace_bytes, 0) << name(plan);
      continue;
    }
    EXPECT_EQ(plan.counters, counters) << name(plan);
    EXPECT_GE(plan.partials_offset, 4 * counters) << name(plan);
    // The same in every kernel, so that kernels may share a workspace.
    EXPECT_EQ(plan.partials_offset, 65536) << name(plan);
    EXPECT_EQ(plan.workspace_bytes, plan.partials_offset + slots * plan.partial_tile) << name(plan);
    EXPECT_EQ(plan.ticket_offset % 4, 0) << name(plan);
    EXPECT_LE(plan.ticket_offset + 4, plan.shared_bytes) << name(plan);
  }
}

// A family's lay_out, which legality and the cost estimates use, gives the same numbers as
// make_plan.
TEST_F(RandomPlans, LayOutGivesTheSameNumbers) {
  for (const Plan& plan : plans()) {
    EXPECT_EQ(named_values(info(plan.config.family).lay_out(plan.shape, plan.target, plan.config)),
              named_values(plan))
        << name(plan);
  }
}

}  // namespace
}  // namespace marlin
