// TarWriter, TarReader: plain files in a POSIX ustar archive (IEEE Std 1003.1, "pax", ustar
// interchange format). Nothing else is written, and anything else is refused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/base/output_file.h"
#include "runtime/base/unique_fd.h"

namespace marlin {

// To where OutputFile would write. Names have at most 100 bytes. Throws Error{io}.
class TarWriter {
 public:
  explicit TarWriter(const std::string& path) : file_(path) {}
  void add(std::string_view name, std::string_view bytes);
  void finish();  // the archive appears under its name

 private:
  OutputFile file_;
};

struct TarMember {
  std::string name;
  std::string bytes;
};

class TarReader {
 public:
  // Throws Error{io} when there is no such plain file.
  TarReader(const std::string& path, std::size_t max_member_bytes);
  // The next member, nothing after the last. Throws Error{invalid_argument} that names the member
  // and the rule it breaks.
  std::optional<TarMember> next();
  void rewind() { offset_ = 0; }

 private:
  std::string read(std::size_t bytes);
  void require_end();

  std::string path_;
  std::size_t max_member_bytes_;
  UniqueFd fd_;
  std::uint64_t size_ = 0, offset_ = 0;
};

}  // namespace marlin
