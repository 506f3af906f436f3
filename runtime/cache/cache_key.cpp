// The inputs of a compile -> the name of its cubin in a cache.
// Entry point: cache_key.
#include "runtime/cache/cache_key.h"

#include <fmt/format.h>

#include "runtime/base/sha256.h"

namespace marlin {
namespace {

// Label and length before each value, so that no two lists of fields give the same text.
void append(std::string& text, std::string_view label, std::string_view value) {
  text += fmt::format("{} {}:", label, value.size());
  text += value;
  text += '\n';
}

}  // namespace

std::string cache_key(const CacheKeyFields& fields) {
  std::string text;
  append(text, "schema", std::to_string(fields.schema));
  append(text, "source", fields.source_sha256);
  append(text, "options", std::to_string(fields.options.size()));
  for (const std::string& option : fields.options) append(text, "option", option);
  append(text, "arch", fields.arch);
  append(text, "entry", fields.entry);
  append(text, "nvrtc", fields.nvrtc);
  return sha256_hex(text);
}

bool is_cache_key(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

}  // namespace marlin
