// Architectures: which ones there are, what one SM of each offers, which one a device gets.
#include "codegen/problem/target.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "codegen/base/error.h"

namespace marlin {
namespace {

using testing::HasSubstr;

TEST(Target, LimitsOfEachArchitecture) {
  // CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".
  struct Case {
    const char* arch;
    int capability, block_kib, sm_kib, threads;
  };
  const Case cases[] = {
      {"sm_80", 80, 163, 164, 2048},   {"sm_86", 86, 99, 100, 1536},
      {"sm_87", 87, 163, 164, 1536},   {"sm_89", 89, 99, 100, 1536},
      {"sm_90", 90, 227, 228, 2048},   {"sm_90a", 90, 227, 228, 2048},
      {"sm_100", 100, 227, 228, 2048}, {"sm_120", 120, 99, 100, 1536},
  };
  ASSERT_EQ(known_archs().size(), std::size(cases));
  for (std::size_t i = 0; i < std::size(cases); ++i) {
    EXPECT_EQ(known_archs()[i].name, cases[i].arch);
    const ArchLimits& limits = limits_of({cases[i].arch, 1});
    EXPECT_EQ(limits.compute_capability, cases[i].capability);
    EXPECT_EQ(limits.shared_per_block, cases[i].block_kib * 1024);
    EXPECT_EQ(limits.shared_per_sm, cases[i].sm_kib * 1024);
    EXPECT_EQ(limits.threads_per_sm, cases[i].threads);
    EXPECT_EQ(limits.registers_per_sm, 65536);
  }
}

TEST(Target, RefusedOnesNameTheRule) {
  struct Case {
    Target target;
    const char* rule;
  };
  const char* unknown = " is none of sm_80, sm_86, sm_87, sm_89, sm_90, sm_90a, sm_100, sm_120";
  const Case cases[] = {{{"sm_75", 40}, "arch = sm_75"},
                        {{"", 40}, "arch = "},
                        {{"sm_90 ", 40}, "arch = sm_90 "},
                        {{"90", 40}, "arch = 90"}};
  for (const auto& [target, rule] : cases) {
    try {
      require_valid(target);
      FAIL() << rule;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_target);
      EXPECT_EQ(error.what(), rule + std::string(unknown));
    }
  }
  for (const int sms : {0, -1, 1025}) {
    try {
      require_valid(Target{"sm_80", sms});
      FAIL() << sms;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_target);
      EXPECT_EQ(error.what(), "sms = " + std::to_string(sms) + " is not in 1..1024");
    }
  }
  EXPECT_NO_THROW(require_valid(Target{"sm_80", 1}));
  EXPECT_NO_THROW(require_valid(Target{"sm_120", 1024}));
}

TEST(Target, ArchitectureOfADevice) {
  struct Case {
    int major, minor;
    const char* arch;
  };
  const Case cases[] = {{8, 0, "sm_80"},   {8, 6, "sm_86"},  {8, 7, "sm_87"},   {8, 9, "sm_89"},
                        {8, 5, "sm_80"},   {9, 0, "sm_90a"}, {10, 0, "sm_100"}, {10, 3, "sm_100"},
                        {12, 0, "sm_120"}, {12, 1, "sm_120"}};
  for (const Case& c : cases) {
    EXPECT_EQ(arch_for(c.major, c.minor), c.arch) << c.major << '.' << c.minor;
  }
  for (const int minor : {0, 1}) EXPECT_THROW(arch_for(11, minor), Error);
  for (const int major : {7, 13, 0, -1}) {
    EXPECT_THROW(arch_for(major, 0), Error) << major;
  }
}

TEST(Target, ArchitectureByName) {
  for (const ArchLimits& arch : known_archs()) EXPECT_EQ(arch_named(arch.name), arch.name);
  EXPECT_EQ(arch_named("sm_103"), "sm_100");
  EXPECT_EQ(arch_named("sm_103a"), "sm_100");
  EXPECT_EQ(arch_named("sm_100f"), "sm_100");
  EXPECT_EQ(arch_named("sm_121"), "sm_120");
  EXPECT_EQ(arch_named("sm_88"), "sm_87");
  const auto refusal = [](const char* name) -> std::string {
    try {
      return "taken as " + arch_named(name);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_target);
      return error.what();
    }
  };
  EXPECT_THAT(refusal("sm_110"), HasSubstr("compute capability 11.0, Jetson Thor, has no kernels"));
  EXPECT_THAT(refusal("sm_101a"), HasSubstr("Jetson Thor"));
  EXPECT_THAT(refusal("sm_75"),
              HasSubstr("compute capability 7.5 has no kernels; known are sm_80"));
  for (const char* bad : {"", "sm_", "sm_9", "sm_x", "sm_90b", "sm_90 ", "90", "sm_99999999999"}) {
    EXPECT_THAT(refusal(bad), HasSubstr("is none of sm_80, ")) << bad;
  }
}

TEST(Target, ProductsAreThoseThatTheDriversAnswerLeadsTo) {
  EXPECT_EQ(products_served_by("sm_100"), "B200, GB200, B300, GB300");
  EXPECT_EQ(products_served_by("sm_120"), "RTX 50, RTX PRO 6000 Blackwell, GB10 (DGX Spark)");
  EXPECT_EQ(products_served_by("sm_90"), "");  // these get sm_90a
}

}  // namespace
}  // namespace marlin
