// Shape -> the rule it breaks, or the ladder rung its kernel is written for.
// Entry points: broken_rule, rung_for, rung_index.
#include "codegen/problem/shape.h"

#include <fmt/format.h>

#include <bit>

#include "codegen/base/error.h"

namespace marlin {
namespace {

constexpr std::int64_t kStep = 8;    // rows: what a tile can have more or less
constexpr std::int64_t kFine = 256;  // up to here each step is a rung
constexpr int kFew = 3;              // rungs below the first step
constexpr int kFineRungs = kFew + static_cast<int>(kFine / kStep);

constexpr std::array<std::int64_t, kRungs> make_rungs() {
  std::array<std::int64_t, kRungs> all = {};
  std::size_t count = 0;
  for (std::int64_t m = 1; m < kStep; m *= 2) all.at(count++) = m;
  for (std::int64_t m = kStep; m <= kFine; m += kStep) all.at(count++) = m;
  for (std::int64_t power = kFine; power < kMaxM; power *= 2) {
    for (int quarter = 1; quarter <= 4; ++quarter) all.at(count++) = power + power / 4 * quarter;
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
  if (m <= kFine) {
    if (m > kStep / 2) return kFew - 1 + static_cast<int>((m + kStep - 1) / kStep);
    return std::bit_width(static_cast<std::uint64_t>(m - 1));
  }
  // Quarters of the power of two below m, from that power on.
  const int power = std::bit_width(static_cast<std::uint64_t>(m - 1)) - 1;
  const auto quarters = static_cast<int>((m - 1) >> (power - 2)) - 3;
  constexpr int kFinePower = 8;
  static_assert(kFine == 1 << kFinePower);
  return kFineRungs - 1 + 4 * (power - kFinePower) + quarters;
}

std::string to_string(const Shape& shape) {
  return fmt::format("{}x{}x{}", shape.m, shape.n, shape.k);
}

}  // namespace marlin
