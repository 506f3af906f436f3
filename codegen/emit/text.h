// Text: the lines of emitted code, and the strict expander of ${name} holes.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <iterator>
#include <map>
#include <string>
#include <string_view>
#include <utility>

namespace marlin {

// Lines of code at one indentation, built one fmt call each.
class Text {
 public:
  explicit Text(int indent) : indent_(indent) {}

  template <typename... Args>
  Text& line(fmt::format_string<Args...> format, Args&&... args) {
    text_.append(static_cast<std::size_t>(indent_), ' ');
    fmt::format_to(std::back_inserter(text_), format, std::forward<Args>(args)...);
    text_ += '\n';
    return *this;
  }

  // A line that opens a block; close() ends it.
  template <typename... Args>
  Text& open(fmt::format_string<Args...> format, Args&&... args) {
    line(format, std::forward<Args>(args)...);
    indent_ += 2;
    return *this;
  }
  Text& close(std::string_view end = "}") {
    indent_ -= 2;
    return line("{}", end);
  }

  // Ends the block and opens its alternative.
  Text& otherwise() {
    close("} else {");
    indent_ += 2;
    return *this;
  }

  // The lines without the last line end, ready for a hole that stands on a line of its own.
  std::string str() const { return text_.empty() ? text_ : text_.substr(0, text_.size() - 1); }

 private:
  int indent_;
  std::string text_;
};

// "1 warp", "2 warps".
std::string counted(std::int64_t count, std::string_view noun);

// "base + offset", or "base" alone for an offset of zero.
std::string plus(std::string_view base, std::int64_t offset);

// A sum of terms, printed without those that are zero: "b + tile * 512ll + lane * 16".
class Sum {
 public:
  explicit Sum(std::string_view first) : text_(first) {}

  // Adds name * factor, computed in 64 bits when the factor is `far`, the distance in a matrix.
  Sum& near(std::string_view name, std::int64_t factor) { return add(name, factor, ""); }
  Sum& far(std::string_view name, std::int64_t factor) { return add(name, factor, "ll"); }
  Sum& named(std::string_view constant) {
    text_ += fmt::format(" + {}", constant);
    return *this;
  }
  Sum& constant(std::int64_t value) {
    if (value != 0) text_ += fmt::format(" + {}", value);
    return *this;
  }
  const std::string& str() const { return text_; }

 private:
  Sum& add(std::string_view name, std::int64_t factor, std::string_view suffix) {
    if (factor != 0 && name != "0") text_ += fmt::format(" + {} * {}{}", name, factor, suffix);
    return *this;
  }
  std::string text_;
};

using Holes = std::map<std::string, std::string, std::less<>>;

// Replaces every ${name} of the template by its text. A hole whose text is empty and that stands
// alone on its line takes the line with it. Throws std::logic_error on an unknown or unused name.
std::string expand(std::string_view text, const Holes& holes);

}  // namespace marlin
