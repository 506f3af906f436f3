// The CPU packer against the independent model, there and back, and what it refuses.
#include "marlin/pack.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>

#include "runtime/pack/half.h"
#include "tests/reference/model.h"
#include "tests/unit/refusal.h"

namespace marlin {
namespace {

using test::refusal;

Problem shape_of(const reference::Weights& w) {
  return {.shape = {.m = 1, .n = w.n, .k = w.k}, .scheme = {.group = static_cast<int>(w.group)}};
}

// Random shapes that keep the rules, every group among them.
std::vector<Problem> random_shapes(unsigned seed, int count) {
  std::mt19937 random(seed);
  const int groups[] = {128, -1, 64, 32};
  std::vector<Problem> shapes = {{.shape = {.n = 64, .k = 64}, .scheme = {.group = -1}},
                                 {.shape = {.n = 64, .k = 128}, .scheme = {.group = 128}}};
  for (int i = 0; i < count; ++i) {
    const int group = groups[i % 4];
    const std::int64_t step = group == 128 ? 128 : 64;
    const std::int64_t n = 64 * (1 + random() % 9), k = step * (1 + random() % 7);
    shapes.push_back({.shape = {.n = n, .k = k}, .scheme = {.group = group}});
  }
  return shapes;
}

TEST(Pack, EqualsTheIndependentModelAndComesBack) {
  unsigned seed = 100;
  for (const Problem& problem : random_shapes(1, 40)) {
    const auto w =
        reference::random_weights(problem.shape.k, problem.shape.n, problem.scheme.group, ++seed);
    const PackedWeights packed = pack_codes(problem, w.codes, w.scales);
    ASSERT_EQ(packed.packed, reference::pack_codes(w)) << to_string(problem);
    ASSERT_EQ(packed.packed_scales, reference::permute_scales(w)) << to_string(problem);
    ASSERT_EQ(packed_bytes(problem), packed.packed.size() * 4);
    ASSERT_EQ(scales_bytes(problem), packed.packed_scales.size() * 2);

    std::vector<std::uint8_t> codes(w.codes.size(), 0xee);
    std::vector<std::uint16_t> scales(w.scales.size(), 0xeeee);
    unpack_codes(problem, packed.packed, packed.packed_scales, codes, scales);
    ASSERT_EQ(codes, w.codes) << to_string(problem);
    ASSERT_EQ(scales, w.scales) << to_string(problem);
  }
}

TEST(Pack, ManyThreadsGiveTheSame) {
  const auto w = reference::random_weights(2048, 1024, 128, 5);
  const PackedWeights packed = pack_codes(shape_of(w), w.codes, w.scales);
  EXPECT_EQ(packed.packed, reference::pack_codes(w));
  EXPECT_EQ(packed.packed_scales, reference::permute_scales(w));
}

TEST(Rtn, EqualsTheIndependentModel) {
  unsigned seed = 300;
  std::vector<Problem> shapes = random_shapes(2, 16);
  shapes.push_back(
      {.shape = {.n = 2112, .k = 256}, .scheme = {.group = 128}});  // many columns, some left over
  shapes.push_back({.shape = {.n = 2112, .k = 256}, .scheme = {.group = -1}});
  for (const Problem& problem : shapes) {
    const auto matrix = reference::random_halves(problem.shape.k * problem.shape.n, ++seed);
    const auto w =
        reference::quantize(problem.shape.k, problem.shape.n, problem.scheme.group, matrix);
    std::vector<std::uint8_t> codes(w.codes.size());
    std::vector<std::uint16_t> scales(w.scales.size());
    quantize_rtn(problem, matrix, codes, scales);
    ASSERT_EQ(scales, w.scales) << to_string(problem);
    ASSERT_EQ(codes, w.codes) << to_string(problem);
    const PackedWeights packed = pack_rtn(problem, matrix);
    ASSERT_EQ(packed.packed, reference::pack_codes(w)) << to_string(problem);
    ASSERT_EQ(packed.packed_scales, reference::permute_scales(w)) << to_string(problem);
  }
}

// Every finite FP16 value is a weight here, so that denormals, ties and both ends are met.
TEST(Rtn, EqualsTheModelOnEveryFiniteValueAndErrsByHalfAStepAtMost) {
  std::vector<std::uint16_t> matrix;
  for (std::uint32_t bits = 0; bits <= 0xffff; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    matrix.push_back(half_is_finite(half) ? half : 0);
  }
  // 32 rows of 2048 columns: a column's group spans values of many magnitudes.
  const Problem problem{.shape = {.n = 2048, .k = 32 * 2}, .scheme = {.group = 32}};
  matrix.resize(problem.shape.k * problem.shape.n);
  std::mt19937 random(11);
  for (std::int64_t i = 65536; i < problem.shape.k * problem.shape.n; ++i)
    matrix[i] = random() % 0x0040;
  const auto w =
      reference::quantize(problem.shape.k, problem.shape.n, problem.scheme.group, matrix);
  std::vector<std::uint8_t> codes(w.codes.size());
  std::vector<std::uint16_t> scales(w.scales.size());
  quantize_rtn(problem, matrix, codes, scales);
  ASSERT_EQ(scales, w.scales);
  ASSERT_EQ(codes, w.codes);

  std::vector<float> values(matrix.size());
  dequantize(problem, codes, scales, std::span<float>(values));
  int inside = 0;
  for (std::int64_t k = 0; k < problem.shape.k; ++k) {
    for (std::int64_t n = 0; n < problem.shape.n; ++n) {
      const double weight = reference::half_value(matrix[k * problem.shape.n + n]);
      const double scale = reference::half_value(scales[k / 32 * problem.shape.n + n]);
      if (weight > 7.5 * scale || weight < -8.5 * scale) continue;
      ++inside;
      ASSERT_LE(std::fabs(values[k * problem.shape.n + n] - weight), scale / 2) << k << ' ' << n;
    }
  }
  EXPECT_GT(inside, problem.shape.k * problem.shape.n / 2);
}

TEST(Rtn, LargestWeightsReachTheEndsAndZerosStayZero) {
  const Problem problem{.shape = {.n = 64, .k = 128}, .scheme = {.group = 128}};
  std::vector<std::uint16_t> matrix(problem.shape.k * problem.shape.n, 0);
  matrix[0] = float_to_half(7.5f);            // column 0: scale 1 and nothing else
  matrix[1 * 64 + 1] = float_to_half(-7.5f);  // column 1: rounds to even, -8
  matrix[2 * 64 + 2] = 3;                     // column 2: 3 * 2^-24, its scale rounds to zero
  std::vector<std::uint8_t> codes(matrix.size());
  std::vector<std::uint16_t> scales(64);
  quantize_rtn(problem, matrix, codes, scales);
  EXPECT_EQ(scales[0], float_to_half(1.0f));
  EXPECT_EQ(scales[2], 0);
  std::vector<std::uint8_t> expected(matrix.size(), 8);
  expected[0] = 15;
  expected[64 + 1] = 0;
  EXPECT_EQ(codes, expected);
}

TEST(Dequantize, EqualsTheModelInBothPrecisions) {
  for (const std::int64_t group : {128, -1}) {
    const auto w = reference::random_weights(256, 192, group, 21);
    std::vector<float> values(w.codes.size());
    std::vector<std::uint16_t> halves(w.codes.size());
    dequantize(shape_of(w), w.codes, w.scales, std::span<float>(values));
    dequantize(shape_of(w), w.codes, w.scales, std::span<std::uint16_t>(halves));
    for (std::int64_t k = 0; k < w.k; ++k) {
      for (std::int64_t n = 0; n < w.n; ++n) {
        ASSERT_EQ(values[k * w.n + n], w.value(k, n));
        ASSERT_EQ(reference::half_value(halves[k * w.n + n]),
                  reference::half_value(reference::nearest_half(w.value(k, n))));
      }
    }
  }
}

TEST(PackRefuses, ShapesWithTheRule) {
  const auto rule = [](Problem problem) { return broken_packing_rule(problem).value_or("none"); };
  EXPECT_EQ(rule({.shape = {.m = 0, .n = 64, .k = 64}, .scheme = {.group = -1}}), "none");
  EXPECT_EQ(rule({.shape = {.n = 100, .k = 64}, .scheme = {.group = -1}}),
            "n = 100 is not a multiple of 64");
  EXPECT_EQ(rule({.shape = {.n = 64, .k = 96}, .scheme = {.group = 32}}),
            "k = 96 is not a multiple of 64");
  EXPECT_EQ(rule({.shape = {.n = 64, .k = 192}, .scheme = {.group = 128}}),
            "k = 192 is not a multiple of the group, 128");
  EXPECT_EQ(rule({.shape = {.n = 64, .k = 192}, .scheme = {.group = 0}}),
            "group = 0 is none of 32, 64, 128, -1 (one scale for the whole k)");
  EXPECT_NE(rule({.shape = {.n = INT64_MAX, .k = 64}, .scheme = {.group = -1}}), "none");
  EXPECT_NE(rule({.shape = {.n = 64, .k = -64}, .scheme = {.group = -1}}), "none");
  EXPECT_EQ(refusal([] { packed_bytes({.shape = {.n = 65, .k = 64}, .scheme = {.group = -1}}); }),
            "invalid_shape: n = 65 is not a multiple of 64");
  EXPECT_EQ(refusal([] { scales_bytes({.shape = {.n = 64, .k = 64}, .scheme = {.group = 128}}); }),
            "invalid_shape: k = 64 is not a multiple of the group, 128");
}

class PackRefusesData : public testing::Test {
 protected:
  const Problem shape_{.shape = {.n = 128, .k = 256}, .scheme = {.group = 128}};
  reference::Weights w_ = reference::random_weights(256, 128, 128, 31);
};

TEST_F(PackRefusesData, Sizes) {
  const std::vector<std::uint8_t> codes(w_.codes.begin(), w_.codes.end() - 1);
  const std::vector<std::uint16_t> scales(w_.scales.size() + 1);
  EXPECT_EQ(refusal([&] { pack_codes(shape_, codes, w_.scales); }),
            "invalid_argument: codes has 32767 elements, the shape asks for 32768");
  EXPECT_EQ(refusal([&] { pack_codes(shape_, w_.codes, scales); }),
            "invalid_argument: scales has 257 elements, the shape asks for 256");
  PackedWeights out = pack_codes(shape_, w_.codes, w_.scales);
  std::vector<std::uint32_t> small(4095);
  EXPECT_EQ(refusal([&] { pack_codes(shape_, w_.codes, w_.scales, small, out.packed_scales); }),
            "invalid_argument: packed has 4095 elements, the shape asks for 4096");
  EXPECT_EQ(refusal([&] { unpack_codes(shape_, small, w_.scales, w_.codes, w_.scales); }),
            "invalid_argument: packed has 4095 elements, the shape asks for 4096");
  EXPECT_EQ(refusal([&] { pack_rtn(shape_, scales); }),
            "invalid_argument: weights has 257 elements, the shape asks for 32768");
  EXPECT_EQ(
      refusal([&] { pack_rtn({.shape = {.n = 128, .k = 100}, .scheme = {.group = -1}}, scales); }),
      "invalid_shape: k = 100 is not a multiple of 64");
}

TEST_F(PackRefusesData, ACodeAbove15AndWritesNothing) {
  w_.codes[200 * 128 + 5] = 16;
  w_.codes[255 * 128] = 99;
  PackedWeights out{std::vector<std::uint32_t>(4096, 7), std::vector<std::uint16_t>(256, 7)};
  EXPECT_EQ(
      refusal([&] { pack_codes(shape_, w_.codes, w_.scales, out.packed, out.packed_scales); }),
      "invalid_argument: code 16 at k = 200, n = 5 is not in 0..15");
  EXPECT_EQ(out.packed, std::vector<std::uint32_t>(4096, 7));
  EXPECT_EQ(out.packed_scales, std::vector<std::uint16_t>(256, 7));
  std::vector<float> values(w_.codes.size());
  EXPECT_EQ(refusal([&] { dequantize(shape_, w_.codes, w_.scales, std::span<float>(values)); }),
            "invalid_argument: code 16 at k = 200, n = 5 is not in 0..15");
}

TEST_F(PackRefusesData, ScalesAndWeightsThatAreNotFinite) {
  for (const int bits : {0x7c00, 0xfc00, 0x7e01, 0xffff}) {
    auto scales = w_.scales;
    scales[128 + 9] = static_cast<std::uint16_t>(bits);
    EXPECT_EQ(refusal([&] { pack_codes(shape_, w_.codes, scales); }),
              "invalid_argument: scale at group = 1, n = 9 is not finite");
    std::vector<std::uint16_t> matrix(w_.codes.size(), 0x3c00);
    matrix[255 * 128 + 127] = static_cast<std::uint16_t>(bits);
    EXPECT_EQ(refusal([&] { pack_rtn(shape_, matrix); }),
              "invalid_argument: weight at k = 255, n = 127 is not finite");
  }
}

// Beyond it, kernels that scale weights in FP16 would give NaN where others are right.
TEST_F(PackRefusesData, ScalesBeyondTheRangeThatAllKernelsHold) {
  for (const float largest : {8188.0f, -8188.0f, 0.0f, -0.0f, 0x1p-24f}) {
    auto scales = w_.scales;
    scales[128 + 9] = float_to_half(largest);
    EXPECT_NO_THROW(pack_codes(shape_, w_.codes, scales)) << largest;
  }
  for (const float beyond : {8192.0f, -8192.0f, 65504.0f}) {
    auto scales = w_.scales;
    scales[128 + 9] = float_to_half(beyond);
    EXPECT_EQ(refusal([&] { pack_codes(shape_, w_.codes, scales); }),
              fmt::format("invalid_argument: scale {} at group = 1, n = 9 is not in -8188..8188",
                          beyond));
  }
}

// Whatever finite weights are quantised, what comes of them can be packed and is finite again.
TEST(Rtn, TheLargestWeightsGetTheLargestScale) {
  const Problem problem{.shape = {.n = 64, .k = 128}, .scheme = {.group = 128}};
  std::vector<std::uint16_t> matrix(problem.shape.k * problem.shape.n, kHalfMaxFinite);
  for (std::size_t i = 0; i < matrix.size(); i += 2) matrix[i] |= 0x8000;
  std::vector<std::uint8_t> codes(matrix.size());
  std::vector<std::uint16_t> scales(64);
  quantize_rtn(problem, matrix, codes, scales);
  EXPECT_EQ(scales, std::vector<std::uint16_t>(64, float_to_half(kMaxScale)));
  std::vector<std::uint16_t> weights(matrix.size());
  dequantize(problem, codes, scales, std::span<std::uint16_t>(weights));
  EXPECT_EQ(weights[0], float_to_half(-65504.0f));
  EXPECT_EQ(weights[1], float_to_half(7 * kMaxScale));
  EXPECT_NO_THROW(pack_rtn(problem, matrix));
}

TEST(Reference, GemmOnAMatrixWorkedByHand) {
  // k = 64 ones times weights whose column n holds code 8 + n % 4 at scale 1/2: 64 * (n % 4) / 2.
  reference::Weights w{64, 64, -1, {}, std::vector<std::uint16_t>(64, 0x3800)};
  for (int i = 0; i < 64 * 64; ++i) w.codes.push_back(static_cast<std::uint8_t>(8 + i % 4));
  const auto c = reference::gemm(2, std::vector<std::uint16_t>(2 * 64, 0x3c00), w);
  ASSERT_EQ(c.size(), 128u);
  for (int i = 0; i < 128; ++i) EXPECT_EQ(c[i], 32.0 * (i % 4));
}

}  // namespace
}  // namespace marlin
