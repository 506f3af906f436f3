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
      make_plan({300, 960, 512, 128, false}, {"sm_90a", 5},
                parse_config("wgmma m128 n256 w8x1 k128 s3 weights stripes5 b1 burst2 raster2"));
  EXPECT_EQ(plan.entry, "marlin_wgmma_300x960x512_g128");
  expect_values(plan, {{"threads", 384},
                       {"grid_x", 5},
                       {"grid_y", 1},
                       {"m_tiles", 3},
                       {"n_slices", 4},
                       {"k_tiles", 4},
                       {"workers", 5},
                       {"tiles", 12},
                       {"whole_tiles", 5},
                       {"striped_units", 28},
                       {"consumers", 2},
                       {"m64_tiles", 2},
                       {"tile_sums", 64},
                       {"bursts", 4},
                       {"consumer_registers", 232},
                       {"producer_registers", 40},
                       {"tokens_line", 16384},
                       {"token_lines", 2},
                       {"tokens_stage", 32768},
                       {"words_row", 2048},
                       {"words_stage", 16384},
                       {"scales_stage", 512},
                       {"stage_bytes", 49664},
                       {"words_offset", 98304},
                       {"scales_offset", 147456},
                       {"tail_columns", 192},
                       {"tail_scales_unit", 384},
                       {"tail_stage_bytes", 49536},
                       {"staging_offset", 149504},
                       {"staging_tokens", 64},
                       {"staging_box", 8192},
                       {"staging_buffer", 16384},
                       {"staging_buffers", 2},
                       {"staging_consumer", 32768},
                       {"full_offset", 215040},
                       {"empty_offset", 215064},
                       {"shared_bytes", 215104},
                       {"counters", 10},
                       {"partial_tile", 131072},
                       {"partial_quads", 4},
                       {"partial_chunks", 8},
                       {"workspace_bytes", 65536 + 5 * 131072}});
}

// Six tiles of pairs of slices for two clusters of two, whose blocks copy 64 tokens each for both.
TEST(WgmmaPlan, MulticastWorkedByHand) {
  const Plan plan =
      make_plan({300, 960, 512, 128, false}, {"sm_90a", 5},
                parse_config("wgmma m128 n256 w8x1 k128 s3 weights split1 b1 multicast2"));
  expect_values(plan, {{"grid_x", 4},
                       {"workers", 2},
                       {"tiles", 6},
                       {"whole_tiles", 6},
                       {"striped_units", 0},
                       {"token_box", 64},
                       {"stage_bytes", 49664}});
  ASSERT_EQ(plan.tensor_maps.size(), 3U);
  EXPECT_EQ(plan.tensor_maps[0].box_rows, 64);
}

// Five k tiles for three blocks, which own the 24 tokens eight by eight.
TEST(WgmmaPlan, ClusterWorkedByHand) {
  const Plan plan = make_plan({24, 512, 640, -1, true}, {"sm_90a", 132},
                              parse_config("wgmma m24 n128 w4x1 k128 s2 accumulators cluster3 b1"));
  expect_values(plan, {{"threads", 256},
                       {"grid_x", 12},
                       {"cluster", 3},
                       {"parts", 3},
                       {"part_units", 1},
                       {"long_parts", 2},
                       {"consumers", 1},
                       {"m64_tiles", 2},
                       {"consumer_registers", 248},
                       {"producer_registers", 248},
                       {"scales_stage", 0},
                       {"stage_bytes", 14336},
                       {"fragments", 3},
                       {"most_owned", 1},
                       {"staging_tokens", 8},
                       {"staging_buffers", 1},
                       {"receive_part", 4096},
                       {"workspace_bytes", 0}});
}

// Four boxes of 64 columns in each of three eights of tokens for five blocks, launched together.
TEST(WgmmaPlan, SplitWorkedByHand) {
  const Plan plan = make_plan({24, 512, 640, 128, true}, {"sm_90a", 12},
                              parse_config("wgmma m24 n256 w8x1 k128 s2 weights split5 b1"));
  expect_values(plan, {{"cooperative", 1},
                       {"exchanges", 1},
                       {"grid_x", 10},
                       {"cluster", 1},
                       {"parts", 5},
                       {"part_units", 1},
                       {"long_parts", 0},
                       {"boxes", 12},
                       {"most_owned", 1},
                       {"least_owned", 0},
                       {"staging_tokens", 8},
                       {"counters", 8},
                       {"partial_tile", 24576},
                       {"workspace_bytes", 65536 + 10 * 24576}});
}

// 32 slices x 2 rows of tiles x 2 parts of K leave four of 132 SMs without work.
TEST(WgmmaPlan, TilesOf192ColumnsWorkedByHand) {
  const Plan plan =
      make_plan({256, 6144, 4096, 128, false}, {"sm_90a", 132},
                parse_config("wgmma m128 n192 w12x1 k128 s4 weights split2 b1 burst4 raster2"));
  expect_values(plan, {{"threads", 512},
                       {"grid_x", 128},
                       {"n_slices", 32},
                       {"tail_columns", 0},
                       {"consumers", 3},
                       {"m64_tiles", 1},
                       {"consumer_registers", 160},
                       {"producer_registers", 24},
                       {"words_row", 1536},
                       {"words_stage", 12288},
                       {"scales_stage", 384},
                       {"stage_bytes", 32768 + 12288 + 384},
                       {"boxes", 48},
                       {"most_owned", 8},
                       {"least_owned", 8},
                       {"staging_tokens", 64},
                       {"counters", 384},
                       {"partial_tile", 98304}});
  ASSERT_EQ(plan.tensor_maps.size(), 3U);
  EXPECT_EQ(plan.tensor_maps[1].box_columns, 192);
}

std::vector<LegalCase> random_cases() {
  return RandomCases(20241123, {600, 40, 40, 132}).take(400, Family::wgmma);
}

TEST(RandomWgmmaPlans, PiecesCoverEveryTileOnce) {
  for (const LegalCase& c : random_cases()) {
    const Plan plan = make_plan(c.shape, c.target, c.config);
    EXPECT_GE(std::int64_t{plan.tiles} * c.config.multicast * c.config.tile_m * c.config.tile_n,
              c.shape.m * c.shape.n)
        << c;
    EXPECT_EQ(plan.grid_x, plan.workers * std::max(1, plan.parts) * c.config.multicast) << c;
    EXPECT_EQ(plan.cooperative, plan.parts > 1 && plan.cluster == 1) << c;
    EXPECT_EQ(plan.token_box * c.config.multicast, c.config.tile_m) << c;
    EXPECT_EQ(plan.striped_units, std::int64_t{plan.tiles - plan.whole_tiles} * plan.k_tiles) << c;
    if (plan.striped_units > 0) {
      EXPECT_GE(plan.striped_units, plan.workers) << c;  // something for every block
      EXPECT_EQ(plan.whole_tiles % plan.workers, 0) << c;
      EXPECT_LT(plan.tiles - plan.whole_tiles, 2 * plan.workers) << c;
    }
    EXPECT_EQ(plan.part_units * plan.parts + plan.long_parts, plan.parts > 1 ? plan.k_tiles : 0);
  }
}

TEST(RandomWgmmaPlans, AreasOfSharedMemoryLieApartAndFit) {
  for (const LegalCase& c : random_cases()) {
    const Plan plan = make_plan(c.shape, c.target, c.config);
    const int stages = c.config.stages;
    const std::pair<int, int> areas[] = {
        {plan.tokens_offset, stages * plan.tokens_stage},
        {plan.words_offset, stages * plan.words_stage},
        {plan.scales_offset, stages * plan.scales_stage},
        {plan.staging_offset, plan.consumers * plan.staging_consumer},
        {plan.cluster > 1 ? plan.receive_offset : plan.full_offset,
         plan.cluster > 1 ? plan.parts * plan.receive_part : 0},
        {plan.full_offset, stages * 8},
        {plan.empty_offset, stages * 8},
        {plan.received_offset, 8}};
    int end = 0;
    for (const auto& [begin, bytes] : areas) {
      EXPECT_GE(begin, end) << c;
      end = begin + bytes;
    }
    EXPECT_LE(end, plan.shared_bytes) << c;
    EXPECT_LE((plan.shared_bytes + 1024) * c.config.blocks_per_sm, 228 << 10) << c;
    // What is swizzled by 128 bytes repeats after 1024.
    EXPECT_EQ(plan.tokens_offset % 1024 + plan.tokens_line % 1024, 0) << c;
    EXPECT_EQ(plan.staging_offset % 1024 + plan.staging_box % 1024, 0) << c;
    EXPECT_EQ(plan.words_offset % 128 + plan.scales_offset % 16, 0) << c;
  }
}

TEST(RandomWgmmaPlans, AStageIsWhatItsCopiesBring) {
  for (const LegalCase& c : random_cases()) {
    const Plan plan = make_plan(c.shape, c.target, c.config);
    const int k = c.config.warp_k, groups = plan.group_scales ? plan.unit_groups : 0;
    const auto bytes = [&](int scaled) {
      return c.config.tile_m * k * 2 + c.config.tile_n * k / 2 + scaled * groups * 2;
    };
    EXPECT_EQ(plan.stage_bytes, bytes(c.config.tile_n)) << c;
    if (plan.tail_columns > 0) {
      EXPECT_EQ(plan.tail_stage_bytes, bytes(plan.tail_columns)) << c;
    }
  }
}

TEST(RandomWgmmaPlans, PartialSumsComeInStagesThatHoldThem) {
  for (const LegalCase& c : random_cases()) {
    const Plan plan = make_plan(c.shape, c.target, c.config);
    if (plan.striped_units == 0) continue;
    const std::int64_t quads = 16 * std::int64_t{plan.partial_quads} * c.config.threads();
    EXPECT_GE(plan.partial_quads, 1) << c;
    EXPECT_LE(quads, plan.words_stage) << c;
    EXPECT_GE(plan.partial_chunks * quads, plan.partial_tile) << c;
    EXPECT_LT((plan.partial_chunks - 1) * quads, plan.partial_tile) << c;
  }
}

TEST(RandomWgmmaPlans, RegistersOfAllWarpsFitTheSm) {
  for (const LegalCase& c : random_cases()) {
    const Plan plan = make_plan(c.shape, c.target, c.config);
    const int block = 128 * (plan.consumers * plan.consumer_registers + plan.producer_registers);
    EXPECT_LE(block * c.config.blocks_per_sm, 65536) << c;
    EXPECT_EQ(plan.consumer_registers % 8 + plan.producer_registers % 8, 0) << c;
    EXPECT_LE(plan.consumer_registers, 248) << c;
  }
}

TEST(RandomWgmmaPlans, EveryEightOfTokensHasOneOwnerAndEveryChunkItsRoom) {
  for (const LegalCase& c : random_cases()) {
    const Plan plan = make_plan(c.shape, c.target, c.config);
    if (plan.exchanges) {
      EXPECT_EQ(plan.boxes * 8 * 64, c.config.tile_m * c.config.tile_n) << c;
      EXPECT_GE(plan.boxes, plan.parts) << c;
      EXPECT_LE(plan.least_owned, plan.most_owned) << c;
      EXPECT_LE(plan.boxes, plan.parts * plan.most_owned * c.config.tile_n / 64) << c;
      continue;
    }
    int next = 0;
    for (const Owner& owner : plan.owners) {
      EXPECT_EQ(owner.first, next) << c;
      EXPECT_GE(owner.count, 1) << c;
      EXPECT_LE(owner.count, plan.most_owned) << c;
      next += owner.count;
    }
    EXPECT_EQ(next * 8, c.config.tile_m) << c;
    if (plan.cluster == 1) {
      EXPECT_EQ(c.config.tile_m % plan.staging_tokens, 0) << c;
    }
  }
}

TEST(WgmmaConfigs, AllHavePlansAndTexts) {
  const Target target{"sm_90a", 132};
  for (const Shape& shape : {Shape{17, 4096, 4096, 128}, Shape{64, 28672, 4096, 128},
                             Shape{128, 4160, 4096, 64}, Shape{4096, 4096, 14336, -1}}) {
    std::set<std::string> texts;
    for (const Config& config : legal_configs(shape, target)) {
      if (config.family != Family::wgmma) continue;
      EXPECT_EQ(why_illegal(shape, target, config), std::nullopt) << to_string(config);
      EXPECT_TRUE(texts.insert(to_string(config)).second) << to_string(config);
      EXPECT_FALSE(emit_source(make_plan(shape, target, config)).empty());
    }
    EXPECT_GT(texts.size(), 10u) << to_string(shape);
  }
}

TEST(WgmmaConfigs, BeginWithSeventeenTokensOnHopperAlone) {
  const auto count = [](const Shape& shape, const Target& target) {
    int found = 0;
    for (const Config& config : legal_configs(shape, target)) {
      found += config.family == Family::wgmma ? 1 : 0;
    }
    return found;
  };
  EXPECT_EQ(count({16, 4096, 4096, 128}, {"sm_90a", 132}), 0);
  EXPECT_GT(count({17, 4096, 4096, 128}, {"sm_90a", 132}), 0);
  for (const ArchLimits& arch : known_archs()) {
    if (arch.name == "sm_90a") continue;
    EXPECT_EQ(count({64, 4096, 4096, 128}, {std::string(arch.name), 132}), 0) << arch.name;
  }
}

}  // namespace
}  // namespace marlin
