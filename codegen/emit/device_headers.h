// Device headers: the primitives of templates/device/ that a kernel calls, with all that these
// need.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "codegen/problem/scheme.h"

namespace marlin {

// What stands before a kernel, so that it can be read first, and what follows it.
struct DeviceText {
  std::string declarations;  // types, and each function without its body
  std::string definitions;
};

// The headers of these names ("ptx/mma"), those that they need first, each once; then `more`, text
// of the same kind that a family writes itself. Throws std::logic_error on an unknown name.
DeviceText device_text(const std::vector<std::string_view>& headers, std::string_view more = {});

// The headers that fill the slots of a scheme: a packed word to a fragment, and its scales. Those
// of a slot define the same names, so that no emitter asks which scheme it is.
std::vector<std::string_view> scheme_headers(const Scheme& scheme);

// The names with all that they need, needed ones first: a header says so in a line
// "// needs: ptx/tma, types/f16" of its opening comment. Throws std::logic_error on a circle.
std::vector<std::string> headers_in_order(
    const std::vector<std::string_view>& headers,
    const std::function<std::string_view(std::string_view)>& text_of);

// The headers that the text of one says it needs.
std::vector<std::string> needs_of(std::string_view text);

}  // namespace marlin
