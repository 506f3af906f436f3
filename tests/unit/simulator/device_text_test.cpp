// The device functions that make FP16 weights of packed words and scale them, compiled for the host
// as they stand in templates/device: right for every input they can have.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/reference/model.h"
#include "tests/simulator/ptx.h"

#define __device__
#define __forceinline__ inline

namespace marlin {
namespace {

using reference::half_value;
using reference::nearest_half;

namespace device {

using std::fmaf;

struct uint2 {
  unsigned x, y;
};
struct float2 {
  float x, y;
};
struct float4 {
  float x, y, z, w;
};
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }

// Each of the selector's four lower nibbles names the byte of {y, x} that becomes a byte.
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
  const std::uint64_t bytes = std::uint64_t{y} << 32 | x;
  unsigned result = 0;
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned byte = selector >> (4 * i) & 7;
    result |= static_cast<unsigned>(bytes >> (8 * byte) & 0xff) << (8 * i);
  }
  return result;
}

// Made of the templates by host_text.cmake.
#include "on_host/types/f16.cuh"
//
#include "on_host/dequantise/u4b8_f16.cuh"
#include "on_host/scales/f16.cuh"

}  // namespace device

constexpr unsigned kHalves = 1U << 16;

std::uint16_t half_of(unsigned pair, int which) {
  return static_cast<std::uint16_t>(pair >> (16 * which));
}

// Bits of the same number, or of some NaN both.
bool same_half(std::uint16_t a, std::uint16_t b) {
  return a == b || (std::isnan(half_value(a)) && std::isnan(half_value(b)));
}

// What stands where, by the descriptions of the format and of mma.m16n8k16: value v of a word is of
// column 8 (v / 4) and of k {0, 1, 8, 9}[v % 4], and registers go through columns, then k.
constexpr int kNibbleValues[8] = {0, 2, 4, 6, 1, 3, 5, 7};
int register_of(int value) { return 2 * (value % 4 / 2) + value / 4; }

std::string fault_of(unsigned word) {
  unsigned weights[4];
  device::dequantise(weights, word);
  for (int nibble = 0; nibble < 8; ++nibble) {
    const int code = static_cast<int>(word >> (4 * nibble) & 15), value = kNibbleValues[nibble];
    const double weight = half_value(half_of(weights[register_of(value)], value % 2));
    if (weight == code - 8 && !(weight == 0 && std::signbit(weight))) continue;
    return "nibble " + std::to_string(nibble) + " of " + std::to_string(word) + " becomes " +
           std::to_string(weight);
  }
  return "";
}

TEST(DeviceText, DequantisesEveryHalfWord) {
  for (unsigned half = 0; half < kHalves; ++half) {
    ASSERT_EQ(fault_of(half), "");
    ASSERT_EQ(fault_of(half << 16), "");
    // No nibble minds its neighbours in the other half.
    ASSERT_EQ(fault_of(half << 16 | (half * 40503U >> 3 & 0xffff)), "");
  }
}

TEST(DeviceText, DequantisesWhatThePublishedFormatPacks) {
  constexpr int kK = 16, kN = 64;
  const reference::Weights matrix = reference::random_weights(kK, kN, -1, 5);
  const std::vector<std::uint32_t> words = reference::pack_codes(matrix);
  ASSERT_EQ(words.size(), 128U);
  for (int lane = 0; lane < 32; ++lane) {
    for (int block = 0; block < 4; ++block) {
      unsigned weights[4];
      device::dequantise(weights, words[4 * lane + block]);
      for (int i = 0; i < 8; ++i) {
        const int k = lane % 4 * 2 + i % 2 + (i >= 4 ? 8 : 0);
        const int n = 16 * block + lane / 4 + (i / 2 % 2 == 1 ? 8 : 0);
        EXPECT_EQ(half_value(half_of(weights[i / 2], i % 2)), matrix.codes[k * kN + n] - 8)
            << k << ' ' << n;
      }
    }
  }
}

TEST(DeviceText, SpreadsEveryPairOfScales) {
  for (unsigned half = 0; half < kHalves; ++half) {
    const unsigned other = half ^ 0x5a5aU;
    unsigned low = 0, high = 0;
    device::spread_scales(low, high, other << 16 | half);
    ASSERT_EQ(low, half << 16 | half);
    ASSERT_EQ(high, other << 16 | other);
  }
}

// The product is rounded once, and each scale is of its own column alone.
TEST(DeviceText, ScalesEveryWeightByEveryScale) {
  for (unsigned half = 0; half < kHalves; ++half) {
    const auto scale = static_cast<std::uint16_t>(half);
    const auto other = static_cast<std::uint16_t>(half ^ 0x8123U);
    for (const unsigned word : {0x76543210U, 0xfedcba98U}) {
      unsigned before[4], after[4], low = 0, high = 0;
      device::dequantise(before, word);
      device::dequantise(after, word);
      device::spread_scales(low, high, unsigned{other} << 16 | scale);
      device::scale_weights(after, low, high);
      for (int i = 0; i < 8; ++i) {
        const double weight = half_value(half_of(before[i / 2], i % 2));
        const double factor = half_value(i / 2 % 2 == 0 ? scale : other);
        const std::uint16_t product = half_of(after[i / 2], i % 2);
        ASSERT_TRUE(same_half(product, nearest_half(weight * factor))) << weight << ' ' << factor;
      }
    }
  }
}

TEST(DeviceText, WidensAndNarrowsEveryHalf) {
  for (unsigned half = 0; half < kHalves; ++half) {
    const auto bits = static_cast<std::uint16_t>(half);
    const double value = half_value(bits);
    for (const unsigned pair : {half, half << 16}) {
      const device::float2 wide = device::unpack_half2(pair);
      const double here = pair == half ? wide.x : wide.y, there = pair == half ? wide.y : wide.x;
      ASSERT_TRUE(here == value || (std::isnan(here) && std::isnan(value))) << half;
      ASSERT_TRUE(half == 0 || there == 0) << half;
      const unsigned narrow = device::pack_half2(wide.x, wide.y);
      ASSERT_TRUE(same_half(half_of(narrow, pair == half ? 0 : 1), bits)) << half;
      ASSERT_EQ(half_of(narrow, pair == half ? 1 : 0), 0) << half;
    }
  }
}

// Halfway between two halves the even one is nearest; a little to either side, the closer one.
TEST(DeviceText, NarrowsToTheNearestHalf) {
  constexpr unsigned kLargest = 0x7bff;  // 65504
  for (unsigned half = 0; half < kLargest; ++half) {
    const double low = half_value(static_cast<std::uint16_t>(half));
    const double high = half_value(static_cast<std::uint16_t>(half + 1));
    const auto middle = static_cast<float>((low + high) / 2);
    const unsigned even = half % 2 == 0 ? half : half + 1;
    ASSERT_EQ(device::pack_half2(middle, -middle), even | (0x8000 | even) << 16) << half;
    ASSERT_EQ(device::pack_half2(std::nextafterf(middle, 0), std::nextafterf(middle, 1e9F)),
              half | (half + 1) << 16)
        << half;
  }
  EXPECT_EQ(device::pack_half2(65519.996F, 65520), kLargest | 0x7c00U << 16);  // then infinity
}

TEST(DeviceText, AddsSumsScaledByTheirColumns) {
  float sums[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  const float group[8] = {8, 7, 6, 5, 4, 3, 2, 1};
  device::add_scaled(sums, group, {10, 100});
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(sums[i], static_cast<float>(i + 1 + (8 - i) * (i % 4 < 2 ? 10 : 100))) << i;
  }
}

TEST(DeviceText, FindsTheScaleOfEveryColumn) {
  constexpr int kN = 128;
  const reference::Weights matrix = reference::random_weights(16, kN, -1, 6);
  const std::vector<std::uint16_t> permuted = reference::permute_scales(matrix);
  std::vector<unsigned> pairs;
  for (int i = 0; i < kN; i += 2) pairs.push_back(unsigned{permuted[i + 1]} << 16 | permuted[i]);
  const char* scales = reinterpret_cast<const char*>(pairs.data());
  const auto scale = [&](int column) { return half_value(matrix.scales[column]); };
  for (int column = 0; column < kN; ++column) {
    EXPECT_EQ(device::channel_scale_of(scales, column), scale(column)) << column;
  }
  for (int quad = 0; quad < kN / 4; ++quad) {
    device::float4 ones = {1, 1, 1, 1};
    device::scale_float4(ones, device::channel_scales_of(scales, quad));
    EXPECT_EQ(ones.x, scale(4 * quad)) << quad;
    EXPECT_EQ(ones.y, scale(4 * quad + 1)) << quad;
    EXPECT_EQ(ones.z, scale(4 * quad + 2)) << quad;
    EXPECT_EQ(ones.w, scale(4 * quad + 3)) << quad;
  }
}

}  // namespace
}  // namespace marlin
