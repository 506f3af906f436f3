// The tables of embedded text that the build generates from the files of a folder.
#pragma once

#include <cstddef>
#include <string_view>

namespace marlin::embedded {

struct Entry {
  const char* name;  // path below the folder, e.g. "kernels/stripe.cu"
  const unsigned char* bytes;
  std::size_t size;
};

inline std::string_view text_of(const Entry& entry) {
  return {reinterpret_cast<const char*>(entry.bytes), entry.size};
}

// The entry of this name, or null.
inline const Entry* find_entry(const Entry* table, std::size_t size, std::string_view name) {
  for (std::size_t i = 0; i < size; ++i) {
    if (name == table[i].name) return &table[i];
  }
  return nullptr;
}

extern const Entry kTable[];  // of templates/, in ascending order of name
extern const std::size_t kTableSize;

}  // namespace marlin::embedded
