// A path -> a descriptor that is written through, or a file that is written aside and renamed.
// Entry points: OutputFile, goes_to_stdout.
#include "runtime/base/output_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

#include "codegen/base/error.h"

namespace marlin {
namespace {

constexpr int kMostLinks = 40;  // as the kernel follows

[[noreturn]] void fail(const std::string& path, int error) {
  throw Error(ErrorCode::io, fmt::format("{}: {}", path, std::generic_category().message(error)));
}

// The descriptor of this process that a path stands for.
std::optional<int> descriptor_of(std::string_view path) {
  if (path == "-" || path == "/dev/stdout") return STDOUT_FILENO;
  if (path == "/dev/stderr") return STDERR_FILENO;
  for (const std::string_view folder : {"/dev/fd/", "/proc/self/fd/"}) {
    if (!path.starts_with(folder)) continue;
    int number = -1;
    const char* end = path.data() + path.size();
    const auto [rest, error] = std::from_chars(path.data() + folder.size(), end, number);
    if (error == std::errc() && rest == end && number >= 0) return number;
  }
  return std::nullopt;
}

std::string behind_links(const std::string& path) {
  std::filesystem::path file = path;
  std::error_code error;
  for (int i = 0; i < kMostLinks; ++i) {
    const std::filesystem::path target = std::filesystem::read_symlink(file, error);
    if (error) return file;
    file = file.parent_path() / target;  // an absolute target replaces all of it
  }
  fail(path, ELOOP);
}

}  // namespace

OutputFile::OutputFile(std::string path) : path_(std::move(path)) {
  if (const auto number = descriptor_of(path_)) {
    std::fflush(nullptr);  // what was printed before comes first
    through_ = *number;
    return;
  }
  struct stat info = {};
  const bool there = stat(path_.c_str(), &info) == 0;
  if (!there && errno != ENOENT) fail(path_, errno);
  if (there && S_ISDIR(info.st_mode)) fail(path_, EISDIR);
  if (!there || S_ISREG(info.st_mode)) {
    pending_.emplace(AT_FDCWD, behind_links(path_));
    return;
  }
  opened_ = UniqueFd(open(path_.c_str(), O_WRONLY | O_NOCTTY | O_CLOEXEC));
  if (!opened_.valid()) fail(path_, errno);
  through_ = opened_.get();
}

void OutputFile::write(std::string_view bytes) {
  pending_ ? pending_->write(bytes) : write_all(through_, path_, bytes);
}

void OutputFile::commit() {
  if (pending_) return pending_->commit();
  if (opened_.valid() && close(opened_.release()) != 0 && errno != EINTR) fail(path_, errno);
}

bool goes_to_stdout(std::string_view path) { return descriptor_of(path) == STDOUT_FILENO; }

}  // namespace marlin
