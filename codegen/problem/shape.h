// Shape: the matrix product a kernel is written for, and the rules every shape must keep.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

namespace marlin {

// C[m, n] = A[m, k] * dequantised(B)[k, n]: A and C are FP16 row-major, B is 4-bit codes in the
// Marlin format with one FP16 scale for each `group` weights along k: 32, 64, 128, or -1 for one
// for the whole k.
struct Shape {
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  int group = 128;
  // true: the kernel serves exactly m rows and m is a constant in it. false: it serves 1..m rows,
  // and the true row count is its one run-time bound.
  bool exact_m = false;

  friend bool operator==(const Shape&, const Shape&) = default;
};

inline constexpr std::int64_t kMaxM = 65536;
inline constexpr std::int64_t kMaxN = std::int64_t{1} << 20;
inline constexpr std::int64_t kMaxK = std::int64_t{1} << 20;

// The rule a shape breaks ("n = 4100 is not a multiple of 64"), or nothing when it keeps them all.
std::optional<std::string> broken_rule(const Shape& shape);

// Throws Error{invalid_shape} with the broken rule.
void require_valid(const Shape& shape);

// Whether one scale serves the whole k of a column. Then the Marlin format stores scales in another
// order than for several groups.
bool one_group(const Shape& shape);

// The ladder of M, ascending: 1, 2, 4, 8, 16, then two rungs for each doubling (24, 32, 48, ...) up
// to kMaxM. A kernel that is not exact is written for a rung and serves every smaller m.
inline constexpr int kRungs = 29;
const std::array<std::int64_t, kRungs>& rungs();

// The smallest rung that is >= m, and its place in rungs(), 0..kRungs - 1. Throw
// Error{invalid_shape} unless m is in 1..kMaxM.
std::int64_t rung_for(std::int64_t m);
int rung_index(std::int64_t m);

// The shape a kernel is written for: m goes up to its rung where the kernel is to serve fewer rows
// as well. An m out of range stays as it is, for broken_rule to refuse.
Shape kernel_shape(Shape shape);

// "16x28672x4096 g128", with " exact" where m is exact.
std::string to_string(const Shape& shape);

}  // namespace marlin
