// Template with ${name} holes + their texts -> the expanded text. Entry point: expand.
#include "codegen/emit/text.h"

#include <set>
#include <stdexcept>

namespace marlin {

namespace {

// Whether the hole text[begin, end) stands alone on its line.
bool alone(std::string_view text, std::size_t begin, std::size_t end) {
  return (begin == 0 || text[begin - 1] == '\n') && (end < text.size() && text[end] == '\n');
}

}  // namespace

std::string counted(std::int64_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

std::string plus(std::string_view base, std::int64_t offset) {
  return offset == 0 ? std::string(base) : fmt::format("{} + {}", base, offset);
}

std::string expand(std::string_view text, const Holes& holes) {
  std::string result;
  std::set<std::string_view> used;
  std::size_t at = 0;
  for (;;) {
    const std::size_t hole = text.find("${", at);
    result += text.substr(at, hole == std::string_view::npos ? hole : hole - at);
    if (hole == std::string_view::npos) break;
    const std::size_t close = text.find('}', hole);
    if (close == std::string_view::npos) throw std::logic_error("template: a hole is not closed");
    const std::string_view name = text.substr(hole + 2, close - hole - 2);
    const auto found = holes.find(name);
    if (found == holes.end()) {
      throw std::logic_error(fmt::format("template: no text for the hole '{}'", name));
    }
    used.insert(found->first);
    result += found->second;
    at = close + 1;
    if (found->second.empty() && alone(text, hole, at)) ++at;
  }
  for (const auto& [name, value] : holes) {
    if (!used.contains(name)) {
      throw std::logic_error(fmt::format("template: the text of '{}' has no hole", name));
    }
  }
  return result;
}

}  // namespace marlin
