// Name of a file under templates/ -> its embedded bytes.
// Entry point: template_text().
#include "codegen/emit/templates.h"

#include <fmt/core.h>

#include <stdexcept>

#include "templates/table.h"

namespace marlin {

std::string_view template_text(std::string_view name) {
  const embedded::Entry* entry = embedded::find_entry(embedded::kTable, embedded::kTableSize, name);
  if (entry != nullptr) return embedded::text_of(*entry);
  throw std::logic_error(fmt::format("no embedded template is named {}", name));
}

std::vector<std::string_view> template_names() {
  std::vector<std::string_view> names;
  for (std::size_t i = 0; i < embedded::kTableSize; ++i) {
    names.emplace_back(embedded::kTable[i].name);
  }
  return names;
}

}  // namespace marlin
