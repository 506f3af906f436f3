// Config <-> text.
#include "codegen/plan/config.h"

#include <gtest/gtest.h>

#include <string>

#include "codegen/base/error.h"
#include "tests/unit/codegen/legal_cases.h"

namespace marlin {
namespace {

TEST(ConfigText, WorkedByHand) {
  EXPECT_EQ(to_string(Config{}), "m16 n256 w4x2 k32 s4 weights split1 b1");
  const Config config{64,
                      128,
                      2,
                      4,
                      64,
                      3,
                      ScaleOn::accumulators,
                      {Partition::Kind::stripes, 132},
                      2,
                      StripeOptions{}};
  EXPECT_EQ(to_string(config), "m64 n128 w2x4 k64 s3 accumulators stripes132 b2");
  EXPECT_EQ(parse_config("m64 n128 w2x4 k64 s3 accumulators stripes132 b2"), config);
  EXPECT_EQ(parse_config("  m64  n128 w2x4\tk64 s3 accumulators span7 b2 ").partition,
            (Partition{Partition::Kind::span, 7}));
}

TEST(ConfigText, TheFamilyComesFirstAndEarlyWeightsLast) {
  Config config{
      8, 64, 1, 8, 64, 3, ScaleOn::accumulators, {Partition::Kind::cluster, 2}, 1, DecodeOptions{}};
  EXPECT_EQ(to_string(config), "decode m8 n64 w1x8 k64 s3 accumulators cluster2 b1");
  EXPECT_EQ(parse_config(to_string(config)), config);
  config.decode().early_weights = true;
  EXPECT_EQ(to_string(config), "decode m8 n64 w1x8 k64 s3 accumulators cluster2 b1 early");
  EXPECT_EQ(parse_config(to_string(config)), config);
}

TEST(ConfigText, OfTheWgmmaFamilySaysItsBurstAndRaster) {
  Config config = parse_config("wgmma m128 n256 w8x1 k128 s3 weights stripes132 b1");
  EXPECT_EQ(config.family(), Family::wgmma);
  config.wgmma().raster = 8;
  EXPECT_EQ(to_string(config), "wgmma m128 n256 w8x1 k128 s3 weights stripes132 b1 raster8");
  config.wgmma().k_steps_per_commit = 2;
  EXPECT_EQ(to_string(config), "wgmma m128 n256 w8x1 k128 s3 weights stripes132 b1 burst2 raster8");
  EXPECT_EQ(parse_config(to_string(config)), config);
  EXPECT_THROW(parse_config(to_string(config) + " raster4"), Error);
  config.wgmma().multicast = 2;
  EXPECT_EQ(to_string(config),
            "wgmma m128 n256 w8x1 k128 s3 weights stripes132 b1 burst2 raster8 multicast2");
  EXPECT_EQ(parse_config(to_string(config)), config);
}

TEST(ConfigText, RoundTrips) {
  RandomCases cases(1);
  for (int i = 0; i < 2000; ++i) {
    const Config config = cases.config(cases.problem());
    ASSERT_EQ(parse_config(to_string(config)), config) << to_string(config);
    const Config decode = cases.decode_config(cases.problem());
    ASSERT_EQ(parse_config(to_string(decode)), decode) << to_string(decode);
    const Config wgmma = cases.wgmma_config(cases.problem());
    ASSERT_EQ(parse_config(to_string(wgmma)), wgmma) << to_string(wgmma);
  }
}

TEST(ConfigText, RefusedOnesNameTheField) {
  struct Case {
    const char* text;
    const char* message;
  };
  const char* form = "the form is 'm16 n256 w4x2 k32 s4 weights split1 b1'";
  const Case cases[] = {
      {"", "0 fields of 8"},
      {"m16 n256 w4x2 k32 s4 weights split1", "7 fields of 8"},
      {"m16 n256 w4x2 k32 s4 weights split1 b1 b1", "cannot read 'b1'"},
      {"n256 m16 w4x2 k32 s4 weights split1 b1", "cannot read 'n256'"},
      {"m n256 w4x2 k32 s4 weights split1 b1", "cannot read 'm'"},
      {"m-16 n256 w4x2 k32 s4 weights split1 b1", "cannot read 'm-16'"},
      {"m0 n256 w4x2 k32 s4 weights split1 b1", "cannot read 'm0'"},
      {"m16.5 n256 w4x2 k32 s4 weights split1 b1", "cannot read 'm16.5'"},
      {"m16 n99999999999 w4x2 k32 s4 weights split1 b1", "cannot read 'n99999999999'"},
      {"m16 n256 w4 k32 s4 weights split1 b1", "cannot read 'w4'"},
      {"m16 n256 w4x k32 s4 weights split1 b1", "cannot read 'w4x'"},
      {"m16 n256 w4x2x2 k32 s4 weights split1 b1", "cannot read 'w4x2x2'"},
      {"m16 n256 w4x2 k32 s4 weight split1 b1", "cannot read 'weight'"},
      {"m16 n256 w4x2 k32 s4 weights cut1 b1", "cannot read 'cut1'"},
      {"m16 n256 w4x2 k32 s4 weights split b1", "cannot read 'split'"},
      {"m16 n256 w4x2 k32 s4 weights split0 b1", "cannot read 'split0'"},
      {"stripe m16 n256 w4x2 k32 s4 weights split1 b1", "cannot read 'stripe'"},
      {"decode decode m16 n64 w1x2 k64 s4 accumulators cluster1 b1", "cannot read 'decode'"},
      {"m16 decode n64 w1x2 k64 s4 accumulators cluster1 b1", "cannot read 'decode'"},
      {"decode m16 n64 w1x2 k64 s4 accumulators early", "cannot read 'early'"},
      {"decode m16 n64 w1x2 k64 s4 accumulators cluster1 b1 early early", "cannot read 'early'"},
      {"decode m16 n64 w1x2 k64 s4 accumulators cluster1 early b1", "cannot read 'early'"},
      {"decode", "0 fields of 8"},
      {"m16 n256 w4x2 k32 s4 weights split1 b1 early", "cannot read 'early'"},
      {"m16 n256 w4x2 k32 s4 weights split1 b1 burst2", "cannot read 'burst2'"},
      {"decode m16 n64 w1x2 k64 s4 accumulators cluster1 b1 raster2", "cannot read 'raster2'"},
      {"wgmma m64 n128 w8x1 k128 s4 weights split1 b1 burst2 burst4", "cannot read 'burst4'"},
      {"wgmma m64 n128 w8x1 k128 s4 weights split1 b1 burst0", "cannot read 'burst0'"},
  };
  for (const auto& [text, message] : cases) {
    try {
      parse_config(text);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_config);
      EXPECT_NE(std::string(error.what()).find(message), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find(form), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace marlin
