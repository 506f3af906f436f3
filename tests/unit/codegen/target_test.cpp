// Architectures: which ones there are, what one SM of each offers, which one a device gets.
#include "codegen/problem/target.h"

#include <gtest/gtest.h>

#include <string>

#include "codegen/base/error.h"

namespace marlin {
namespace {

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
  for (const int major : {7, 11, 13, 0, -1}) {
    EXPECT_THROW(arch_for(major, 0), Error) << major;
  }
}

}  // namespace
}  // namespace marlin
