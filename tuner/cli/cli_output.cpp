// Results -> stdout or a file; progress and warnings -> stderr.
// Entry points: print, print_or_write, Progress.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "codegen/base/error.h"
#include "tuner/cli/cli_common.h"

namespace marlin {
namespace {

bool write_all(std::FILE* file, std::string_view text) {
  return std::fwrite(text.data(), 1, text.size(), file) == text.size() && std::fflush(file) == 0;
}

}  // namespace

void print(std::string_view text) {
  if (!write_all(stdout, text)) {
    throw Error(ErrorCode::io, fmt::format("stdout: {}", std::strerror(errno)));
  }
}

void print_or_write(std::string_view bytes, const std::string& path) {
  if (path.empty()) return print(bytes);
  std::string temporary = path + ".XXXXXX";
  const int fd = mkstemp(temporary.data());
  std::FILE* file = fd < 0 ? nullptr : fdopen(fd, "wb");
  bool written = file != nullptr && write_all(file, bytes);
  const mode_t mask = umask(0);
  umask(mask);
  written = written && fchmod(fd, 0666 & ~mask) == 0;
  int problem = errno;
  if (file != nullptr && std::fclose(file) != 0) {
    written = false;
    problem = errno;
  }
  if (written && std::rename(temporary.c_str(), path.c_str()) == 0) return;
  if (written) problem = errno;
  if (fd >= 0) unlink(temporary.c_str());
  throw Error(ErrorCode::io, fmt::format("{}: {}", path, std::strerror(problem)));
}

void warn(std::string_view line) { fmt::print(stderr, "marlin: {}\n", line); }

Progress::Progress(std::string label, std::size_t total)
    : label_(std::move(label)), total_(total), terminal_(isatty(STDERR_FILENO) == 1) {
  show("");
}

Progress::~Progress() {
  if (terminal_) std::fputs("\r\x1b[K", stderr);
}

void Progress::step(std::string_view what) {
  const std::lock_guard lock(mutex_);
  ++done_;
  show(what);
}

void Progress::show(std::string_view what) const {
  if (!terminal_) return;
  fmt::print(stderr, "\r\x1b[K{} {}/{} {}", label_, done_, total_, what);
  std::fflush(stderr);
}

}  // namespace marlin
