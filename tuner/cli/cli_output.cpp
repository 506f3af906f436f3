// Results -> stdout or a file; progress and warnings -> stderr.
// Entry points: print, print_or_write, report, Progress.
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "codegen/base/error.h"
#include "runtime/base/output_file.h"
#include "tuner/cli/cli_common.h"

namespace marlin {

void print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    throw Error(ErrorCode::io, fmt::format("stdout: {}", std::strerror(errno)));
  }
}

void print_or_write(std::string_view bytes, const std::string& path) {
  if (path.empty()) return print(bytes);
  OutputFile file(path);
  file.write(bytes);
  file.commit();
}

void report(std::string_view text, const std::string& output) {
  if (!goes_to_stdout(output)) return print(text);
  fmt::print(stderr, "{}", text);
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
