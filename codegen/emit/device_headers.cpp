// Names of device headers -> their declarations and definitions, in the order in which they need
// one another. Entry points: device_text, headers_in_order.
#include "codegen/emit/device_headers.h"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

#include "codegen/emit/templates.h"

namespace marlin {

namespace {

constexpr std::string_view kNeeds = "// needs: ";

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

std::string_view header_text(std::string_view name) {
  return template_text(fmt::format("device/{}.cuh", name));
}

// Splits a header's text: types go before the kernel, functions are declared there.
class Splitter {
 public:
  explicit Splitter(DeviceText& text) : text_(text) {}

  void add(std::string_view header) {
    const std::vector<std::string_view> lines = lines_of(header);
    for (std::size_t i = 0; i < lines.size(); ++i) {
      const bool needs_next = i + 1 < lines.size() && lines[i + 1].starts_with(kNeeds);
      if (lines[i].starts_with(kNeeds) || (lines[i] == "//" && needs_next)) continue;
      if (starts_type(lines, i)) {
        i = move_type(lines, i);
      } else {
        if (starts_function(lines, i)) declare(lines, i);
        text_.definitions += fmt::format("{}\n", lines[i]);
      }
    }
    text_.definitions += '\n';
  }

 private:
  // With the comment above it.
  static bool starts_type(const std::vector<std::string_view>& lines, std::size_t i) {
    while (i < lines.size() && lines[i].starts_with("//")) ++i;
    return i < lines.size() && lines[i].starts_with("struct ");
  }

  static bool starts_function(const std::vector<std::string_view>& lines, std::size_t i) {
    if (lines[i].starts_with("template <")) return true;
    return lines[i].starts_with("__device__") &&
           (i == 0 || !lines[i - 1].starts_with("template <"));
  }

  void declare(const std::vector<std::string_view>& lines, std::size_t i) {
    for (; !lines[i].ends_with(" {"); ++i) text_.declarations += fmt::format("{}\n", lines[i]);
    text_.declarations += fmt::format("{};\n", lines[i].substr(0, lines[i].size() - 2));
  }

  std::size_t move_type(const std::vector<std::string_view>& lines, std::size_t i) {
    for (; lines[i] != "};"; ++i) text_.declarations += fmt::format("{}\n", lines[i]);
    text_.declarations += "};\n";
    return i + 1;  // and the blank line after it
  }

  DeviceText& text_;
};

class Order {
 public:
  explicit Order(const std::function<std::string_view(std::string_view)>& text_of)
      : text_of_(text_of) {}

  void add(const std::string& name) {
    if (std::find(done_.begin(), done_.end(), name) != done_.end()) return;
    if (std::find(open_.begin(), open_.end(), name) != open_.end()) {
      throw std::logic_error(fmt::format("device headers need one another in a circle: {}", name));
    }
    open_.push_back(name);
    for (const std::string& need : needs_of(text_of_(name))) add(need);
    open_.pop_back();
    done_.push_back(name);
  }
  std::vector<std::string> take() { return std::move(done_); }

 private:
  const std::function<std::string_view(std::string_view)>& text_of_;
  std::vector<std::string> done_, open_;
};

}  // namespace

std::vector<std::string_view> scheme_headers(const Scheme& scheme) {
  switch (scheme.weight) {
    case WeightFormat::u4b8: return {"dequantise/u4b8_f16", "scales/f16"};
  }
  return {};
}

std::vector<std::string> needs_of(std::string_view text) {
  std::vector<std::string> needs;
  for (std::string_view line : lines_of(text)) {
    if (!line.starts_with("//")) break;
    if (!line.starts_with(kNeeds)) continue;
    line.remove_prefix(kNeeds.size());
    while (!line.empty()) {
      const std::size_t end = std::min(line.find(", "), line.size());
      needs.emplace_back(line.substr(0, end));
      line.remove_prefix(std::min(end + 2, line.size()));
    }
  }
  return needs;
}

std::vector<std::string> headers_in_order(
    const std::vector<std::string_view>& headers,
    const std::function<std::string_view(std::string_view)>& text_of) {
  Order order(text_of);
  for (const std::string_view name : headers) order.add(std::string(name));
  return order.take();
}

DeviceText device_text(const std::vector<std::string_view>& headers, std::string_view more) {
  DeviceText text;
  Splitter splitter(text);
  for (const std::string& name : headers_in_order(headers, header_text)) {
    splitter.add(header_text(name));
  }
  if (!more.empty()) splitter.add(more);
  text.declarations.pop_back();
  text.definitions.erase(text.definitions.find_last_not_of('\n') + 1);
  return text;
}

}  // namespace marlin
