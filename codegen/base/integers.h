// Integer arithmetic that layouts are made of.
#pragma once

#include <bit>
#include <cstdint>

namespace marlin {

// a / b, rounded up; a is not negative, b positive.
constexpr int ceil_div(std::int64_t a, std::int64_t b) { return static_cast<int>((a + b - 1) / b); }

// The smallest multiple of `step` that is not below `value`.
constexpr int round_up(int value, int step) { return ceil_div(value, step) * step; }

constexpr bool power_of_two(int value) {
  return value > 0 && std::has_single_bit(static_cast<unsigned>(value));
}

// Of a power of two.
constexpr int log2_of(int power) { return std::countr_zero(static_cast<unsigned>(power)); }

}  // namespace marlin
