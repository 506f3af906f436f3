// FP16 (IEEE 754 binary16) as raw bits: exact conversions that need no hardware support.
#pragma once

#include <bit>
#include <cstdint>

namespace marlin {

inline constexpr std::uint16_t kHalfMagnitude = 0x7fff;  // all but the sign
inline constexpr std::uint16_t kHalfInfinity = 0x7c00;   // larger magnitudes are NaNs
inline constexpr std::uint16_t kHalfMaxFinite = 0x7bff;  // 65504

constexpr bool half_is_finite(std::uint16_t half) {
  return (half & kHalfMagnitude) <= kHalfMaxFinite;
}

// Exact: every FP16 value is an FP32 value. NaNs keep their sign and payload.
constexpr float half_to_float(std::uint16_t half) {
  const std::uint32_t magnitude = half & kHalfMagnitude;
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000) << 16;
  if (magnitude >= 0x0400 && magnitude < kHalfInfinity) {  // the exponent biases differ by 112
    return std::bit_cast<float>(sign | ((magnitude << 13) + (112u << 23)));
  }
  if (magnitude >= kHalfInfinity) {
    return std::bit_cast<float>(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
  }
  const float denormal = static_cast<float>(magnitude) * 0x1p-24f;
  return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(denormal));
}

// Round to nearest, ties to even. 65520 and above become infinity; a NaN becomes a quiet NaN with
// its sign and the top of its payload.
constexpr std::uint16_t float_to_half(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  const std::uint32_t sign = bits >> 16 & 0x8000u;
  std::uint32_t half = 0;
  if (magnitude > 0x7f800000u) {
    half = 0x7e00u | (magnitude >> 13 & 0x3ffu);
  } else if (magnitude >= 0x477ff000u) {  // 65520: half way from 65504 to the next power of two
    half = kHalfInfinity;
  } else if (magnitude >= 0x38800000u) {  // 2^-14: normal in FP16
    const std::uint32_t odd = magnitude >> 13 & 1u;
    half = (magnitude - (112u << 23) + 0xfffu + odd) >> 13;
  } else if (magnitude >= 0x33000000u) {  // 2^-25: may round up to the smallest denormal, 2^-24
    const std::uint32_t significand = (magnitude & 0x7fffffu) | 0x800000u;
    const std::uint32_t shift = 126 - (magnitude >> 23);  // 14..24, to units of 2^-24
    const std::uint32_t odd = significand >> shift & 1u;
    half = (significand + (1u << (shift - 1)) - 1 + odd) >> shift;
  }
  return static_cast<std::uint16_t>(sign | half);
}

}  // namespace marlin
