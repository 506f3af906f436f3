// Shapes -> the rule each one breaks; the ladder of M.
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <random>
#include <string>

#include "codegen/base/error.h"
#include "codegen/problem/problem.h"
#include "tests/unit/problems.h"

namespace marlin {
namespace {

constexpr std::int64_t kHuge = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kLow = std::numeric_limits<std::int64_t>::min();

TEST(Problem, ValidOnesBreakNoRule) {
  const Problem valid[] = {
      problem_of(1, 64, 64, -1, false),           problem_of(1, 64, 128, 128, false),
      problem_of(16, 28672, 4096, 128, false),    problem_of(65536, 64, 64, -1, true),
      problem_of(7, 192, 192, -1, true),          problem_of(100, kMaxN, 128, 128, false),
      problem_of(65536, kMaxN, kMaxK, 128, true),
  };
  for (const Problem& problem : valid) {
    EXPECT_EQ(broken_rule(problem), std::nullopt) << to_string(problem);
    EXPECT_NO_THROW(require_valid(problem));
  }
}

TEST(Problem, RefusedOnesNameTheRule) {
  struct Case {
    Problem problem;
    const char* rule;
  };
  const Case cases[] = {
      {problem_of(0, 64, 64, -1), "m = 0 is not in 1..65536"},
      {problem_of(-1, 64, 64, -1), "m = -1 is not in 1..65536"},
      {problem_of(65537, 64, 64, -1), "m = 65537 is not in 1..65536"},
      {problem_of(kHuge, 64, 64, -1), "m = 9223372036854775807 is not in 1..65536"},
      {problem_of(1, 0, 64, -1), "n = 0 is not in 64..1048576"},
      {problem_of(1, -64, 64, -1), "n = -64 is not in 64..1048576"},
      {problem_of(1, 63, 64, -1), "n = 63 is not in 64..1048576"},
      {problem_of(1, kHuge, 64, -1), "n = 9223372036854775807 is not in 64..1048576"},
      {problem_of(1, kHuge - 63, 64, -1), "n = 9223372036854775744 is not in 64..1048576"},
      {problem_of(1, kMaxN + 64, 64, -1), "n = 1048640 is not in 64..1048576"},
      {problem_of(1, 64, 0, -1), "k = 0 is not in 64..1048576"},
      {problem_of(1, 64, kLow, -1), "k = -9223372036854775808 is not in 64..1048576"},
      {problem_of(1, 64, kHuge, 128), "k = 9223372036854775807 is not in 64..1048576"},
      {problem_of(1, 64, kMaxK + 64, -1), "k = 1048640 is not in 64..1048576"},
      {problem_of(16, 4100, 4096, 128), "n = 4100 is not a multiple of 64"},
      {problem_of(16, 96, 4096, 128), "n = 96 is not a multiple of 64"},
      {problem_of(16, 4096, 4100, 128), "k = 4100 is not a multiple of 64"},
      {problem_of(16, 4096, 96, -1), "k = 96 is not a multiple of 64"},
      {problem_of(16, 4096, 4096, 48),
       "group = 48 is none of 32, 64, 128, -1 (one scale for the whole k)"},
      {problem_of(16, 4096, 4096, 0),
       "group = 0 is none of 32, 64, 128, -1 (one scale for the whole k)"},
      {problem_of(16, 4096, 4096, -128),
       "group = -128 is none of 32, 64, 128, -1 (one scale for the whole k)"},
      {problem_of(16, 4096, 192, 128), "k = 192 is not a multiple of the group, 128"},
      {problem_of(16, 4096, 64, 128), "k = 64 is not a multiple of the group, 128"},
  };
  for (const auto& [problem, rule] : cases) {
    EXPECT_EQ(broken_rule(problem).value_or("none"), rule);
    try {
      require_valid(problem);
      FAIL() << rule;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_shape);
      EXPECT_STREQ(error.what(), rule);
    }
  }
}

TEST(Problem, OneGroupIsTheWholeKOrAKOfOneGroup) {
  EXPECT_TRUE(one_group(problem_of(1, 64, 4096, -1)));
  EXPECT_TRUE(one_group(problem_of(1, 64, 128, 128)));
  EXPECT_FALSE(one_group(problem_of(1, 64, 256, 128)));
}

TEST(Ladder, RungsWorkedByHand) {
  const std::int64_t rungs[] = {1,   2,   4,   8,   16,  24,  32,   40,   48,   56,   64,  72,
                                80,  88,  96,  104, 112, 120, 128,  136,  144,  152,  160, 168,
                                176, 184, 192, 200, 208, 216, 224,  232,  240,  248,  256, 320,
                                384, 448, 512, 640, 768, 896, 1024, 1280, 1536, 1792, 2048};
  std::int64_t m = 1;
  for (const std::int64_t rung : rungs) {
    for (; m <= rung; ++m) ASSERT_EQ(rung_for(m), rung) << m;
  }
  EXPECT_EQ(rung_for(49152), 49152);
  EXPECT_EQ(rung_for(49153), 57344);
  EXPECT_EQ(rung_for(57345), 65536);
  EXPECT_EQ(rung_for(kMaxM), kMaxM);
}

TEST(Ladder, NoMHasEightRowsTooManyUpTo256OrAQuarterAbove) {
  std::int64_t below = 1;
  for (std::int64_t m = 1; m <= kMaxM; ++m) {
    const std::int64_t rung = rung_for(m);
    ASSERT_GE(rung, m);
    ASSERT_LT(rung, m <= 4 ? 2 * m : m <= 256 ? m + 8 : m + m / 4) << m;
    ASSERT_EQ(rung_for(rung), rung);
    ASSERT_GE(rung, below);
    below = rung;
  }
}

TEST(Ladder, EveryRungHasItsPlace) {
  EXPECT_EQ(rungs().front(), 1);
  EXPECT_EQ(rungs().back(), kMaxM);
  int index = 0;
  for (std::int64_t m = 1; m <= kMaxM; ++m) {
    if (m > rungs()[index]) ++index;
    ASSERT_EQ(rung_index(m), index) << m;
    ASSERT_EQ(rung_for(m), rungs()[index]) << m;
  }
  EXPECT_EQ(index, kRungs - 1);
}

TEST(Ladder, RefusesWhatNoShapeMayHave) {
  for (const std::int64_t m : {std::int64_t{0}, std::int64_t{-5}, kMaxM + 1, kHuge, kLow}) {
    EXPECT_THROW(rung_for(m), Error) << m;
    EXPECT_THROW(rung_index(m), Error) << m;
  }
}

TEST(Problem, Text) {
  EXPECT_EQ(to_string(problem_of(16, 28672, 4096, 128)), "16x28672x4096 g128");
  EXPECT_EQ(to_string(problem_of(7, 64, 128, -1, true)), "7x64x128 g-1 exact");
}

}  // namespace
}  // namespace marlin
