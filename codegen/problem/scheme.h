// Scheme: how activations, weights and scales are held.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "data_type.h"

namespace marlin {

// u4b8: 4-bit codes in the Marlin format (formats/marlin_4bit.h); a weight is (code - 8) * scale.
enum class WeightFormat { u4b8 };

struct WeightFormatInfo {
  std::string_view name;         // as schemes call it
  std::string_view record_name;  // as tuning records call it
  int bits;                      // of a code
  int bias;                      // of a code
};

const WeightFormatInfo& info(WeightFormat format);

// Scales and C are of the activations' type. No zero points, no activation order.
struct Scheme {
  DataType activation = DataType::f16;
  WeightFormat weight = WeightFormat::u4b8;
  int group = 128;  // weights along k that share a scale: 32, 64, 128, or -1 for the whole k

  friend bool operator==(const Scheme&, const Scheme&) = default;
};

// Every scheme that kernels exist for.
const std::vector<Scheme>& schemes();

// "f16.u4b8.g128":
// <f16|bf16>.<u4b8|u4z|u4r|u8b128|u8z|e4m3|mxfp4|nvfp4>.g<n|-1|128x128>[.act][.f32].
std::string to_string(const Scheme& scheme);

// Reads such a text. Throws Error{invalid_scheme}: one that is of this form and not among schemes()
// is not supported yet; of any other text the message shows the form.
Scheme parse_scheme(std::string_view text);

}  // namespace marlin
