// The plan of wgmma kernels: two worked by hand, then what the numbers must be to one another for
// hundreds of random legal configs; and the configs that the family proposes.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "codegen/generator.h"
#include "tests/unit/codegen/legal_cases.h"
#include "tests/unit/problems.h"

namespace marlin {
namespace {

using Values = std::map<std::string, std::int64_t>;

void expect_values(const Plan& plan, const Values& expected) {
  Values found;
  for (const auto& [name, value] : named_values(plan)) found[name] = value;
  for (const auto& [name, value] : expected) {
    ASSERT_TRUE(found.contains(name)) << name;
    EXPECT_EQ(found[name], value) << name;
  }
}

// 12 tiles on 5 SMs: two are left after two waves, so that seven are cut into stripes.
TEST(WgmmaPlan, StripesWorkedByHand) {
  const Plan plan =
      make_plan(problem_of(300, 960, 512, 128, false), {"sm_90a", 5},
                parse_config("wgmma m128 n256 w8x1 k128 s3 weights stripes5 b1 burst2 raster2"));
  EXPECT_EQ(plan.launch.entry, "marlin_wgmma_300x960x512_g128");
  expect_values(plan, {{"launch.threads", 384},
                       {"launch.grid_x", 5},
                       {"launch.grid_y", 1},
                       {"tiles.m_tiles", 3},
                       {"tiles.n_tiles", 4},
                       {"tiles.k_tiles", 4},
                       {"wgmma.work.workers", 5},
                       {"wgmma.work.tiles", 12},
                       {"wgmma.work.whole_tiles", 5},
                       {"wgmma.work.striped_k_tiles", 28},
                       {"wgmma.roles.consumers", 2},
                       {"wgmma.roles.m64_tiles", 2},
                       {"wgmma.roles.accumulators", 64},
                       {"wgmma.roles.commits", 4},
                       {"wgmma.roles.consumer_registers", 232},
                       {"wgmma.roles.producer_registers", 40},
                       {"wgmma.stage.line", 16384},
                       {"wgmma.stage.lines", 2},
                       {"wgmma.stage.activations", 32768},
                       {"wgmma.stage.packed_row", 2048},
                       {"wgmma.stage.packed", 16384},
                       {"wgmma.stage.scales", 512},
                       {"wgmma.stage.bytes", 49664},
                       {"wgmma.shared.packed", 98304},
                       {"wgmma.shared.scales", 147456},
                       {"wgmma.tail.columns", 192},
                       {"wgmma.tail.scales_row", 384},
                       {"wgmma.tail.stage_bytes", 49536},
                       {"wgmma.shared.staging", 149504},
                       {"wgmma.staging.rows", 64},
                       {"wgmma.staging.box", 8192},
                       {"wgmma.staging.buffer", 16384},
                       {"wgmma.staging.buffers", 2},
                       {"wgmma.staging.consumer", 32768},
                       {"wgmma.shared.full", 215040},
                       {"wgmma.shared.empty", 215064},
                       {"launch.shared_bytes", 215104},
                       {"workspace.counters", 10},
                       {"workspace.partial_tile", 131072},
                       {"wgmma.fixup.float4s", 4},
                       {"wgmma.fixup.chunks", 8},
                       {"workspace.bytes", 65536 + 5 * 131072}});
}

// Six tiles of pairs of tiles for two clusters of two, whose blocks copy 64 tokens each for both.
TEST(WgmmaPlan, MulticastWorkedByHand) {
  const Plan plan =
      make_plan(problem_of(300, 960, 512, 128, false), {"sm_90a", 5},
                parse_config("wgmma m128 n256 w8x1 k128 s3 weights split1 b1 multicast2"));
  expect_values(plan, {{"launch.grid_x", 4},
                       {"wgmma.work.workers", 2},
                       {"wgmma.work.tiles", 6},
                       {"wgmma.work.whole_tiles", 6},
                       {"wgmma.work.striped_k_tiles", 0},
                       {"wgmma.stage.activation_box", 64},
                       {"wgmma.stage.bytes", 49664}});
  ASSERT_EQ(plan.launch.tensor_maps.size(), 3U);
  EXPECT_EQ(plan.launch.tensor_maps[0].box_rows, 64);
}

// Five k tiles for three blocks, which own the 24 tokens eight by eight.
TEST(WgmmaPlan, ClusterWorkedByHand) {
  const Plan plan = make_plan(problem_of(24, 512, 640, -1, true), {"sm_90a", 132},
                              parse_config("wgmma m24 n128 w4x1 k128 s2 accumulators cluster3 b1"));
  expect_values(plan, {{"launch.threads", 256},
                       {"launch.grid_x", 12},
                       {"wgmma.reduction.cluster", 3},
                       {"wgmma.splits.count", 3},
                       {"wgmma.splits.k_tiles", 1},
                       {"wgmma.splits.longer", 2},
                       {"wgmma.roles.consumers", 1},
                       {"wgmma.roles.m64_tiles", 2},
                       {"wgmma.roles.consumer_registers", 248},
                       {"wgmma.roles.producer_registers", 248},
                       {"wgmma.stage.scales", 0},
                       {"wgmma.stage.bytes", 14336},
                       {"wgmma.reduction.n8_tiles", 3},
                       {"wgmma.reduction.most", 1},
                       {"wgmma.staging.rows", 8},
                       {"wgmma.staging.buffers", 1},
                       {"wgmma.shared.received_split", 4096},
                       {"workspace.bytes", 0}});
}

// Four boxes of 64 columns in each of three n8 tiles for five blocks, launched together.
TEST(WgmmaPlan, SplitWorkedByHand) {
  const Plan plan = make_plan(problem_of(24, 512, 640, 128, true), {"sm_90a", 12},
                              parse_config("wgmma m24 n256 w8x1 k128 s2 weights split5 b1"));
  expect_values(plan, {{"launch.cooperative", 1},
                       {"wgmma.reduction.exchanges", 1},
                       {"launch.grid_x", 10},
                       {"wgmma.reduction.cluster", 1},
                       {"wgmma.splits.count", 5},
                       {"wgmma.splits.k_tiles", 1},
                       {"wgmma.splits.longer", 0},
                       {"wgmma.reduction.boxes", 12},
                       {"wgmma.reduction.most", 1},
                       {"wgmma.reduction.least", 0},
                       {"wgmma.staging.rows", 8},
                       {"workspace.counters", 8},
                       {"workspace.partial_tile", 24576},
                       {"workspace.bytes", 65536 + 10 * 24576}});
}

// 32 tiles x 2 rows of tiles x 2 parts of K leave four of 132 SMs without work.
TEST(WgmmaPlan, TilesOf192ColumnsWorkedByHand) {
  const Plan plan =
      make_plan(problem_of(256, 6144, 4096, 128, false), {"sm_90a", 132},
                parse_config("wgmma m128 n192 w12x1 k128 s4 weights split2 b1 burst4 raster2"));
  expect_values(plan, {{"launch.threads", 512},
                       {"launch.grid_x", 128},
                       {"tiles.n_tiles", 32},
                       {"wgmma.tail.columns", 0},
                       {"wgmma.roles.consumers", 3},
                       {"wgmma.roles.m64_tiles", 1},
                       {"wgmma.roles.consumer_registers", 160},
                       {"wgmma.roles.producer_registers", 24},
                       {"wgmma.stage.packed_row", 1536},
                       {"wgmma.stage.packed", 12288},
                       {"wgmma.stage.scales", 384},
                       {"wgmma.stage.bytes", 32768 + 12288 + 384},
                       {"wgmma.reduction.boxes", 48},
                       {"wgmma.reduction.most", 8},
                       {"wgmma.reduction.least", 8},
                       {"wgmma.staging.rows", 64},
                       {"workspace.counters", 384},
                       {"workspace.partial_tile", 98304}});
  ASSERT_EQ(plan.launch.tensor_maps.size(), 3U);
  EXPECT_EQ(plan.launch.tensor_maps[1].box_columns, 192);
}

std::vector<LegalCase> random_cases() {
  return RandomCases(20241123, {600, 40, 40, 132}).take(400, Family::wgmma);
}

TEST(RandomWgmmaPlans, PiecesCoverEveryTileOnce) {
  for (const LegalCase& c : random_cases()) {
    const Plan plan = make_plan(c.problem, c.target, c.config);
    EXPECT_GE(std::int64_t{plan.wgmma().work.tiles} * c.config.wgmma().multicast * c.config.tile_m *
                  c.config.tile_n,
              c.problem.shape.m * c.problem.shape.n)
        << c;
    EXPECT_EQ(plan.launch.grid_x, plan.wgmma().work.workers *
                                      std::max(1, plan.wgmma().splits.count) *
                                      c.config.wgmma().multicast)
        << c;
    EXPECT_EQ(plan.launch.cooperative,
              plan.wgmma().splits.count > 1 && plan.wgmma().reduction.cluster == 1)
        << c;
    EXPECT_EQ(plan.wgmma().stage.activation_box * c.config.wgmma().multicast, c.config.tile_m) << c;
    EXPECT_EQ(
        plan.wgmma().work.striped_k_tiles,
        std::int64_t{plan.wgmma().work.tiles - plan.wgmma().work.whole_tiles} * plan.tiles.k_tiles)
        << c;
    if (plan.wgmma().work.striped_k_tiles > 0) {
      EXPECT_GE(plan.wgmma().work.striped_k_tiles, plan.wgmma().work.workers)
          << c;  // something for every block
      EXPECT_EQ(plan.wgmma().work.whole_tiles % plan.wgmma().work.workers, 0) << c;
      EXPECT_LT(plan.wgmma().work.tiles - plan.wgmma().work.whole_tiles,
                2 * plan.wgmma().work.workers)
          << c;
    }
    EXPECT_EQ(plan.wgmma().splits.k_tiles * plan.wgmma().splits.count + plan.wgmma().splits.longer,
              plan.wgmma().splits.count > 1 ? plan.tiles.k_tiles : 0);
  }
}

TEST(RandomWgmmaPlans, AreasOfSharedMemoryLieApartAndFit) {
  for (const LegalCase& c : random_cases()) {
    const Plan plan = make_plan(c.problem, c.target, c.config);
    const int stages = c.config.stages;
    const std::pair<int, int> areas[] = {
        {0, stages * plan.wgmma().stage.activations},
        {plan.wgmma().shared.packed, stages * plan.wgmma().stage.packed},
        {plan.wgmma().shared.scales, stages * plan.wgmma().stage.scales},
        {plan.wgmma().shared.staging, plan.wgmma().roles.consumers * plan.wgmma().staging.consumer},
        {plan.wgmma().reduction.cluster > 1 ? plan.wgmma().shared.received
                                            : plan.wgmma().shared.full,
         plan.wgmma().reduction.cluster > 1
             ? plan.wgmma().splits.count * plan.wgmma().shared.received_split
             : 0},
        {plan.wgmma().shared.full, stages * 8},
        {plan.wgmma().shared.empty, stages * 8},
        {plan.wgmma().shared.barrier, 8}};
    int end = 0;
    for (const auto& [begin, bytes] : areas) {
      EXPECT_GE(begin, end) << c;
      end = begin + bytes;
    }
    EXPECT_LE(end, plan.launch.shared_bytes) << c;
    EXPECT_LE((plan.launch.shared_bytes + 1024) * c.config.blocks_per_sm, 228 << 10) << c;
    // What is swizzled by 128 bytes repeats after 1024.
    EXPECT_EQ(plan.wgmma().stage.line % 1024, 0) << c;
    EXPECT_EQ(plan.wgmma().shared.staging % 1024 + plan.wgmma().staging.box % 1024, 0) << c;
    EXPECT_EQ(plan.wgmma().shared.packed % 128 + plan.wgmma().shared.scales % 16, 0) << c;
  }
}

TEST(RandomWgmmaPlans, AStageIsWhatItsCopiesBring) {
  for (const LegalCase& c : random_cases()) {
    const Plan plan = make_plan(c.problem, c.target, c.config);
    const int k = c.config.warp_k, groups = plan.scales.grouped ? plan.scales.rows : 0;
    const auto bytes = [&](int scaled) {
      return c.config.tile_m * k * 2 + c.config.tile_n * k / 2 + scaled * groups * 2;
    };
    EXPECT_EQ(plan.wgmma().stage.bytes, bytes(c.config.tile_n)) << c;
    if (plan.wgmma().tail.columns > 0) {
      EXPECT_EQ(plan.wgmma().tail.stage_bytes, bytes(plan.wgmma().tail.columns)) << c;
    }
  }
}

TEST(RandomWgmmaPlans, PartialSumsComeInStagesThatHoldThem) {
  for (const LegalCase& c : random_cases()) {
    const Plan plan = make_plan(c.problem, c.target, c.config);
    if (plan.wgmma().work.striped_k_tiles == 0) continue;
    const std::int64_t quads = 16 * std::int64_t{plan.wgmma().fixup.float4s} * c.config.threads();
    EXPECT_GE(plan.wgmma().fixup.float4s, 1) << c;
    EXPECT_LE(quads, plan.wgmma().stage.packed) << c;
    EXPECT_GE(plan.wgmma().fixup.chunks * quads, plan.workspace.partial_tile) << c;
    EXPECT_LT((plan.wgmma().fixup.chunks - 1) * quads, plan.workspace.partial_tile) << c;
  }
}

TEST(RandomWgmmaPlans, RegistersOfAllWarpsFitTheSm) {
  for (const LegalCase& c : random_cases()) {
    const Plan plan = make_plan(c.problem, c.target, c.config);
    const int block = 128 * (plan.wgmma().roles.consumers * plan.wgmma().roles.consumer_registers +
                             plan.wgmma().roles.producer_registers);
    EXPECT_LE(block * c.config.blocks_per_sm, 65536) << c;
    EXPECT_EQ(plan.wgmma().roles.consumer_registers % 8 + plan.wgmma().roles.producer_registers % 8,
              0)
        << c;
    EXPECT_LE(plan.wgmma().roles.consumer_registers, 248) << c;
  }
}

TEST(RandomWgmmaPlans, EveryEightOfTokensHasOneOwnerAndEveryChunkItsRoom) {
  for (const LegalCase& c : random_cases()) {
    const Plan plan = make_plan(c.problem, c.target, c.config);
    if (plan.wgmma().reduction.exchanges) {
      EXPECT_EQ(plan.wgmma().reduction.boxes * 8 * 64, c.config.tile_m * c.config.tile_n) << c;
      EXPECT_GE(plan.wgmma().reduction.boxes, plan.wgmma().splits.count) << c;
      EXPECT_LE(plan.wgmma().reduction.least, plan.wgmma().reduction.most) << c;
      EXPECT_LE(plan.wgmma().reduction.boxes,
                plan.wgmma().splits.count * plan.wgmma().reduction.most * c.config.tile_n / 64)
          << c;
      continue;
    }
    int next = 0;
    for (const Reducer& owner : plan.wgmma().reduction.reducers) {
      EXPECT_EQ(owner.first, next) << c;
      EXPECT_GE(owner.count, 1) << c;
      EXPECT_LE(owner.count, plan.wgmma().reduction.most) << c;
      next += owner.count;
    }
    EXPECT_EQ(next * 8, c.config.tile_m) << c;
    if (plan.wgmma().reduction.cluster == 1) {
      EXPECT_EQ(c.config.tile_m % plan.wgmma().staging.rows, 0) << c;
    }
  }
}

TEST(WgmmaConfigs, AllHavePlansAndTexts) {
  const Target target{"sm_90a", 132};
  for (const Problem& problem :
       {problem_of(17, 4096, 4096, 128), problem_of(64, 28672, 4096, 128),
        problem_of(128, 4160, 4096, 64), problem_of(4096, 4096, 14336, -1)}) {
    std::set<std::string> texts;
    for (const Config& config : legal_configs(problem, target)) {
      if (config.family() != Family::wgmma) continue;
      EXPECT_EQ(why_illegal(problem, target, config), std::nullopt) << to_string(config);
      EXPECT_TRUE(texts.insert(to_string(config)).second) << to_string(config);
      EXPECT_FALSE(emit_source(make_plan(problem, target, config)).empty());
    }
    EXPECT_GT(texts.size(), 10u) << to_string(problem);
  }
}

TEST(WgmmaConfigs, BeginWithNineTokensOnHopperAlone) {
  const auto count = [](const Problem& problem, const Target& target) {
    int found = 0;
    for (const Config& config : legal_configs(problem, target)) {
      found += config.family() == Family::wgmma ? 1 : 0;
    }
    return found;
  };
  EXPECT_EQ(count(problem_of(8, 4096, 4096, 128), {"sm_90a", 132}), 0);
  EXPECT_GT(count(problem_of(9, 4096, 4096, 128), {"sm_90a", 132}), 0);
  for (const ArchLimits& arch : known_archs()) {
    if (arch.name == "sm_90a") continue;
    EXPECT_EQ(count(problem_of(64, 4096, 4096, 128), {std::string(arch.name), 132}), 0)
        << arch.name;
  }
}

}  // namespace
}  // namespace marlin
