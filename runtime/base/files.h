// Files and folders as we make them. PendingFile: a file that appears under its name whole or not
// at all, also after a power cut.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/base/unique_fd.h"

namespace marlin {

// The moments of publishing a file, in order, as fault-injection tests see them.
enum class PublishStep { created, half_written, written, synced, closed, renamed, folder_synced };
using PublishHook = std::function<void(PublishStep)>;

// "<name>" out of "<name>.tmp.<16 digits>"; nothing when the text is no temporary's name.
std::optional<std::string> published_name(std::string_view temporary);

// A file being written under a temporary name; unless committed it is removed again.
class PendingFile {
 public:
  // In the folder of this descriptor (AT_FDCWD: the current one).
  PendingFile(int folder, std::string name, PublishHook hook = nullptr);
  PendingFile(const PendingFile&) = delete;
  PendingFile& operator=(const PendingFile&) = delete;
  ~PendingFile();

  void write(std::string_view bytes);
  void commit();  // fsync, close, rename

 private:
  void step(PublishStep step) const;
  [[noreturn]] void fail(const char* what, int error) const;

  int folder_;
  std::string name_, temporary_;
  PublishHook hook_;
  UniqueFd fd_;
  std::uint64_t written_ = 0;
  bool exists_ = false;
};

// The modes of every file and folder we make: the owner alone may write them, whatever the umask
// leaves. Files that others may write are not trusted (runtime/cache/cache_folder.h).
inline constexpr unsigned kFileMode = 0644;
inline constexpr unsigned kFolderMode = 0755;

// Makes the folder and those above it that are missing. Throws Error{io}.
void make_folders(const std::string& path);

// Writes all of it. Throws Error{io} that begins with `name`; never raises SIGXFSZ for a file that
// has `written` bytes already.
void write_all(int fd, const std::string& name, std::string_view bytes, std::uint64_t written = 0);

}  // namespace marlin
