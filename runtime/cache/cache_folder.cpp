// A path -> an open folder whose owner and mode were checked; files in it -> bytes and back.
// Entry points: CacheFolder::open, CacheFolder::create, read_checked_file.
#include "runtime/cache/cache_folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <system_error>

#include "codegen/base/error.h"

namespace marlin {
namespace {

[[noreturn]] void refuse(const std::string& path, std::string_view why) {
  throw Error(ErrorCode::io, fmt::format("{}: {}", path, why));
}

[[noreturn]] void fail(const std::string& path, const char* what, int error) {
  refuse(path, fmt::format("{}: {}", what, std::generic_category().message(error)));
}

struct stat checked_stat(int fd, const std::string& path) {
  struct stat info;
  if (fstat(fd, &info) != 0) fail(path, "fstat", errno);
  if (info.st_uid != geteuid() && info.st_uid != 0) {
    refuse(path, fmt::format("belongs to user {}, not to user {} or root", info.st_uid, geteuid()));
  }
  if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    refuse(path, fmt::format("others may write it (mode {:04o})", info.st_mode & 07777));
  }
  return info;
}

// What is absent gives nothing; all checks are made on the open descriptor.
std::optional<std::string> read_at(int folder, const std::string& name, const std::string& path,
                                   int flags, std::size_t max_bytes, CacheFolder::Touch touch) {
  // O_NONBLOCK: opening a FIFO must not wait for a writer.
  const UniqueFd file(retried([&] {
    return openat(folder, name.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | flags);
  }));
  if (!file.valid()) {
    if (errno == ENOENT) return std::nullopt;
    const bool link = errno == ELOOP && (flags & O_NOFOLLOW) != 0;
    fail(path, link ? "is a symbolic link" : "cannot open the file", errno);
  }
  const struct stat info = checked_stat(file.get(), path);
  if (!S_ISREG(info.st_mode)) refuse(path, "is not a plain file");
  const auto size = static_cast<std::uint64_t>(info.st_size);
  if (size > max_bytes) refuse(path, fmt::format("has {} bytes, over {}", size, max_bytes));
  std::string bytes(size, '\0');
  std::size_t filled = 0;
  while (filled < bytes.size()) {
    const ssize_t got =
        retried([&] { return ::read(file.get(), bytes.data() + filled, bytes.size() - filled); });
    if (got < 0) fail(path, "cannot read the file", errno);
    if (got == 0) refuse(path, "became shorter while it was read");
    filled += static_cast<std::size_t>(got);
  }
  // Not being allowed to, on a read-only mount for one, only makes the file look less used.
  if (touch == CacheFolder::Touch::yes) futimens(file.get(), nullptr);
  return bytes;
}

}  // namespace

std::optional<CacheFolder> CacheFolder::open_at(int parent, const std::string& name,
                                                const std::string& path, int flags) {
  UniqueFd fd(retried(
      [&] { return openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | flags); }));
  if (!fd.valid()) {
    if (errno == ENOENT) return std::nullopt;
    fail(path, "cannot open the folder", errno);
  }
  checked_stat(fd.get(), path);
  return CacheFolder(std::move(fd), path);
}

std::optional<CacheFolder> CacheFolder::open(const std::string& path) {
  return open_at(AT_FDCWD, path, path, 0);
}

CacheFolder CacheFolder::create(const std::string& path) {
  if (auto folder = open(path)) return std::move(*folder);
  make_folders(path);
  auto folder = open(path);
  if (!folder) fail(path, "cannot open the folder", ENOENT);
  return std::move(*folder);
}

std::optional<CacheFolder> CacheFolder::subfolder(const std::string& name) const {
  return open_at(fd(), name, path_ + "/" + name, O_NOFOLLOW);
}

CacheFolder CacheFolder::create_subfolder(const std::string& name) const {
  if (auto folder = subfolder(name)) return std::move(*folder);
  const std::string path = path_ + "/" + name;
  if (mkdirat(fd(), name.c_str(), kFolderMode) != 0 && errno != EEXIST) {
    fail(path, "cannot create the folder", errno);
  }
  auto folder = subfolder(name);
  if (!folder) fail(path, "cannot open the folder", ENOENT);
  return std::move(*folder);
}

std::vector<std::string> CacheFolder::names() const {
  // fdopendir takes the descriptor's place in the folder, hence one of its own.
  UniqueFd own(openat(fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!own.valid()) fail(path_, "cannot open the folder", errno);
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(fdopendir(own.get()), &closedir);
  if (!stream) fail(path_, "cannot list the folder", errno);
  own.release();
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = readdir(stream.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
    errno = 0;
  }
  if (errno != 0) fail(path_, "cannot list the folder", errno);
  std::sort(names.begin(), names.end());
  return names;
}

std::optional<FileStat> CacheFolder::stat(const std::string& name) const {
  struct stat info;
  if (fstatat(fd(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return std::nullopt;
    fail(path_ + "/" + name, "stat", errno);
  }
  return FileStat{
      .plain = S_ISREG(info.st_mode),
      .bytes = static_cast<std::uint64_t>(info.st_size),
      .modified_ns = std::int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec};
}

std::optional<std::string> CacheFolder::read(const std::string& name, std::size_t max_bytes,
                                             Touch touch) const {
  return read_at(fd(), name, path_ + "/" + name, O_NOFOLLOW, max_bytes, touch);
}

std::optional<std::string> read_checked_file(const std::string& path, std::size_t max_bytes) {
  return read_at(AT_FDCWD, path, path, 0, max_bytes, CacheFolder::Touch::no);
}

void CacheFolder::publish(const std::string& name, std::string_view bytes,
                          const PublishHook& hook) const {
  try {
    PendingFile file(fd(), name, hook);
    file.write(bytes.substr(0, bytes.size() / 2));
    if (hook) hook(PublishStep::half_written);
    file.write(bytes.substr(bytes.size() / 2));
    if (hook) hook(PublishStep::written);
    file.commit();
  } catch (const Error& error) {
    refuse(path_, error.what());
  }
  // The file is in place whether or not this succeeds; at worst a power cut takes it away.
  fsync(fd());
  if (hook) hook(PublishStep::folder_synced);
}

bool CacheFolder::remove(const std::string& name) const noexcept {
  return unlinkat(fd(), name.c_str(), 0) == 0;
}

}  // namespace marlin
