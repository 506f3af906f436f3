// Shape -> the rule it breaks, or the ladder rung its kernel is written for.
// Entry points: broken_rule, rung_for, rung_index.
#include "codegen/problem/shape.h"

#include <fmt/format.h>

#include <bit>

#include "codegen/base/error.h"

namespace marlin {
namespace {

constexpr std::array<std::int64_t, kRungs> make_rungs() {
  std::array<std::int64_t, kRungs> all = {};
  std::size_t count = 0;
  for (std::int64_t power = 1; power <= kMaxM; power *= 2) {
    if (power > 16) all.at(count++) = power / 4 * 3;
    all.at(count++) = power;
  }
  return all;
}

constexpr std::array<std::int64_t, kRungs> kLadder = make_rungs();
static_assert(kLadder.back() == kMaxM);

}  // namespace

std::optional<std::string> broken_rule(const Shape& shape) {
  const auto [m, n, k, exact, a_stride, c_stride] = shape;
  if (m < 1 || m > kMaxM) return fmt::format("m = {} is not in 1..{}", m, kMaxM);
  if (n < 64 || n > kMaxN) return fmt::format("n = {} is not in 64..{}", n, kMaxN);
  if (k < 64 || k > kMaxK) return fmt::format("k = {} is not in 64..{}", k, kMaxK);
  if (n % 64 != 0) return fmt::format("n = {} is not a multiple of 64", n);
  if (k % 64 != 0) return fmt::format("k = {} is not a multiple of 64", k);
  if (a_stride != 0 && a_stride != k) {
    return fmt::format("a_stride = {}: rows of A further apart than k are not supported yet",
                       a_stride);
  }
  if (c_stride != 0 && c_stride != n) {
    return fmt::format("c_stride = {}: rows of C further apart than n are not supported yet",
                       c_stride);
  }
  return std::nullopt;
}

const std::array<std::int64_t, kRungs>& rungs() { return kLadder; }

std::int64_t rung_for(std::int64_t m) { return kLadder[rung_index(m)]; }

int rung_index(std::int64_t m) {
  if (m < 1 || m > kMaxM) {
    throw Error(ErrorCode::invalid_shape, fmt::format("m = {} is not in 1..{}", m, kMaxM));
  }
  // 2^doublings is the smallest power of two >= m. Up to 2^4 each power is one rung; from there on
  // the rung before it, 3/4 of it, may do.
  const int doublings = std::bit_width(static_cast<std::uint64_t>(m - 1));
  if (doublings <= 4) return doublings;
  const bool less = m <= std::int64_t{3} << (doublings - 2);
  return 2 * doublings - 4 - (less ? 1 : 0);
}

std::string to_string(const Shape& shape) {
  return fmt::format("{}x{}x{}", shape.m, shape.n, shape.k);
}

}  // namespace marlin
