// Shape: the sizes of a matrix product, and the ladder of M.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

namespace marlin {

// A is [m, k], B [k, n], C [m, n].
struct Shape {
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  // true: the kernel serves exactly m rows and m is a constant in it. false: it serves 1..m rows,
  // and the true row count is its one run-time bound.
  bool exact_m = false;
  // From one row of A and of C to the next, in elements; 0: k and n, rows without a gap.
  std::int64_t a_stride = 0;
  std::int64_t c_stride = 0;

  friend bool operator==(const Shape&, const Shape&) = default;
};

inline constexpr std::int64_t kMaxM = 65536;
inline constexpr std::int64_t kMaxN = std::int64_t{1} << 20;
inline constexpr std::int64_t kMaxK = std::int64_t{1} << 20;

// The rule a shape breaks, or nothing when it keeps them all.
std::optional<std::string> broken_rule(const Shape& shape);

// The ladder of M, ascending: 1, 2, 4, every multiple of eight up to 256, then four rungs for each
// doubling (320, 384, 448, 512, 640, ...) up to kMaxM. A kernel that is not exact is written for a
// rung and serves every smaller m.
inline constexpr int kRungs = 67;
const std::array<std::int64_t, kRungs>& rungs();

// The smallest rung that is >= m, and its place in rungs(), 0..kRungs - 1. Throw
// Error{invalid_shape} unless m is in 1..kMaxM.
std::int64_t rung_for(std::int64_t m);
int rung_index(std::int64_t m);

// "16x28672x4096"
std::string to_string(const Shape& shape);

}  // namespace marlin
