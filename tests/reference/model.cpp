// Codes, scales and FP16 activations, ordinary and extreme ones -> packed words, permuted scales
// and the FP64 product. Entry points: make_operands, pack_codes, permute_scales, quantize, gemm.
#include "tests/reference/model.h"

#include <cmath>
#include <limits>
#include <random>

namespace marlin::reference {

double half_value(std::uint16_t bits) {
  const int exponent = bits >> 10 & 31;
  const int mantissa = bits & 1023;
  const double sign = bits >> 15 ? -1.0 : 1.0;
  if (exponent == 31) {
    return mantissa ? std::numeric_limits<double>::quiet_NaN()
                    : sign * std::numeric_limits<double>::infinity();
  }
  if (exponent == 0) return sign * std::ldexp(mantissa, -24);
  return sign * std::ldexp(1024 + mantissa, exponent - 25);
}

std::uint16_t nearest_half(double value) {
  const int sign = std::signbit(value) ? 0x8000 : 0;
  const double magnitude = std::fabs(value);
  if (std::isnan(value)) return static_cast<std::uint16_t>(sign | 0x7e00);
  if (magnitude >= 65520.0) return static_cast<std::uint16_t>(sign | 0x7c00);
  const int exponent = magnitude < std::ldexp(1.0, -14) ? -14 : std::ilogb(magnitude);
  // Steps of this binade; a carry into the next one is the next bit pattern all the same.
  const int steps = static_cast<int>(std::nearbyint(std::ldexp(magnitude, 10 - exponent)));
  return static_cast<std::uint16_t>(sign | ((exponent + 14) * 1024 + steps));
}

double Weights::value(std::int64_t row, std::int64_t column) const {
  const double scale = half_value(scales[row / rows_per_group() * n + column]);
  return (codes[row * n + column] - 8) * scale;
}

Weights random_weights(std::int64_t k, std::int64_t n, std::int64_t group, unsigned seed) {
  std::mt19937 random(seed);
  Weights out{k, n, group, {}, {}};
  for (std::int64_t i = 0; i < k * n; ++i) out.codes.push_back(random() % 16);
  for (std::int64_t i = 0; i < k / out.rows_per_group() * n; ++i) {
    const double magnitude = 0.005 + 0.03 * (random() / 4294967296.0);
    out.scales.push_back(nearest_half(random() % 2 ? magnitude : -magnitude));
  }
  return out;
}

std::vector<std::uint16_t> random_halves(std::int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  std::vector<std::uint16_t> out;
  for (std::int64_t i = 0; i < count; ++i) out.push_back(nearest_half(normal(random)));
  return out;
}

namespace {

constexpr std::uint16_t kSign = 0x8000, kDenormal = 0x0001, kLargestScale = 0x6fff,
                        kLargestHalf = 0x7bff;

// Each value with the magnitude of `bits` and its own sign.
void set_magnitudes(std::vector<std::uint16_t>& halves, std::uint16_t bits) {
  for (std::uint16_t& half : halves) half = static_cast<std::uint16_t>((half & kSign) | bits);
}

void scale_by(std::vector<std::uint16_t>& halves, double factor) {
  for (std::uint16_t& half : halves) half = nearest_half(half_value(half) * factor);
}

}  // namespace

Operands make_operands(Inputs inputs, std::int64_t m, std::int64_t k, std::int64_t n,
                       std::int64_t group, unsigned seed) {
  Operands out{random_halves(m * k, seed), random_weights(k, n, group, seed + 1)};
  std::vector<std::uint16_t>& scales = out.weights.scales;
  switch (inputs) {
    case Inputs::random: break;
    case Inputs::largest_scales:
      set_magnitudes(scales, kLargestScale);
      scale_by(out.a, 0x1p-10);
      break;
    case Inputs::smallest_scales:
      set_magnitudes(scales, kDenormal);
      scale_by(out.a, 0x1p12);
      break;
    case Inputs::zero_scales:
      for (std::size_t i = 0; i < scales.size(); i += 3) scales[i] &= kSign;
      break;
    case Inputs::extreme_codes:
      for (std::uint8_t& code : out.weights.codes) code = code < 8 ? 0 : 15;
      break;
    case Inputs::largest_activations:
      set_magnitudes(out.a, kLargestHalf);
      scale_by(scales, 0x1p-8);
      break;
    case Inputs::smallest_activations:
      set_magnitudes(out.a, kDenormal);
      scale_by(scales, 0x1p17);
      break;
  }
  return out;
}

std::vector<std::uint32_t> pack_codes(const Weights& weights) {
  // Value v of a fragment word lies at k = 2 (lane % 4) + kOffset[v % 4]; nibble i holds value
  // kValue[i].
  static constexpr int kOffset[4] = {0, 1, 8, 9};
  static constexpr int kValue[8] = {0, 2, 4, 6, 1, 3, 5, 7};
  std::vector<std::uint32_t> packed;
  for (std::int64_t tile = 0; tile < weights.k / 16; ++tile) {
    for (std::int64_t block = 0; block < weights.n / 64; ++block) {
      for (int lane = 0; lane < 32; ++lane) {
        for (int j = 0; j < 4; ++j) {
          std::uint32_t word = 0;
          for (int i = 0; i < 8; ++i) {
            const std::int64_t k = 16 * tile + 2 * (lane % 4) + kOffset[kValue[i] % 4];
            const std::int64_t n = 64 * block + 16 * j + lane / 4 + 8 * (kValue[i] / 4);
            word += static_cast<std::uint32_t>(weights.codes[k * weights.n + n]) << (4 * i);
          }
          packed.push_back(word);
        }
      }
    }
  }
  return packed;
}

std::vector<std::uint16_t> permute_scales(const Weights& weights) {
  static constexpr int kColumns[8] = {0, 1, 8, 9, 16, 17, 24, 25};
  const bool whole_k = weights.rows_per_group() == weights.k;
  std::vector<std::uint16_t> out;
  for (std::int64_t p = 0; p < static_cast<std::int64_t>(weights.scales.size()); ++p) {
    const std::int64_t in64 = p % 64, in32 = p % 32;
    out.push_back(whole_k ? weights.scales[p - in32 + 2 * (in32 / 8) + kColumns[in32 % 8]]
                          : weights.scales[p - in64 + in64 / 8 + 8 * (in64 % 8)]);
  }
  return out;
}

Weights quantize(std::int64_t k, std::int64_t n, std::int64_t group,
                 const std::vector<std::uint16_t>& matrix) {
  Weights out{k, n, group, std::vector<std::uint8_t>(k * n), {}};
  const std::int64_t rows = out.rows_per_group();
  for (std::int64_t g = 0; g < k / rows; ++g) {
    for (std::int64_t column = 0; column < n; ++column) {
      double largest = 0;
      for (std::int64_t row = g * rows; row < (g + 1) * rows; ++row) {
        largest = std::fmax(largest, std::fabs(half_value(matrix[row * n + column])));
      }
      const float fraction = 2.0f / 15.0f;
      out.scales.push_back(nearest_half(std::fmin(static_cast<float>(largest) * fraction, 8188)));
      const double scale = half_value(out.scales.back());
      for (std::int64_t row = g * rows; row < (g + 1) * rows; ++row) {
        const double quotient = scale == 0 ? 0 : half_value(matrix[row * n + column]) / scale;
        const double code = std::fmin(15, std::fmax(0, std::nearbyint(quotient) + 8));
        out.codes[row * n + column] = static_cast<std::uint8_t>(code);
      }
    }
  }
  return out;
}

std::vector<double> gemm(std::int64_t m, const std::vector<std::uint16_t>& a, const Weights& w) {
  std::vector<double> c(m * w.n, 0.0), activations(m);
  for (std::int64_t k = 0; k < w.k; ++k) {
    for (std::int64_t row = 0; row < m; ++row) activations[row] = half_value(a[row * w.k + k]);
    for (std::int64_t n = 0; n < w.n; ++n) {
      const double weight = w.value(k, n);
      for (std::int64_t row = 0; row < m; ++row) c[row * w.n + n] += activations[row] * weight;
    }
  }
  return c;
}

}  // namespace marlin::reference
