// The layouts that emit functions count by: offsets worked by hand, and every place used once.
// Entry points: the tests of suite Layouts.
#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "codegen/generator.h"
#include "tests/unit/problems.h"

namespace marlin {
namespace {

Plan plan_of(const Problem& problem, const char* config) {
  return make_plan(problem, {"sm_90a", 132}, parse_config(config));
}

// Whether the offsets are the multiples of `step` from 0 on, each once.
testing::AssertionResult are_all(const std::multiset<std::int64_t>& offsets, std::int64_t step) {
  std::int64_t expected = 0;
  for (const std::int64_t offset : offsets) {
    if (offset != expected) {
      return testing::AssertionFailure() << offset << " where " << expected << " comes next";
    }
    expected += step;
  }
  return testing::AssertionSuccess();
}

TEST(Layouts, PackedWeightsOfAUnitAreTilesOf512Bytes) {
  const PackedUnit unit{.row = 1024, .unit = 4096};
  EXPECT_EQ(unit.at(0, 1), 512);
  EXPECT_EQ(unit.at(3, 1), 3 * 1024 + 512);
  const Plan plan =
      plan_of(problem_of(16, 512, 1024, 128), "m16 n256 w2x4 k32 s3 accumulators split1 b1");
  EXPECT_EQ(plan.global.packed.at(0, 1), 512);
  EXPECT_EQ(plan.global.packed.at(2, 1), 2 * 8 * 512 + 512);  // rows of all n columns
  EXPECT_EQ(plan.global.packed.unit, 2 * 8 * 512);            // two k16 steps
  EXPECT_EQ(plan.global.packed.warp_n, 128 * 8);
  EXPECT_EQ(plan.global.activations.warp_k, 32 * 2);
  EXPECT_EQ(plan.global.scales.warp_n, 128 * 2);
}

TEST(Layouts, ActivationRowsOfOneLineSwizzleByTheRow) {
  const ActivationRows rows{.pitch = 128, .line = 16 * 128, .swizzle_shift = 7, .swizzle_mask = 7};
  EXPECT_EQ(rows.at(1, 0), 8 * 128);
  EXPECT_EQ(rows.at(1, 3), 8 * 128);             // in the line
  EXPECT_EQ(rows.at(1, 4), 8 * 128 + 16 * 128);  // the next 64 k
  EXPECT_EQ(rows.swizzle_of_step(3), 96);
  EXPECT_EQ(rows.swizzle_of_step(5), 32);
  EXPECT_EQ(rows.row_at(9), 9 * 128);
  EXPECT_EQ(rows.swizzle_of_row(9), 16);
  // The eight rows of an ldmatrix matrix lie in eight different chunks.
  std::multiset<std::int64_t> chunks;
  for (int row = 8; row < 16; ++row) chunks.insert(rows.swizzle_of_row(row));
  EXPECT_TRUE(are_all(chunks, 16));
}

TEST(Layouts, ShortRowsSwizzleByPairs) {
  const ActivationRows rows{.pitch = 64, .swizzle_shift = 7, .swizzle_mask = 3};
  EXPECT_EQ(rows.swizzle_of_row(0), 0);
  EXPECT_EQ(rows.swizzle_of_row(1), 0);
  EXPECT_EQ(rows.swizzle_of_row(2), 16);
  EXPECT_EQ(rows.swizzle_of_row(7), 48);
  EXPECT_EQ(rows.swizzle_of_row(8), 0);
}

TEST(Layouts, FragmentsGoByRowsThenColumns) {
  const WarpTile warp{.columns = 128, .blocks64 = 2, .n8_tiles = 3};
  EXPECT_EQ(warp.fragment(0), (WarpTile::Fragment{0, 0, 0}));
  EXPECT_EQ(warp.fragment(4), (WarpTile::Fragment{0, 1, 1}));
  EXPECT_EQ(warp.fragment(23), (WarpTile::Fragment{1, 3, 2}));
}

TEST(Layouts, AStripeKernelReducesInPassesOverRows) {
  const Plan plan =
      plan_of(problem_of(40, 512, 1024, 128), "m40 n128 w2x4 k32 s2 weights split2 b1");
  const StripePlan::Reduction& reduction = plan.stripe().reduction;
  EXPECT_EQ(reduction.pitch, 4 * 132);
  EXPECT_EQ(reduction.at(0, 1, 0), 256);
  EXPECT_EQ(reduction.at(2, 1, 3), 16 * 4 * 132 + 256 + 3 * 64);
  EXPECT_EQ(reduction.row_at(3, 0), 3 * 4 * 132);
  EXPECT_EQ(reduction.row_at(3, 2), 3 * 4 * 132 + 2 * reduction.pass_rows * 4 * 132);
  EXPECT_EQ(reduction.first_row(1), reduction.pass_rows);
  EXPECT_EQ(reduction.first_n8_tile(1) * 8, reduction.first_row(1));
  EXPECT_EQ(plan.stripe().stage.at(1) * 2, plan.stripe().stage.ring_bytes);
  EXPECT_EQ(plan.workspace.at(0, 1), 4 * 128);
  EXPECT_EQ(plan.workspace.at(1, 0), 40 * 4 * 128);
  EXPECT_EQ(plan.workspace.at(1, 2), 42 * 4 * 128);
}

TEST(Layouts, ADecodeKernelsUnitsAndSumsFollowOneAnother) {
  const Plan plan = plan_of(problem_of(16, 512, 2048, 64),
                            "decode m16 n256 w2x2 k128 s2 accumulators cluster2 b1");
  const DecodePlan& own = plan.decode();
  EXPECT_EQ(own.splits.count, 4);
  EXPECT_EQ(own.step.packed, 4 * 8 * 8 * 512);  // four units of eight k16 steps of n columns
  EXPECT_EQ(own.step.activations, 4 * 128 * 2);
  EXPECT_EQ(own.step.activations_at(3), 3 * 4 * 128 * 2);
  EXPECT_EQ(own.scales.row_at(1), 128 * 2);
  EXPECT_EQ(own.shared.packed, 2 * own.shared.activations_ring);
  EXPECT_EQ(own.shared.packed_ring, 2 * own.shared.packed_stage);
  EXPECT_EQ(own.shared.fragment_at(3), 3 * 512);
  EXPECT_EQ(own.shared.pair_at(0, 5), 40);
  EXPECT_EQ(own.shared.pair_at(2, 5), 2 * own.shared.received_split + 40);
  for (int i = 0; i < own.reduction.fragments; ++i) {
    const Reducer& reducer = own.reduction.reducers[own.reduction.reducer_of(i)];
    EXPECT_GE(i, reducer.first);
    EXPECT_LT(i, reducer.first + reducer.count);
  }
}

TEST(Layouts, AWgmmaStageIsLinesStepsAndRowsOfScales) {
  const Plan plan = plan_of(problem_of(64, 4096, 4096, 64),
                            "wgmma m64 n128 w8x1 k128 s4 weights split1 b1 burst2");
  const WgmmaPlan::Stage& stage = plan.wgmma().stage;
  EXPECT_EQ(stage.line_at(1), 64 * 128);
  EXPECT_EQ(stage.packed_at(3), 3 * 8 * 128);
  EXPECT_EQ(stage.scales_at(1), 256);
  EXPECT_EQ(stage.descriptor_at(1), 2);  // 32 bytes, in units of 16
  EXPECT_EQ(stage.descriptor_at(4), 64 * 128 / 16);
  EXPECT_EQ(stage.descriptor_at(7), 64 * 128 / 16 + 6);
  EXPECT_EQ(stage.descriptor_stage(), 2 * 64 * 128 / 16);
  EXPECT_EQ(plan.wgmma().staging.n8_at(1), 1024);
  EXPECT_EQ(plan.wgmma().staging.box_at(1), plan.wgmma().staging.rows * 128);
}

TEST(Layouts, AWgmmaKernelsPartialSumsHaveAPlaceEach) {
  for (const char* config : {"wgmma m40 n256 w8x1 k128 s3 weights cluster3 b1",
                             "wgmma m40 n256 w8x1 k128 s3 weights split2 b1"}) {
    const Plan plan = plan_of(problem_of(40, 4096, 4096, 128), config);
    const WgmmaPlan& own = plan.wgmma();
    EXPECT_EQ(own.reduction.float4_bytes, 16 * 256);
    std::multiset<std::int64_t> places;
    for (int m = 0; m < own.roles.m64_tiles; ++m) {
      for (int n8 = 0; n8 < own.reduction.n8_tiles; ++n8) {
        places.insert(own.reduction.float4_at(m, n8));
      }
    }
    EXPECT_TRUE(are_all(places, own.reduction.float4_bytes));
    EXPECT_EQ(static_cast<std::int64_t>(places.size()) * own.reduction.float4_bytes, 4 * 40 * 256);
    if (own.reduction.cluster == 1) continue;
    std::multiset<std::int64_t> received;
    for (int split = 0; split < own.splits.count; ++split) {
      for (int n8 = 0; n8 < own.reduction.most; ++n8) {
        for (int m = 0; m < own.roles.m64_tiles; ++m) {
          received.insert(own.received_at(split, n8, m));
        }
      }
    }
    EXPECT_TRUE(are_all(received, own.reduction.float4_bytes));
    EXPECT_EQ(own.received_n8_bytes(), own.splits.count * own.roles.m64_tiles * 16 * 256);
  }
}

TEST(Layouts, AWgmmaStripesSumsComeInChunksOfAStage) {
  const Plan plan =
      plan_of(problem_of(64, 4096, 4096, 128), "wgmma m64 n256 w8x1 k64 s4 weights stripes132 b1");
  const WgmmaPlan::Fixup& fixup = plan.wgmma().fixup;
  EXPECT_LE(fixup.chunk_bytes, plan.wgmma().stage.packed);
  EXPECT_EQ((fixup.chunks - 1) * fixup.chunk_bytes + fixup.last_chunk_bytes,
            plan.workspace.partial_tile);
  EXPECT_GT(fixup.last_chunk_bytes, 0);
}

}  // namespace
}  // namespace marlin
