// Scheme <-> its text. Entry points: to_string, parse_scheme, schemes.
#include "codegen/problem/scheme.h"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <string_view>

#include "codegen/base/error.h"

namespace marlin {

namespace {

bool among(std::string_view word, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

bool is_group(std::string_view word) {
  if (!word.starts_with('g')) return false;
  word.remove_prefix(1);
  if (among(word, {"-1", "128x128"})) return true;
  return !word.empty() && word.front() != '0' &&
         word.find_first_not_of("0123456789") == std::string_view::npos;
}

// Takes the text's first word, up to a full stop.
std::string_view take_word(std::string_view& text) {
  const std::size_t end = std::min(text.find('.'), text.size());
  const std::string_view word = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return word;
}

// Whether a text is a scheme's, be it supported or not.
bool has_form(std::string_view text) {
  if (text.ends_with('.')) return false;
  if (!among(take_word(text), {"f16", "bf16"})) return false;
  if (!among(take_word(text), {"u4b8", "u4z", "u4r", "u8b128", "u8z", "e4m3", "mxfp4", "nvfp4"})) {
    return false;
  }
  return is_group(take_word(text)) && among(text, {"", "act", "f32", "act.f32"});
}

}  // namespace

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
  throw Error(ErrorCode::invalid_scheme,
              has_form(text)
                  ? fmt::format("scheme = {} is not supported yet; these are: {}", text, supported)
                  : fmt::format("scheme = {} is not of the form <f16|bf16>.<u4b8|u4z|u4r|u8b128|"
                                "u8z|e4m3|mxfp4|nvfp4>.g<n|-1|128x128>[.act][.f32]",
                                text));
}

}  // namespace marlin
