// Shape -> the rule it breaks, or the ladder rung its kernel is written for.
// Entry points: broken_rule, rung_for.
#include "codegen/shape.h"

#include <fmt/format.h>

#include "codegen/error.h"

namespace marlin {

std::optional<std::string> broken_rule(const Shape& shape) {
  const auto [m, n, k, group, exact] = shape;
  if (m < 1 || m > kMaxM) return fmt::format("m = {} is not in 1..{}", m, kMaxM);
  if (n < 64 || n > kMaxN) return fmt::format("n = {} is not in 64..{}", n, kMaxN);
  if (k < 64 || k > kMaxK) return fmt::format("k = {} is not in 64..{}", k, kMaxK);
  if (n % 64 != 0) return fmt::format("n = {} is not a multiple of 64", n);
  if (k % 64 != 0) return fmt::format("k = {} is not a multiple of 64", k);
  if (group != 128 && group != -1) {
    return fmt::format("group = {} is neither 128 nor -1 (one scale for the whole k)", group);
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

std::int64_t rung_for(std::int64_t m) {
  if (m < 1 || m > kMaxM) {
    throw Error(ErrorCode::invalid_shape, fmt::format("m = {} is not in 1..{}", m, kMaxM));
  }
  // 1, 2, 4, 8, 16, then two rungs for each doubling: 24, 32, 48, 64, 96, ...
  std::int64_t rung = 1;
  while (rung < m) {
    if (rung >= 16 && rung + rung / 2 >= m) return rung + rung / 2;
    rung *= 2;
  }
  return rung;
}

std::string to_string(const Shape& shape) {
  return fmt::format("{}x{}x{} g{}{}", shape.m, shape.n, shape.k, shape.group,
                     shape.exact_m ? " exact" : "");
}

}  // namespace marlin
