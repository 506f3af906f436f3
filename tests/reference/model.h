// An independent model of the weight formats and of the product, written from the format's
// description alone and in FP64: slow, plain, and sharing nothing with the code under test.
#pragma once

#include <cstdint>
#include <vector>

namespace marlin::reference {

// FP16 bits <-> value. nearest_half rounds to nearest even, beyond the range to infinity.
double half_value(std::uint16_t bits);
std::uint16_t nearest_half(double value);

// A [k, n] matrix of 4-bit codes with the scales [rows of groups, n] of its groups along k, both
// row-major. group is -1 or divides k.
struct Weights {
  std::int64_t k = 0;
  std::int64_t n = 0;
  std::int64_t group = -1;
  std::vector<std::uint8_t> codes;
  std::vector<std::uint16_t> scales;

  std::int64_t rows_per_group() const { return group == -1 ? k : group; }
  double value(std::int64_t row, std::int64_t column) const;  // (code - 8) * scale
};

// Uniform codes, and scales in [0.005, 0.035) of either sign.
Weights random_weights(std::int64_t k, std::int64_t n, std::int64_t group, unsigned seed);

// FP16 values of a normal distribution.
std::vector<std::uint16_t> random_halves(std::int64_t count, unsigned seed);

// What a product is tried on: ordinary data, and the edges of what weights and activations may be.
// Every product of these is in the normal range of FP16.
enum class Inputs {
  random,
  largest_scales,   // +-8188, at which a weight of code 0 is the largest FP16
  smallest_scales,  // +-2^-24, denormal
  zero_scales,      // +-0 among others
  extreme_codes,    // 0 and 15 alone
  largest_activations,
  smallest_activations,
};
inline constexpr Inputs kAllInputs[] = {Inputs::random,
                                        Inputs::largest_scales,
                                        Inputs::smallest_scales,
                                        Inputs::zero_scales,
                                        Inputs::extreme_codes,
                                        Inputs::largest_activations,
                                        Inputs::smallest_activations};

struct Operands {
  std::vector<std::uint16_t> a;  // [m, k]
  Weights weights;
};
Operands make_operands(Inputs inputs, std::int64_t m, std::int64_t k, std::int64_t n,
                       std::int64_t group, unsigned seed);

// The published Marlin format.
std::vector<std::uint32_t> pack_codes(const Weights& weights);
std::vector<std::uint16_t> permute_scales(const Weights& weights);

// Round to nearest of an FP16 [k, n] matrix with scales of 2 / 15 of each group's largest value,
// at most 8188.
Weights quantize(std::int64_t k, std::int64_t n, std::int64_t group,
                 const std::vector<std::uint16_t>& matrix);

// C[m, n] = A[m, k] * W, A in FP16, everything after it in FP64.
std::vector<double> gemm(std::int64_t m, const std::vector<std::uint16_t>& a, const Weights& w);

}  // namespace marlin::reference
