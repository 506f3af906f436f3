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
#include "codegen/plan/resources.h"
#include "codegen/plan/stripes.h"
#include "tests/unit/codegen/legal_cases.h"
#include "tests/unit/problems.h"

namespace marlin {
namespace {

using Values = std::map<std::string, std::int64_t>;

Values values_of(const Plan& plan) {
  Values values;
  for (const auto& [name, value] : named_values(plan)) values[name] = value;
  return values;
}

std::vector<std::vector<Segment>> segments_of(const Plan& plan) {
  return cut_stripes(plan.tiles.m_tiles * plan.tiles.n_tiles, plan.tiles.k_tiles,
                     plan.config.partition.count);
}

void expect_values(const Plan& plan, const Values& expected) {
  const Values found = values_of(plan);
  for (const auto& [name, value] : expected) {
    const auto at = found.find(name);
    ASSERT_NE(at, found.end()) << name;
    EXPECT_EQ(at->second, value) << name;
  }
  // What this kernel has no use for is zero.
  for (const auto& [name, value] : found) {
    EXPECT_TRUE(value == 0 || expected.contains(name)) << name << " = " << value << " unexpected";
  }
}

// Four warps side by side share the activations of a stage; two blocks share each tile.
TEST(Plan, WorkedByHandWithSharedTokens) {
  const Plan plan = make_plan(problem_of(16, 512, 1024, 128, false), {"sm_90a", 8},
                              parse_config("m16 n256 w4x2 k64 s3 accumulators split2 b1"));
  EXPECT_EQ(plan.launch.entry, "marlin_stripe_16x512x1024_g128");
  expect_values(plan, {{"workspace.partial_row", 1024},
                       {"launch.cluster", 1},
                       {"scales.rows", 1},
                       {"scales.steps", 4},
                       {"global.packed.unit", 16384},
                       {"global.packed.warp_n", 512},
                       {"global.activations.warp_k", 128},
                       {"global.scales.warp_n", 128},
                       {"stripe.activations.line", 128},
                       {"launch.threads", 256},
                       {"launch.grid_x", 1},
                       {"launch.grid_y", 2},
                       {"launch.grid_z", 2},
                       {"launch.rows_on_x", 1},
                       {"launch.shared_bytes", 64528},
                       {"workspace.bytes", 131072},
                       {"tiles.m_tiles", 1},
                       {"tiles.n_tiles", 2},
                       {"tiles.k_tiles", 8},
                       {"stripe.work.k_tiles", 4},
                       {"tiles.rows", 16},
                       {"tiles.dynamic_m", 1},
                       {"tiles.guard_rows", 1},
                       {"global.packed.row", 4096},
                       {"global.packed.k_tile", 32768},
                       {"global.packed.n_tile", 2048},
                       {"global.packed.column", 262144},
                       {"global.activations.row", 2048},
                       {"global.activations.k_tile", 256},
                       {"global.activations.m_tile", 32768},
                       {"global.activations.column", 2048},
                       {"global.scales.row", 1024},
                       {"global.scales.k_tile", 1024},
                       {"global.scales.n_tile", 512},
                       {"global.scales.column", 8192},
                       {"global.output.row", 1024},
                       {"global.output.n_tile", 512},
                       {"global.output.m_tile", 16384},
                       {"stripe.private_rings", 0},
                       {"stripe.warp.columns", 64},
                       {"stripe.warp.blocks64", 1},
                       {"tiles.k_steps", 4},
                       {"stripe.warp.n8_tiles", 2},
                       {"scales.grouped", 1},
                       {"stripe.packed.unit", 2048},
                       {"stripe.packed.row", 512},
                       {"stripe.stage.activations_offset", 16384},
                       {"stripe.activations.pitch", 256},
                       {"stripe.activations.unit", 0},
                       {"stripe.stage.activations_warp_k", 128},
                       {"stripe.activations.swizzle_shift", 8},
                       {"stripe.activations.swizzle_mask", 7},
                       {"stripe.scales.offset", 20480},
                       {"stripe.scales.unit", 128},
                       {"stripe.stage.bytes", 21504},
                       {"stripe.stage.ring_bytes", 64512},
                       {"stripe.copies.copiers", 256},
                       {"stripe.copies.row_chunks", 16},
                       {"stripe.copies.pass_rows", 16},
                       {"stripe.copies.passes", 1},
                       {"stripe.copies.last_copiers", 256},
                       {"stripe.scales.chunks", 8},
                       {"stripe.reduction.offset", 0},
                       {"stripe.reduction.pass_rows", 16},
                       {"stripe.reduction.passes", 1},
                       {"stripe.reduction.pitch", 1040},
                       {"stripe.reduction.warp_k", 16640},
                       {"stripe.reduction.float4s", 64},
                       {"stripe.reduction.round_rows", 4},
                       {"workspace.shared", 1},
                       {"stripe.reduction.ticket", 64512},
                       {"workspace.counters", 2},
                       {"workspace.partials_offset", 65536},
                       {"workspace.partial_tile", 16384}});
}

// Two warps with rings of their own; 45 tiles cut into stripes of 23 and 22, which share tile 4.
TEST(Plan, WorkedByHandWithPrivateRingsAndStripes) {
  const Plan plan = make_plan(problem_of(100, 192, 320, -1, true), {"sm_86", 3},
                              parse_config("m48 n64 w1x2 k32 s4 accumulators stripes2 b1"));
  EXPECT_EQ(plan.launch.entry, "marlin_stripe_100x192x320_gall");
  expect_values(plan, {{"workspace.partial_row", 256},
                       {"stripe.work.striped", 1},
                       {"launch.cluster", 1},
                       {"global.packed.unit", 3072},
                       {"global.packed.warp_n", 512},
                       {"global.activations.warp_k", 64},
                       {"global.scales.warp_n", 128},
                       {"stripe.activations.line", 128},
                       {"launch.threads", 64},
                       {"launch.grid_x", 2},
                       {"launch.grid_y", 1},
                       {"launch.grid_z", 1},
                       {"launch.shared_bytes", 58896},
                       {"workspace.bytes", 90112},
                       {"tiles.m_tiles", 3},
                       {"tiles.n_tiles", 3},
                       {"tiles.k_tiles", 5},
                       {"stripe.work.k_tiles", 0},
                       {"tiles.rows", 48},
                       {"tiles.dynamic_m", 0},
                       {"tiles.guard_rows", 1},
                       {"global.packed.row", 1536},
                       {"global.packed.k_tile", 6144},
                       {"global.packed.n_tile", 512},
                       {"global.packed.column", 30720},
                       {"global.activations.row", 640},
                       {"global.activations.k_tile", 128},
                       {"global.activations.m_tile", 30720},
                       {"global.activations.column", 640},
                       {"global.scales.row", 384},
                       {"global.scales.k_tile", 0},
                       {"global.scales.n_tile", 128},
                       {"global.scales.column", 0},
                       {"global.output.row", 384},
                       {"global.output.n_tile", 128},
                       {"global.output.m_tile", 18432},
                       {"stripe.private_rings", 1},
                       {"stripe.warp.columns", 64},
                       {"stripe.warp.blocks64", 1},
                       {"tiles.k_steps", 2},
                       {"stripe.warp.n8_tiles", 6},
                       {"scales.grouped", 0},
                       {"stripe.packed.unit", 1024},
                       {"stripe.packed.row", 512},
                       {"stripe.stage.activations_offset", 2048},
                       {"stripe.activations.pitch", 64},
                       {"stripe.activations.unit", 3072},
                       {"stripe.stage.activations_warp_k", 0},
                       {"stripe.activations.swizzle_shift", 7},
                       {"stripe.activations.swizzle_mask", 3},
                       {"stripe.scales.offset", 8192},
                       {"stripe.scales.unit", 0},
                       {"stripe.stage.bytes", 8192},
                       {"stripe.stage.ring_bytes", 32768},
                       {"stripe.copies.copiers", 32},
                       {"stripe.copies.row_chunks", 4},
                       {"stripe.copies.pass_rows", 8},
                       {"stripe.copies.passes", 6},
                       {"stripe.copies.last_copiers", 32},
                       {"stripe.scales.chunks", 0},
                       {"stripe.reduction.offset", 32768},
                       {"stripe.reduction.pass_rows", 48},
                       {"stripe.reduction.passes", 1},
                       {"stripe.reduction.pitch", 272},
                       {"stripe.reduction.warp_k", 13056},
                       {"stripe.reduction.float4s", 16},
                       {"stripe.reduction.round_rows", 4},
                       {"workspace.shared", 1},
                       {"stripe.reduction.ticket", 58880},
                       {"workspace.counters", 1},
                       {"workspace.partials_offset", 65536},
                       {"workspace.partial_tile", 12288}});
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
    const Plan plan = make_plan(problem_of(c.m, 256, 256, 128, c.exact), {"sm_80", 8}, config);
    EXPECT_EQ(plan.tiles.rows, c.rows) << c.m;
    EXPECT_EQ(plan.tiles.m_tiles, c.m_tiles) << c.m;
    EXPECT_EQ(plan.tiles.dynamic_m, c.dynamic_m) << c.m;
    EXPECT_EQ(plan.tiles.guard_rows, c.guard_rows) << c.m;
    EXPECT_EQ(plan.stripe().warp.n8_tiles, (c.rows + 7) / 8) << c.m;
  }
}

class RandomPlans : public testing::Test {
 protected:
  static const std::vector<Plan>& plans() {
    static const std::vector<Plan> all = [] {
      std::vector<Plan> found;
      for (const LegalCase& c : RandomCases(2024).take(400)) {
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

TEST_F(RandomPlans, BlocksTimesTheirTilesAreAllTiles) {
  for (const Plan& plan : plans()) {
    const std::int64_t all =
        std::int64_t{plan.tiles.m_tiles} * plan.tiles.n_tiles * plan.tiles.k_tiles;
    const std::int64_t blocks =
        std::int64_t{plan.launch.grid_x} * plan.launch.grid_y * plan.launch.grid_z;
    EXPECT_GE(std::int64_t{plan.tiles.m_tiles} * plan.config.tile_m, plan.problem.shape.m)
        << name(plan);
    EXPECT_LT((std::int64_t{plan.tiles.m_tiles} - 1) * plan.config.tile_m, plan.problem.shape.m)
        << name(plan);
    EXPECT_EQ(std::int64_t{plan.tiles.n_tiles} * plan.config.tile_n, plan.problem.shape.n)
        << name(plan);
    EXPECT_EQ(std::int64_t{plan.tiles.k_tiles} * plan.config.tile_k(), plan.problem.shape.k)
        << name(plan);
    std::int64_t done = blocks * plan.stripe().work.k_tiles;
    if (plan.stripe().work.striped) {
      EXPECT_EQ(plan.config.partition.count, blocks) << name(plan);
      for (const auto& stripe : segments_of(plan)) {
        for (const Segment& segment : stripe) done += segment.k_tiles;
      }
    }
    EXPECT_EQ(done, all) << name(plan);
    EXPECT_EQ(plan.launch.threads, 32 * plan.config.warps_n * plan.config.warps_k) << name(plan);
  }
}

// Where a lane's sixteen bytes of packed weights begin, against the packed format.
TEST_F(RandomPlans, WeightStridesFollowThePackedFormat) {
  for (const Plan& plan : plans()) {
    const Config& config = plan.config;
    const int tile = plan.tiles.n_tiles - 1, k_tile = plan.tiles.k_tiles - 1;
    for (int warp = 0; warp < config.warps(); ++warp) {
      const int warp_n = warp % config.warps_n, warp_k = warp / config.warps_n;
      for (int step = 0; step < plan.tiles.k_steps; ++step) {
        const int block = plan.stripe().warp.blocks64 - 1, lane = 13;
        const std::int64_t k = std::int64_t{k_tile} * config.tile_k() + warp_k * config.warp_k +
                               16 * step + 2 * (lane % 4);
        const std::int64_t n = std::int64_t{tile} * config.tile_n +
                               warp_n * plan.stripe().warp.columns + 64 * block + lane / 4;
        EXPECT_EQ(tile * plan.global.packed.n_tile + k_tile * plan.global.packed.k_tile +
                      (warp_k * plan.tiles.k_steps + step) * plan.global.packed.row +
                      warp_n * plan.stripe().packed.row + block * 512 + lane * 16,
                  4 * word_index(k, n, plan.problem.shape.n))
            << name(plan);
      }
    }
    EXPECT_EQ(plan.global.packed.column,
              4 * packed_words(plan.problem.shape.k, plan.problem.shape.n))
        << name(plan);
    EXPECT_EQ(plan.global.packed.column, plan.tiles.k_tiles * plan.global.packed.k_tile)
        << name(plan);
    EXPECT_EQ(plan.stripe().packed.row, 512 * plan.stripe().warp.blocks64) << name(plan);
    EXPECT_EQ(plan.stripe().warp.blocks64 * 64 * config.warps_n, config.tile_n) << name(plan);
    EXPECT_EQ(plan.tiles.k_steps * 16 * config.warps_k, config.tile_k()) << name(plan);
  }
}

TEST_F(RandomPlans, TokenAndOutputStridesAreRowMajor) {
  for (const Plan& plan : plans()) {
    const auto& [m, n, k, exact, a_stride, c_stride] = plan.problem.shape;
    EXPECT_EQ(plan.global.activations.row, 2 * k) << name(plan);
    EXPECT_EQ(plan.global.activations.m_tile, 2 * k * plan.config.tile_m) << name(plan);
    EXPECT_EQ(plan.global.activations.k_tile * plan.tiles.k_tiles, plan.global.activations.column)
        << name(plan);
    EXPECT_EQ(plan.global.activations.column, 2 * k) << name(plan);
    EXPECT_EQ(plan.global.output.row, 2 * n) << name(plan);
    EXPECT_EQ(plan.global.output.m_tile, 2 * n * plan.config.tile_m) << name(plan);
    EXPECT_EQ(plan.global.output.n_tile * plan.tiles.n_tiles, 2 * n) << name(plan);
  }
}

TEST_F(RandomPlans, ScaleStridesFollowThePackedFormat) {
  for (const Plan& plan : plans()) {
    const auto& [m, n, k, exact, a_stride, c_stride] = plan.problem.shape;
    const int group = plan.problem.scheme.group;
    const ScaleOrder order = scale_order(k, group);
    EXPECT_EQ(plan.scales.grouped, order == ScaleOrder::grouped) << name(plan);
    EXPECT_EQ(plan.global.scales.n_tile, 2 * scale_index(order, 0, plan.config.tile_n % n, n) +
                                             (plan.tiles.n_tiles == 1 ? 2 * n : 0))
        << name(plan);
    if (!plan.scales.grouped) continue;
    EXPECT_EQ(plan.global.scales.row, 2 * scale_index(order, 1, 0, n)) << name(plan);
    EXPECT_EQ(plan.global.scales.k_tile, 2 * scale_index(order, plan.config.tile_k() / group, 0, n))
        << name(plan);
    EXPECT_EQ(plan.global.scales.column, 2 * scale_index(order, scale_rows(k, group), 0, n))
        << name(plan);
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
      regions.push_back({std::int64_t{warp} * plan.stripe().packed.unit,
                         std::int64_t{warp} * plan.stripe().packed.unit +
                             plan.tiles.k_steps * plan.stripe().packed.row});
    }
    const int token_bytes = plan.stripe().warp.n8_tiles * 8 * plan.stripe().activations.pitch;
    for (int owner = 0; owner < (plan.stripe().private_rings ? warps : 1); ++owner) {
      const std::int64_t at = plan.stripe().stage.activations_offset +
                              std::int64_t{owner} * plan.stripe().activations.unit;
      regions.push_back({at, at + token_bytes});
    }
    for (int warp = 0; plan.scales.grouped && warp < warps; ++warp) {
      const std::int64_t at =
          plan.stripe().scales.offset + std::int64_t{warp} * plan.stripe().scales.unit;
      regions.push_back({at, at + 2 * plan.stripe().warp.columns});
    }
    expect_apart(regions, plan.stripe().stage.bytes, name(plan));
    // The swizzle flips bits 4..6 of an address: what it is applied to begins a 128-byte line.
    EXPECT_EQ(plan.stripe().stage.bytes % 128, 0) << name(plan);
    EXPECT_EQ(plan.stripe().stage.activations_offset % 128, 0) << name(plan);
    EXPECT_EQ(plan.stripe().activations.unit % 128, 0) << name(plan);
    EXPECT_EQ(plan.stripe().stage.ring_bytes, plan.config.stages * plan.stripe().stage.bytes)
        << name(plan);
  }
}

// Every chunk of every row of a tile is copied by one thread, to a place of its own.
TEST_F(RandomPlans, TokenCopiesCoverATileOnce) {
  for (const Plan& plan : plans()) {
    EXPECT_EQ(plan.stripe().copies.copiers, plan.stripe().private_rings ? 32 : plan.launch.threads)
        << name(plan);
    EXPECT_EQ(plan.stripe().copies.row_chunks * 16, plan.stripe().activations.pitch) << name(plan);
    std::set<std::pair<int, int>> chunks;
    std::set<int> offsets;
    for (int pass = 0; pass < plan.stripe().copies.passes; ++pass) {
      const bool last = pass + 1 == plan.stripe().copies.passes;
      const int copiers = last ? plan.stripe().copies.last_copiers : plan.stripe().copies.copiers;
      for (int copier = 0; copier < copiers; ++copier) {
        const int row =
            pass * plan.stripe().copies.pass_rows + copier / plan.stripe().copies.row_chunks;
        const int chunk = copier % plan.stripe().copies.row_chunks;
        EXPECT_LT(row, plan.tiles.rows) << name(plan);
        EXPECT_TRUE(chunks.insert({row, chunk}).second) << name(plan);
        const int linear = row * plan.stripe().activations.pitch + chunk * 16;
        const int swizzled = linear ^ (linear >> plan.stripe().activations.swizzle_shift &
                                       plan.stripe().activations.swizzle_mask)
                                          << 4;
        EXPECT_EQ(swizzled / plan.stripe().activations.pitch, row) << name(plan);
        EXPECT_TRUE(offsets.insert(swizzled).second) << name(plan);
      }
    }
    EXPECT_EQ(static_cast<int>(chunks.size()), plan.tiles.rows * plan.stripe().copies.row_chunks)
        << name(plan);
    EXPECT_EQ(plan.stripe().scales.chunks * 16,
              plan.scales.grouped ? 2 * plan.stripe().warp.columns : 0)
        << name(plan);
    EXPECT_LE(plan.stripe().scales.chunks, 32) << name(plan);
  }
}

// The eight rows that one ldmatrix matrix takes must lie in the eight different 16-byte columns of
// the banks, for every k16 step, half of it, warp along k and tile of tokens.
TEST_F(RandomPlans, EightTokensOfAnyHalfStepLieInDifferentBanks) {
  for (const Plan& plan : plans()) {
    for (int row = 0; row < plan.stripe().warp.n8_tiles * 8; row += 8) {
      for (int offset = 0; offset < plan.stripe().activations.pitch; offset += 16) {
        std::set<int> columns;
        for (int i = 0; i < 8; ++i) {
          const int linear = (row + i) * plan.stripe().activations.pitch + offset;
          const int swizzled = linear ^ (linear >> plan.stripe().activations.swizzle_shift &
                                         plan.stripe().activations.swizzle_mask)
                                            << 4;
          columns.insert(swizzled / 16 % 8);
        }
        ASSERT_EQ(columns.size(), 8u) << name(plan) << ", row " << row << ", byte " << offset;
      }
    }
    const int warp_k_bytes = plan.stripe().private_rings ? plan.stripe().activations.pitch
                                                         : plan.stripe().stage.activations_warp_k;
    EXPECT_EQ(warp_k_bytes, 2 * plan.config.warp_k) << name(plan);
    EXPECT_EQ(plan.stripe().activations.pitch,
              plan.stripe().private_rings ? warp_k_bytes : warp_k_bytes * plan.config.warps_k)
        << name(plan);
  }
}

TEST_F(RandomPlans, ReductionCoversTheTileAndLeavesLiveStagesAlone) {
  for (const Plan& plan : plans()) {
    EXPECT_EQ(plan.stripe().reduction.pass_rows % 8, 0) << name(plan);
    EXPECT_GE(plan.stripe().reduction.passes * plan.stripe().reduction.pass_rows,
              plan.stripe().warp.n8_tiles * 8)
        << name(plan);
    EXPECT_LT((plan.stripe().reduction.passes - 1) * plan.stripe().reduction.pass_rows,
              plan.stripe().warp.n8_tiles * 8)
        << name(plan);
    EXPECT_GE(plan.stripe().reduction.pitch, 4 * plan.config.tile_n) << name(plan);
    EXPECT_EQ(plan.stripe().reduction.pitch % 16, 0) << name(plan);
    EXPECT_GE(plan.stripe().reduction.warp_k,
              plan.stripe().reduction.pass_rows * plan.stripe().reduction.pitch)
        << name(plan);
    EXPECT_EQ(plan.stripe().reduction.float4s * 4, plan.config.tile_n) << name(plan);
    EXPECT_EQ(plan.stripe().reduction.round_rows * plan.stripe().reduction.float4s,
              plan.launch.threads)
        << name(plan);
    const bool more_tiles = plan.config.partition.kind != Partition::Kind::split;
    EXPECT_EQ(plan.stripe().reduction.offset, more_tiles ? plan.stripe().stage.ring_bytes : 0)
        << name(plan);
    const std::int64_t end = plan.stripe().reduction.offset +
                             std::int64_t{plan.config.warps_k} * plan.stripe().reduction.warp_k;
    const int limit =
        plan.workspace.shared ? plan.stripe().reduction.ticket : plan.launch.shared_bytes;
    EXPECT_LE(end, limit) << name(plan);
    EXPECT_LE(plan.stripe().stage.ring_bytes, limit) << name(plan);
  }
}

TEST_F(RandomPlans, SharedMemoryAndThreadsFitTheMachine) {
  for (const Plan& plan : plans()) {
    const ArchLimits& limits = limits_of(plan.target);
    const int blocks = plan.config.blocks_per_sm;
    EXPECT_LE(plan.launch.shared_bytes, limits.shared_per_block) << name(plan);
    EXPECT_LE((plan.launch.shared_bytes + 1024) * blocks, limits.shared_per_sm) << name(plan);
    EXPECT_LE(plan.launch.threads * blocks, limits.threads_per_sm) << name(plan);
    EXPECT_LE(register_estimate(plan, plan.stripe().warp) * plan.launch.threads * blocks,
              limits.registers_per_sm)
        << name(plan);
    EXPECT_LE(plan.launch.grid_y, 65535) << name(plan);
    EXPECT_LE(plan.launch.grid_z, 65535) << name(plan);
  }
}

TEST_F(RandomPlans, WorkspaceHoldsACounterForEachSharedSliceAndATileForEachOwner) {
  for (const Plan& plan : plans()) {
    std::int64_t counters = 0, slots = 0;
    if (plan.stripe().work.striped) {
      std::set<int> shared;
      for (const auto& stripe : segments_of(plan)) {
        for (const Segment& segment : stripe) {
          if (segment.contributors == 1) continue;
          EXPECT_LT(
              segment.slot + segment.rank,
              (plan.workspace.bytes - plan.workspace.partials_offset) / plan.workspace.partial_tile)
              << name(plan);
          shared.insert(segment.counter);
          ++slots;
        }
      }
      counters = static_cast<std::int64_t>(shared.size());
    } else if (plan.launch.grid_z > 1) {
      counters = std::int64_t{plan.tiles.m_tiles} * plan.tiles.n_tiles;
      slots = counters * plan.launch.grid_z;
    }
    EXPECT_EQ(plan.workspace.shared, counters > 0) << name(plan);
    EXPECT_EQ(plan.workspace.partial_tile, std::int64_t{4} * plan.tiles.rows * plan.config.tile_n)
        << name(plan);
    if (counters == 0) {
      EXPECT_EQ(plan.workspace.bytes, 0) << name(plan);
      continue;
    }
    EXPECT_EQ(plan.workspace.counters, counters) << name(plan);
    EXPECT_GE(plan.workspace.partials_offset, 4 * counters) << name(plan);
    // The same in every kernel, so that kernels may share a workspace.
    EXPECT_EQ(plan.workspace.partials_offset, 65536) << name(plan);
    EXPECT_EQ(plan.workspace.bytes,
              plan.workspace.partials_offset + slots * plan.workspace.partial_tile)
        << name(plan);
    EXPECT_EQ(plan.stripe().reduction.ticket % 4, 0) << name(plan);
    EXPECT_LE(plan.stripe().reduction.ticket + 4, plan.launch.shared_bytes) << name(plan);
  }
}

// A family's lay_out, which legality and the cost estimates use, gives the same numbers as
// make_plan.
TEST_F(RandomPlans, LayOutGivesTheSameNumbers) {
  for (const Plan& plan : plans()) {
    EXPECT_EQ(
        named_values(info(plan.config.family()).lay_out(plan.problem, plan.target, plan.config)),
        named_values(plan))
        << name(plan);
  }
}

}  // namespace
}  // namespace marlin
