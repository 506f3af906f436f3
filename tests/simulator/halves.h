// FP16 bits <-> numbers, by table.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/reference/model.h"

namespace marlin::simulator {

inline float half_value(std::uint32_t half) {
  static const std::vector<float> values = [] {
    std::vector<float> table(65536);
    for (std::size_t i = 0; i < table.size(); ++i) {
      table[i] = static_cast<float>(reference::half_value(static_cast<std::uint16_t>(i)));
    }
    return table;
  }();
  return values[half & 0xffff];
}
inline float low_half(std::int64_t pair) { return half_value(static_cast<std::uint32_t>(pair)); }
inline float high_half(std::int64_t pair) {
  return half_value(static_cast<std::uint32_t>(pair) >> 16);
}
inline std::int64_t pair_of(double low, double high) {
  return static_cast<std::uint32_t>(reference::nearest_half(high)) << 16 |
         reference::nearest_half(low);
}

}  // namespace marlin::simulator
