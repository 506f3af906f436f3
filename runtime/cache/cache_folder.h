// CacheFolder: an open folder of a cache, through which its files are read and published.
//
// Every check is made on an open descriptor, so nothing can be exchanged between check and use:
// folders and files must belong to the user or to root and not be writable by group or others,
// files must be plain ones, and below the cache's own folder no symbolic link is followed. Folders
// above it need no check: whoever can exchange those cannot make files that belong to the user.
//
// What is absent gives nothing; every other failure throws Error{io} with the path and the reason.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/files.h"
#include "runtime/base/unique_fd.h"

namespace marlin {

struct FileStat {
  bool plain = false;  // false: a folder, a link, a device
  std::uint64_t bytes = 0;
  std::int64_t modified_ns = 0;  // since 1970
};

class CacheFolder {
 public:
  static std::optional<CacheFolder> open(const std::string& path);
  static CacheFolder create(const std::string& path);  // as make_folders() does
  std::optional<CacheFolder> subfolder(const std::string& name) const;
  CacheFolder create_subfolder(const std::string& name) const;

  const std::string& path() const { return path_; }
  int fd() const { return fd_.get(); }

  std::vector<std::string> names() const;                       // sorted, without . and ..
  std::optional<FileStat> stat(const std::string& name) const;  // of a link, not its target

  enum class Touch { no, yes };  // whether to note that the file was used
  std::optional<std::string> read(const std::string& name, std::size_t max_bytes,
                                  Touch touch = Touch::no) const;

  // Readers see the file whole or not at all, also after a power cut; when this throws, no
  // temporary is left. Temporaries are named <name>.tmp.<16 digits>.
  void publish(const std::string& name, std::string_view bytes,
               const PublishHook& hook = nullptr) const;
  bool remove(const std::string& name) const noexcept;  // the name itself, never a link's target

 private:
  CacheFolder(UniqueFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
  static std::optional<CacheFolder> open_at(int parent, const std::string& name,
                                            const std::string& path, int flags);
  UniqueFd fd_;
  std::string path_;
};

// The file at this path, links followed, under the same checks as a folder's files.
std::optional<std::string> read_checked_file(const std::string& path, std::size_t max_bytes);

}  // namespace marlin
