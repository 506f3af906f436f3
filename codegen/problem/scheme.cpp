// Scheme <-> its text. Entry points: to_string, parse_scheme, schemes.
#include "codegen/problem/scheme.h"

#include <fmt/format.h>

#include <algorithm>
#include <regex>

#include "codegen/base/error.h"

namespace marlin {

const WeightFormatInfo& info(WeightFormat format) {
  // In the order of the enumerators.
  static constexpr WeightFormatInfo kFormats[] = {{"u4b8", "i4", 4, 8}};
  return kFormats[static_cast<int>(format)];
}

const std::vector<Scheme>& schemes() {
  static const std::vector<Scheme> all = {
      {.group = 32}, {.group = 64}, {.group = 128}, {.group = -1}};
  return all;
}

std::string to_string(const Scheme& scheme) {
  return fmt::format("{}.{}.g{}", info(scheme.activation).name, info(scheme.weight).name,
                     scheme.group);
}

Scheme parse_scheme(std::string_view text) {
  std::string supported;
  for (const Scheme& scheme : schemes()) {
    if (to_string(scheme) == text) return scheme;
    supported += (supported.empty() ? "" : ", ") + to_string(scheme);
  }
  static const std::regex form(
      R"((f16|bf16)\.(u4b8|u4z|u4r|u8b128|u8z|e4m3|mxfp4|nvfp4)\.g([1-9][0-9]*|-1|128x128)(\.act)?(\.f32)?)");
  const bool well_formed = std::regex_match(text.begin(), text.end(), form);
  throw Error(ErrorCode::invalid_scheme,
              well_formed
                  ? fmt::format("scheme = {} is not supported yet; these are: {}", text, supported)
                  : fmt::format("scheme = {} is not of the form <f16|bf16>.<u4b8|u4z|u4r|u8b128|"
                                "u8z|e4m3|mxfp4|nvfp4>.g<n|-1|128x128>[.act][.f32]",
                                text));
}

}  // namespace marlin
