// Configs -> the rule that forbids each one; what make_plan and legal_configs do with it.
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "codegen/base/error.h"
#include "codegen/generator.h"
#include "codegen/plan/config.h"
#include "codegen/plan/plan.h"
#include "tests/unit/codegen/legal_cases.h"
#include "tests/unit/problems.h"

namespace marlin {
namespace {

const Problem kShape = problem_of(16, 4096, 4096, 128);
const Target kTarget{"sm_80", 108};
const char* const kLegal = "m16 n256 w4x2 k64 s4 accumulators split1 b1";

TEST(Legality, TheConfigThatTheTableVariesIsLegal) {
  EXPECT_EQ(why_illegal(kShape, kTarget, parse_config(kLegal)), std::nullopt);
}

struct Refused {
  std::function<void(Problem&, Target&, Config&)> change;
  const char* rule;
};

void set(Config& config, const char* text) { config = parse_config(text); }

const Refused kRefused[] = {
    {[](Problem& s, Target&, Config&) { s.shape.n = 4100; }, "n = 4100 is not a multiple of 64"},
    {[](Problem&, Target&, Config& c) { c.tile_m = 0; },
     "tile_m = 0 is not a multiple of 8 in 8..64"},
    {[](Problem&, Target&, Config& c) { c.tile_m = 12; },
     "tile_m = 12 is not a multiple of 8 in 8..64"},
    {[](Problem& s, Target&, Config& c) { s.shape.m = c.tile_m = 72; },
     "tile_m = 72 is not a multiple of 8 in 8..64"},
    {[](Problem&, Target&, Config& c) { c.tile_n = 32; }, "tile_n = 32 is none of 64, 128, 256"},
    {[](Problem&, Target&, Config& c) { c.tile_n = 192; }, "tile_n = 192 is none of 64, 128, 256"},
    {[](Problem&, Target&, Config& c) { c.tile_n = -256; },
     "tile_n = -256 is none of 64, 128, 256"},
    {[](Problem&, Target&, Config& c) { c.warps_n = 3; },
     "warps = 3x2 are not powers of two with a product up to 16"},
    {[](Problem&, Target&, Config& c) { c.warps_k = 8; },
     "warps = 4x8 are not powers of two with a product up to 16"},
    {[](Problem&, Target&, Config& c) { c.warps_k = 1 << 30; },
     "warps = 4x1073741824 are not powers of two with a product up to 16"},
    {[](Problem&, Target&, Config& c) { c.warps_k = 0; },
     "warps = 4x0 are not powers of two with a product up to 16"},
    {[](Problem&, Target&, Config& c) { c.tile_n = 128; },
     "warps_n = 4 leaves a warp fewer than 64 of the 128 columns"},
    {[](Problem&, Target&, Config& c) { c.warp_k = 16; }, "warp_k = 16 is none of 32, 64, 128"},
    {[](Problem&, Target&, Config& c) { c.warp_k = 256; }, "warp_k = 256 is none of 32, 64, 128"},
    {[](Problem&, Target&, Config& c) { c.stages = 1; }, "stages = 1 is not in 2..8"},
    {[](Problem&, Target&, Config& c) { c.stages = 9; }, "stages = 9 is not in 2..8"},
    {[](Problem&, Target&, Config& c) { c.partition.count = 0; },
     "the partition's count, 0, is not positive"},
    {[](Problem&, Target&, Config& c) { c.blocks_per_sm = 0; }, "blocks_per_sm = 0 is not in 1..4"},
    {[](Problem&, Target&, Config& c) { c.blocks_per_sm = 5; }, "blocks_per_sm = 5 is not in 1..4"},
    {[](Problem& s, Target&, Config&) { s.shape.n = 4160; },
     "n = 4160 is not a multiple of tile_n = 256"},
    {[](Problem& s, Target&, Config& c) {
       s.shape.k = 4160, s.scheme.group = -1, c.scale_on = ScaleOn::accumulators;
     },
     "k = 4160 is not a multiple of warps_k x warp_k = 128"},
    {[](Problem&, Target&, Config& c) { c.warp_k = 32; },
     "warps_k x warp_k = 64 is not a multiple of the group, 128"},
    {[](Problem&, Target&, Config& c) { c.tile_m = 24; },
     "tile_m = 24 has a whole MMA tile beyond m = 16"},
    {[](Problem& s, Target&, Config& c) { s.scheme.group = -1, c.scale_on = ScaleOn::weights; },
     "one scale for the whole k goes on accumulators, not on weights"},
    {[](Problem& s, Target&, Config& c) { s.shape.k = 128, c.scale_on = ScaleOn::weights; },
     "one scale for the whole k goes on accumulators, not on weights"},
    {[](Problem&, Target&, Config& c) { c.partition.count = 3; },
     "split3 does not cut 32 k tiles into at most 16 equal parts"},
    {[](Problem&, Target&, Config& c) { c.partition.count = 32; },
     "split32 does not cut 32 k tiles into at most 16 equal parts"},
    {[](Problem&, Target&, Config& c) {
       c.partition = {Partition::Kind::span, 1};
     },
     "span1 does not group 16 tiles evenly by two or more"},
    {[](Problem&, Target&, Config& c) {
       c.partition = {Partition::Kind::span, 3};
     },
     "span3 does not group 16 tiles evenly by two or more"},
    {[](Problem&, Target&, Config& c) {
       c.partition = {Partition::Kind::stripes, 109};
     },
     "stripes109 exceeds the 108 blocks that fit"},
    {[](Problem& s, Target&, Config& c) {
       s.shape.n = s.shape.k = 256;
       c.partition = {Partition::Kind::stripes, 3};
     },
     "stripes3 exceeds the 2 tiles there are"},
    {[](Problem& s, Target&, Config& c) {
       s.shape.m = 65536, s.shape.n = 65536;
       c.partition = {Partition::Kind::stripes, 108};
     },
     "stripes over 1048576 tiles exceed 65536"},
    {[](Problem&, Target&, Config& c) { set(c, "m8 n256 w1x1 k128 s2 accumulators split1 b1"); },
     "32 threads are fewer than the 64 float4s of a tile row"},
    {[](Problem& s, Target&, Config& c) {
       set(c, "m8 n64 w1x16 k128 s2 accumulators split1 b4");
       s.shape.m = 8;
     },
     "512 threads x 4 blocks exceed the 1536 of an SM"},
    {[](Problem&, Target&, Config& c) { set(c, "m16 n256 w4x4 k128 s4 accumulators split1 b1"); },
     " bytes of shared memory exceed a block's 101376"},
    {[](Problem&, Target&, Config& c) { set(c, "m16 n256 w4x2 k64 s4 accumulators split1 b2"); },
     " bytes of shared memory x 2 blocks exceed an SM's 102400"},
    {[](Problem& s, Target&, Config& c) {
       s = problem_of(65536, 28672, 4096, 128, false);
       set(c, "m64 n64 w1x8 k64 s2 weights split8 b1");
     },
     "458752 tiles with several contributors exceed the 16384 counters"},
    {[](Problem& s, Target&, Config& c) {
       s = problem_of(2048, 28672, 4096, 128, false);
       set(c, "m64 n64 w1x8 k64 s2 weights split8 b1");
     },
     " bytes of workspace exceed 1073741824"},
    {[](Problem& s, Target&, Config& c) {
       s.shape.m = 64;
       set(c, "m64 n256 w1x8 k32 s2 accumulators split1 b1");
     },
     " registers a thread exceed the 255 there are"},
    {[](Problem& s, Target&, Config& c) {
       s.shape.m = 64;
       set(c, "m64 n256 w4x2 k64 s2 weights split1 b2");
     },
     " registers a thread exceed the 128 there are"},
};

// The case's change of this legal config and its target is refused by the case's rule.
void expect_refused(const Refused& refused, const char* legal, Target target) {
  const auto& [change, rule] = refused;
  Problem problem = kShape;
  Config config = parse_config(legal);
  change(problem, target, config);
  const auto found = why_illegal(problem, target, config);
  ASSERT_TRUE(found.has_value()) << rule;
  EXPECT_NE(found->find(rule), std::string::npos) << *found << "\n  instead of " << rule;
}

TEST(Legality, RefusedConfigsNameTheRule) {
  for (const Refused& refused : kRefused) {
    // Small enough limits for each resource to be the first that runs out.
    const std::string rule = refused.rule;
    const bool small = rule.find("of an SM") != std::string::npos ||
                       rule.find("shared memory") != std::string::npos;
    expect_refused(refused, kLegal, {small ? "sm_86" : "sm_80", 108});
  }
}

const char* const kLegalDecode = "decode m16 n128 w2x2 k64 s4 accumulators cluster2 b1";

const Refused kRefusedDecode[] = {
    {[](Problem&, Target& t, Config&) { t.arch = "sm_89"; }, "the decode family begins with sm_90"},
    {[](Problem&, Target&, Config& c) { c.tile_m = 4; },
     "tile_m = 4 is not a multiple of 8 in 8..32"},
    {[](Problem& s, Target&, Config& c) { s.shape.m = c.tile_m = 40; },
     "tile_m = 40 is not a multiple of 8 in 8..32"},
    {[](Problem&, Target&, Config& c) { c.warps_n = 8; }, "warps = 8x2 are not powers of two"},
    {[](Problem&, Target&, Config& c) { c.warps_k = 3; }, "warps = 2x3 are not powers of two"},
    {[](Problem&, Target&, Config& c) { c.warps_k = 16; },
     "warps = 2x16 are not powers of two, the first up to 4, with a product up to 16"},
    {[](Problem&, Target&, Config& c) { c.tile_n = 64; },
     "tile_n = 64 does not give each of 2 warps 64 or 128 columns"},
    {[](Problem&, Target&, Config& c) { c.warp_k = 32; }, "warp_k = 32 is none of 64, 128"},
    {[](Problem&, Target&, Config& c) { c.stages = 1; }, "stages = 1 is not in 2..8"},
    {[](Problem&, Target&, Config& c) { c.stages = 9; }, "stages = 9 is not in 2..8"},
    {[](Problem&, Target&, Config& c) { c.scale_on = ScaleOn::weights; },
     "decode kernels scale accumulators"},
    {[](Problem&, Target&, Config& c) { c.blocks_per_sm = 9; }, "blocks_per_sm = 9 is not in 1..8"},
    {[](Problem& s, Target&, Config&) { s.shape.m = 17; },
     "tile_m = 16 is not m = 17 rounded up to 8"},
    {[](Problem& s, Target&, Config&) { s.shape.m = 8; },
     "tile_m = 16 is not m = 8 rounded up to 8"},
    {[](Problem& s, Target&, Config&) { s.shape.n = 4160; },
     "n = 4160 is not a multiple of tile_n = 128"},
    {[](Problem& s, Target&, Config& c) { s.shape.k = 4160, s.scheme.group = -1, c.warp_k = 128; },
     "k = 4160 is not a multiple of warp_k = 128"},
    {[](Problem&, Target&, Config& c) {
       c.partition = {Partition::Kind::split, 2};
     },
     "decode kernels split over a cluster of 1..8 blocks"},
    {[](Problem&, Target&, Config& c) { c.partition.count = 0; },
     "decode kernels split over a cluster of 1..8 blocks"},
    {[](Problem&, Target&, Config& c) { c.partition.count = 9; },
     "decode kernels split over a cluster of 1..8 blocks"},
    {[](Problem& s, Target&, Config& c) { s.shape.m = c.tile_m = 8, c.partition.count = 5; },
     "cluster5 exceeds the 4 fragments of a warp"},
    {[](Problem& s, Target&, Config& c) { s.shape.k = 1024, c.stages = 5; },
     "5 stages exceed the 4 units of a part of k"},
    {[](Problem&, Target&, Config& c) { c.blocks_per_sm = 8, c.warps_k = 8; },
     "512 threads x 8 blocks exceed the 2048 of an SM"},
    {[](Problem&, Target&, Config& c) {
       set(c, "decode m16 n256 w4x4 k128 s4 accumulators cluster1 b1");
     },
     " bytes of shared memory exceed a block's 232448"},
    {[](Problem&, Target&, Config& c) { c.blocks_per_sm = 5; },
     " bytes of shared memory x 5 blocks exceed an SM's 233472"},
    {[](Problem& s, Target&, Config& c) {
       s.shape.m = 32;
       set(c, "decode m32 n128 w1x2 k64 s2 accumulators cluster1 b1");
     },
     " registers a thread exceed the 255 there are"},
    {[](Problem&, Target&, Config& c) { set(c, "m16 n128 w2x2 k64 s4 accumulators cluster2 b1"); },
     "clusters are for the families of sm_90"},
    {[](Problem& s, Target&, Config& c) {
       s.scheme.group = 32;
       set(c, "m16 n128 w2x2 k64 s4 accumulators split1 b1");
     },
     "warp_k = 64 exceeds the group, 32"},
};

const char* const kLegalWgmma = "wgmma m64 n128 w8x1 k128 s4 weights split1 b1 burst2 raster2";

const Refused kRefusedWgmma[] = {
    {[](Problem&, Target& t, Config&) { t.arch = "sm_90"; }, "the wgmma family is for sm_90a"},
    {[](Problem&, Target&, Config& c) { c.tile_m = 264; },
     "tile_m = 264 is not a multiple of 8 in 8..256"},
    {[](Problem&, Target&, Config& c) { c.warps_n = 20; },
     "warps = 20x1 are none of 4x1, 8x1, 12x1, 16x1: one to four warpgroups"},
    {[](Problem&, Target&, Config& c) { c.warps_k = 2; },
     "warps = 8x2 are none of 4x1, 8x1, 12x1, 16x1"},
    {[](Problem&, Target&, Config& c) { c.tile_n = 64; },
     "tile_n = 64 does not give each warpgroup 64, 128 or 256 of at most 512 columns"},
    {[](Problem&, Target&, Config& c) { c.wgmma().sum_sets = 3; }, "sets = 3 is none of 1, 2"},
    {[](Problem&, Target&, Config& c) {
       c.wgmma().whole_stage = true, c.wgmma().k_steps_per_commit = 2;
     },
     "a whole stage's fragments are a commit group each, not burst = 2"},
    {[](Problem&, Target&, Config& c) { c.wgmma().sum_sets = 2, c.scale_on = ScaleOn::weights; },
     "two sets of sums and a whole stage's fragments are for accumulators"},
    {[](Problem&, Target&, Config& c) { c.warp_k = 32; }, "warp_k = 32 is none of 64, 128"},
    {[](Problem&, Target&, Config& c) { c.stages = 9; }, "stages = 9 is not in 2..8"},
    {[](Problem&, Target&, Config& c) { c.wgmma().k_steps_per_commit = 3; },
     "burst = 3 is none of 1, 2, 4"},
    {[](Problem&, Target&, Config& c) { c.warp_k = 64, c.wgmma().k_steps_per_commit = 4; },
     "burst = 4 is none of 1, 2, 4 or more than half of the 4 k16 steps"},
    {[](Problem&, Target&, Config& c) { c.blocks_per_sm = 5; }, "blocks_per_sm = 5 is not in 1..4"},
    {[](Problem& s, Target&, Config& c) { s.shape.m = 48, c.wgmma().raster = 1; },
     "tile_m = 64 has eight tokens beyond m = 48"},
    {[](Problem& s, Target&, Config&) { s.shape.n = 64; },
     "tile_n = 128 has 64 columns beyond n = 64"},
    {[](Problem& s, Target&, Config&) { s.shape.k = 4160, s.scheme.group = 64; },
     "k = 4160 is not a multiple of warp_k = 128"},
    {[](Problem& s, Target&, Config&) { s.scheme.group = -1; },
     "one scale for the whole k goes on accumulators, not on weights"},
    {[](Problem& s, Target&, Config& c) {
       s.scheme.group = 32, c.wgmma().k_steps_per_commit = 4, c.scale_on = ScaleOn::accumulators;
     },
     "burst = 4 exceeds the group, 32"},
    {[](Problem&, Target&, Config& c) { c.wgmma().raster = 3; },
     "raster = 3 is not in 1..2, the rows of tiles"},
    {[](Problem&, Target&, Config& c) { c.wgmma().multicast = 3; },
     "multicast = 3 is none of 1, 2"},
    {[](Problem& s, Target&, Config& c) {
       s.shape.m = 24, c.tile_m = 24, c.wgmma().raster = 1, c.wgmma().multicast = 2;
     },
     "does not cut tile_m = 24 into n8 tiles"},
    {[](Problem& s, Target&, Config& c) { s.shape.n = 4224, c.wgmma().multicast = 2; },
     "multicast = 2 does not pair the tiles of 128 columns"},
    {[](Problem&, Target& t, Config& c) { t.sms = 1, c.wgmma().multicast = 2; },
     "multicast = 2 exceeds the 1 blocks that fit"},
    {[](Problem&, Target&, Config& c) {
       c.wgmma().multicast = 2, c.partition = {Partition::Kind::cluster, 2};
     },
     "blocks split k or share activations, not both"},
    {[](Problem&, Target&, Config& c) {
       c.wgmma().multicast = 2, c.partition = {Partition::Kind::stripes, 131};
     },
     "stripes131 is not whole clusters of 2"},
    {[](Problem&, Target&, Config& c) { c.partition.count = 3; },
     "split3 of 64 tiles exceeds the 132 blocks that fit"},
    {[](Problem& s, Target&, Config& c) { s.shape.n = 256, c.partition.count = 9; },
     "split9 is not in 2..8"},
    {[](Problem& s, Target&, Config& c) {
       s.shape.n = 256, s.shape.m = 8, c.tile_m = 8, c.wgmma().raster = 1, c.partition.count = 3;
     },
     "split3 exceeds the 2 boxes of 64 columns and eight tokens"},
    {[](Problem& s, Target&, Config& c) { s.shape.n = s.shape.k = 256, c.partition.count = 3; },
     "split3 exceeds the 2 k tiles"},
    {[](Problem&, Target&, Config& c) {
       c.partition = {Partition::Kind::span, 2};
     },
     "spans are for the stripe family"},
    {[](Problem&, Target&, Config& c) {
       c.partition = {Partition::Kind::cluster, 9};
     },
     "cluster9 is not in 2..8"},
    {[](Problem& s, Target&, Config& c) {
       s.shape.k = 256, c.partition = {Partition::Kind::cluster, 3};
     },
     "cluster3 exceeds the 2 k tiles"},
    {[](Problem&, Target&, Config& c) {
       c.partition = {Partition::Kind::stripes, 133};
     },
     "stripes133 exceeds the 132 blocks that fit"},
    {[](Problem&, Target&, Config& c) {
       c.partition = {Partition::Kind::stripes, 64};
     },
     "64 tiles are whole waves of 64 blocks"},
    {[](Problem& s, Target&, Config& c) {
       s.shape.k = 128, s.scheme.group = 64, c.partition = {Partition::Kind::stripes, 100};
     },
     "stripes100 exceeds the 64 k tiles to cut"},
    {[](Problem& s, Target&, Config& c) {
       s.shape.m = 512;
       set(c, "wgmma m192 n256 w8x1 k128 s2 weights split1 b1");
     },
     " registers a thread exceed the 240 there are"},
    {[](Problem&, Target&, Config& c) { c.stages = 8, c.tile_n = 256; },
     " bytes of shared memory exceed a block's 232448"},
    {[](Problem&, Target&, Config& c) {
       c.blocks_per_sm = 2, c.wgmma().k_steps_per_commit = 1, c.stages = 5;
     },
     " bytes of shared memory x 2 blocks exceed an SM's 233472"},
};

TEST(Legality, RefusedWgmmaConfigsNameTheRule) {
  const Target target{"sm_90a", 132};
  const Problem problem = problem_of(128, 4096, 4096, 128, false);
  EXPECT_EQ(why_illegal(problem, target, parse_config(kLegalWgmma)), std::nullopt);
  for (const auto& [change, rule] : kRefusedWgmma) {
    Problem changed = problem;
    Target where = target;
    Config config = parse_config(kLegalWgmma);
    change(changed, where, config);
    const auto found = why_illegal(changed, where, config);
    ASSERT_TRUE(found.has_value()) << rule;
    EXPECT_NE(found->find(rule), std::string::npos) << *found << "\n  instead of " << rule;
  }
}

TEST(Legality, RefusedDecodeConfigsNameTheRule) {
  const Target target{"sm_90a", 132};
  EXPECT_EQ(why_illegal(kShape, target, parse_config(kLegalDecode)), std::nullopt);
  EXPECT_EQ(why_illegal(kShape, target, parse_config(kLegalDecode + std::string(" early"))),
            std::nullopt);
  for (const Refused& refused : kRefusedDecode) expect_refused(refused, kLegalDecode, target);
}

TEST(Legality, MakePlanThrowsWithTheRuleAndItsKind) {
  const auto code_of = [](const Problem& problem, const Target& target, const Config& config) {
    try {
      make_plan(problem, target, config);
    } catch (const Error& error) {
      return std::string(to_string(error.code())) + ": " + error.what();
    }
    return std::string();
  };
  Config config = parse_config(kLegal);
  EXPECT_EQ(code_of(kShape, kTarget, config), "");
  EXPECT_EQ(code_of(problem_of(16, 4100, 4096, 128), kTarget, config),
            "invalid_shape: n = 4100 is not a multiple of 64");
  EXPECT_EQ(code_of(kShape, {"sm_80", 0}, config), "invalid_target: sms = 0 is not in 1..1024");
  EXPECT_EQ(code_of(kShape, {"sm_10", 1}, config).substr(0, 30), "invalid_target: arch = sm_10 i");
  config.stages = 1;
  EXPECT_EQ(code_of(kShape, kTarget, config),
            "invalid_config: config m16 n256 w4x2 k64 s1 accumulators split1 b1: "
            "stages = 1 is not in 2..8");
}

void change_option(WgmmaOptions& options, std::int64_t which, int value) {
  int* const numbers[] = {&options.k_steps_per_commit, &options.raster, &options.multicast};
  *numbers[which - 1] = value;
}

TEST(Legality, NothingThatAConfigCanHoldCrashes) {
  RandomCases cases(3);
  const int values[] = {0, 1, -1, 2, 3, 64, 1 << 16, 1 << 30, -(1 << 30), 2147483647};
  const auto any = [&] { return values[cases.upto(std::size(values)) - 1]; };
  for (int i = 0; i < 20000; ++i) {
    const auto family = static_cast<Family>(cases.upto(3) - 1);
    const Target target = family == Family::stripe ? kTarget : Target{"sm_90a", 132};
    Config config = family == Family::stripe   ? cases.config(kShape)
                    : family == Family::decode ? cases.decode_config(kShape)
                                               : cases.wgmma_config(kShape);
    switch (cases.upto(11)) {
      case 1: config.tile_m = any(); break;
      case 2: config.tile_n = any(); break;
      case 3: config.warps_n = any(); break;
      case 4: config.warps_k = any(); break;
      case 5: config.warp_k = any(); break;
      case 6: config.stages = any(); break;
      case 7: config.partition.count = any(); break;
      case 8: config.blocks_per_sm = any(); break;
      default:
        if (family == Family::wgmma) change_option(config.wgmma(), cases.upto(3), any());
    }
    const auto rule = why_illegal(kShape, target, config);
    if (rule) continue;
    EXPECT_NO_THROW(make_plan(kShape, target, config)) << to_string(config);
  }
}

TEST(LegalConfigs, AreLegalAndTheSameEveryTime) {
  for (const ArchLimits& arch : known_archs()) {
    const Target target{std::string(arch.name), 60};
    for (const std::int64_t m : {1, 16, 40, 64, 100, 1024}) {
      const Problem problem = problem_of(m, 2048, 1024, 128, false);
      const std::vector<Config> configs = legal_configs(problem, target);
      ASSERT_FALSE(configs.empty()) << to_string(problem);
      EXPECT_EQ(configs, legal_configs(problem, target));
      for (const Config& config : configs) {
        EXPECT_EQ(why_illegal(problem, target, config), std::nullopt) << to_string(config);
      }
    }
  }
}

TEST(LegalConfigs, RefuseWhatIsNoShapeOrTarget) {
  EXPECT_THROW(legal_configs(problem_of(16, 100, 128, 128), kTarget), Error);
  EXPECT_THROW(legal_configs(kShape, {"sm_80", -1}), Error);
}

}  // namespace
}  // namespace marlin
