// FP16 conversions against the model's, over every FP16 value and around every rounding boundary.
#include "runtime/pack/half.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>

#include "tests/reference/model.h"

namespace marlin {
namespace {

TEST(Half, EveryValueIsExactInFp32AndComesBack) {
  for (std::uint32_t bits = 0; bits <= 0xffff; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float value = half_to_float(half);
    if ((bits & 0x7fff) > 0x7c00) {
      EXPECT_TRUE(std::isnan(value)) << bits;
      EXPECT_EQ(float_to_half(value), half | 0x0200) << bits;
      continue;
    }
    ASSERT_EQ(value, reference::half_value(half)) << bits;
    ASSERT_EQ(std::signbit(value), bits >= 0x8000) << bits;
    ASSERT_EQ(float_to_half(value), half);
  }
}

TEST(Half, RoundsToNearestEvenAtEveryBoundary) {
  for (std::uint32_t bits = 0; bits < 0x7c00; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const double above = bits == 0x7bff ? 65536.0 : reference::half_value(half + 1);
    const auto middle = static_cast<float>((half_to_float(half) + above) / 2);
    const auto even = static_cast<std::uint16_t>(bits % 2 == 0 ? bits : bits + 1);
    ASSERT_EQ(float_to_half(middle), even) << bits;
    ASSERT_EQ(float_to_half(-middle), even | 0x8000) << bits;
    ASSERT_EQ(float_to_half(std::nextafter(middle, 0.0f)), half) << bits;
    ASSERT_EQ(float_to_half(std::nextafter(middle, INFINITY)), half + 1) << bits;
  }
}

TEST(Half, RandomFloatsRoundAsTheModelDoes) {
  std::mt19937 random(7);
  for (int i = 0; i < 300000; ++i) {
    const auto bits = static_cast<std::uint32_t>(random());
    const float value = std::bit_cast<float>(i % 2 ? bits : (bits & 0x87ffffffu) + 0x30000000u);
    if (std::isnan(value)) continue;
    ASSERT_EQ(float_to_half(value), reference::nearest_half(value)) << value;
  }
}

TEST(Half, ExtremesAndFiniteness) {
  EXPECT_EQ(float_to_half(std::numeric_limits<float>::max()), 0x7c00);
  EXPECT_EQ(float_to_half(-std::numeric_limits<float>::infinity()), 0xfc00);
  EXPECT_EQ(float_to_half(std::numeric_limits<float>::denorm_min()), 0);
  EXPECT_EQ(float_to_half(-0.0f), 0x8000);
  EXPECT_TRUE(half_is_finite(0x7bff));
  EXPECT_TRUE(half_is_finite(0xfbff));
  EXPECT_FALSE(half_is_finite(0x7c00));
  EXPECT_FALSE(half_is_finite(0xfe00));
}

}  // namespace
}  // namespace marlin
