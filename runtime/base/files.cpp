// A name -> a temporary beside it, and the renaming; a path -> folders.
// Entry points: make_folders, PendingFile, write_all.
#include "runtime/base/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "codegen/base/error.h"

namespace marlin {
namespace {

constexpr std::string_view kTemporaryMark = ".tmp.";
constexpr std::size_t kTemporaryDigits = 16;

[[noreturn]] void fail(const std::string& path, const char* what, int error) {
  throw Error(ErrorCode::io,
              fmt::format("{}: {}: {}", path, what, std::generic_category().message(error)));
}

std::string random_digits() {
  std::uint64_t bits = 0;
  if (getrandom(&bits, sizeof(bits), 0) != sizeof(bits)) {
    throw Error(ErrorCode::io, "getrandom gave too few bytes");
  }
  return fmt::format("{:016x}", bits);
}

// A write beyond RLIMIT_FSIZE would kill the process by SIGXFSZ, so it is never tried.
bool beyond_file_limit(std::uint64_t bytes) {
  struct rlimit limit;
  return getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
         bytes > limit.rlim_cur;
}

}  // namespace

void make_folders(const std::string& path) {
  std::error_code error;
  if (path.empty() || std::filesystem::is_directory(path, error)) return;
  const std::filesystem::path itself(path);
  if (!itself.has_filename()) return make_folders(itself.parent_path());  // "a/" is "a"
  make_folders(itself.parent_path());
  if (mkdir(path.c_str(), kFolderMode) == 0) return;
  const int why = errno;
  // Made by another since, or something that is no folder.
  if (why == EEXIST && std::filesystem::is_directory(path, error)) return;
  fail(path, "cannot create the folder", why == EEXIST ? ENOTDIR : why);
}

void write_all(int fd, const std::string& name, std::string_view bytes, std::uint64_t written) {
  if (beyond_file_limit(written + bytes.size())) fail(name, "cannot write the file", EFBIG);
  while (!bytes.empty()) {
    const ssize_t put = retried([&] { return ::write(fd, bytes.data(), bytes.size()); });
    if (put <= 0) fail(name, "cannot write the file", put < 0 ? errno : EIO);
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
}

std::optional<std::string> published_name(std::string_view temporary) {
  const std::size_t mark = temporary.rfind(kTemporaryMark);
  if (mark == std::string_view::npos || mark == 0) return std::nullopt;
  const std::string_view digits = temporary.substr(mark + kTemporaryMark.size());
  if (digits.size() != kTemporaryDigits ||
      digits.find_first_not_of("0123456789abcdef") != std::string_view::npos) {
    return std::nullopt;
  }
  return std::string(temporary.substr(0, mark));
}

PendingFile::PendingFile(int folder, std::string name, PublishHook hook)
    : folder_(folder),
      name_(std::move(name)),
      temporary_(fmt::format("{}{}{}", name_, kTemporaryMark, random_digits())),
      hook_(std::move(hook)),
      fd_(retried([&] {
        return openat(folder_, temporary_.c_str(),
                      O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, kFileMode);
      })) {
  if (!fd_.valid()) fail("cannot create the file", errno);
  exists_ = true;
  step(PublishStep::created);
}

PendingFile::~PendingFile() {
  if (exists_) unlinkat(folder_, temporary_.c_str(), 0);
}

void PendingFile::write(std::string_view bytes) {
  write_all(fd_.get(), name_, bytes, written_);
  written_ += bytes.size();
}

void PendingFile::commit() {
  if (fsync(fd_.get()) != 0) fail("cannot sync the file", errno);
  step(PublishStep::synced);
  // Some network file systems report a full disk here. The descriptor is gone either way.
  if (close(fd_.release()) != 0 && errno != EINTR) fail("cannot close the file", errno);
  step(PublishStep::closed);
  if (renameat(folder_, temporary_.c_str(), folder_, name_.c_str()) != 0) {
    fail("cannot rename the file", errno);
  }
  exists_ = false;
  step(PublishStep::renamed);
}

void PendingFile::step(PublishStep step) const {
  if (hook_) hook_(step);
}

void PendingFile::fail(const char* what, int error) const { marlin::fail(name_, what, error); }

}  // namespace marlin
