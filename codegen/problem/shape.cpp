// Shape -> the rule it breaks, or the ladder rung its kernel is written for.
// Entry points: broken_rule, kernel_shape, rung_for, rung_index.
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
  const auto [m, n, k, group, exact] = shape;
  if (m < 1 || m > kMaxM) return fmt::format("m = {} is not in 1..{}", m, kMaxM);
  if (n < 64 || n > kMaxN) return fmt::format("n = {} is not in 64..{}", n, kMaxN);
  if (k < 64 || k > kMaxK) return fmt::format("k = {} is not in 64..{}", k, kMaxK);
  if (n % 64 != 0) return fmt::format("n = {} is not a multiple of 64", n);
  if (k % 64 != 0) return fmt::format("k = {} is not a multiple of 64", k);
  if (group != 32 && group != 64 && group != 128 && group != -1) {
    return fmt::format("group = {} is none of 32, 64, 128, -1 (one scale for the whole k)", group);
  }
  if (group > 0 && k % group != 0) {
    return fmt::format("k = {} is not a multiple of the group, {}", k, group);
  }
  return std::nullopt;
}

void require_valid(const Shape& shape) {
  if (auto rule = broken_rule(shape)) throw Error(ErrorCode::invalid_shape, *rule);
}

bool one_group(const Shape& shape) { return shape.group < 0 || shape.group == shape.k; }

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

Shape kernel_shape(Shape shape) {
  if (!shape.exact_m && shape.m >= 1 && shape.m <= kMaxM) shape.m = rung_for(shape.m);
  return shape;
}

std::string to_string(const Shape& shape) {
  return fmt::format("{}x{}x{} g{}{}", shape.m, shape.n, shape.k, shape.group,
                     shape.exact_m ? " exact" : "");
}

}  // namespace marlin
