// Results -> stdout, tables and JSON; progress and warnings -> stderr; SIGINT -> a flag.
// Entry points: print, table, Progress, catch_interrupts.
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "codegen/error.h"
#include "tuner/cli_common.h"

namespace marlin {
namespace {

volatile sig_atomic_t interrupt_seen = 0;

void note_interrupt(int) { interrupt_seen = 1; }

bool is_number(const std::string& cell) {
  return cell.find_first_not_of("0123456789.+-%") == std::string::npos &&
         cell.find_first_of("0123456789") != std::string::npos;
}

bool write_all(std::FILE* file, std::string_view text) {
  return std::fwrite(text.data(), 1, text.size(), file) == text.size() && std::fflush(file) == 0;
}

struct Column {
  std::size_t width = 0;
  bool numbers = true;
};

std::vector<Column> measure_columns(const std::vector<std::vector<std::string>>& rows) {
  std::vector<Column> columns;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    columns.resize(std::max(columns.size(), rows[r].size()));
    for (std::size_t c = 0; c < rows[r].size(); ++c) {
      columns[c].width = std::max(columns[c].width, rows[r][c].size());
      if (r > 0 && !rows[r][c].empty() && !is_number(rows[r][c])) columns[c].numbers = false;
    }
  }
  return columns;
}

}  // namespace

nlohmann::ordered_json json_result(std::string_view verb) {
  return {{"schema_version", kJsonSchema}, {"verb", verb}};
}

nlohmann::ordered_json to_json(const Shape& shape) {
  return {{"m", shape.m},
          {"n", shape.n},
          {"k", shape.k},
          {"group", shape.group},
          {"exact_m", shape.exact_m}};
}

nlohmann::ordered_json to_json(const Target& target) {
  return {{"arch", target.arch}, {"sms", target.sms}};
}

std::string text_of(const nlohmann::ordered_json& json) {
  // Bytes that are no UTF-8 can stand in paths and compiler logs.
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

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

std::string table(const std::vector<std::vector<std::string>>& rows) {
  const std::vector<Column> columns = measure_columns(rows);
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t c = 0; c < row.size(); ++c) {
      if (c > 0) line += "  ";
      line += columns[c].numbers ? fmt::format("{:>{}}", row[c], columns[c].width)
                                 : fmt::format("{:<{}}", row[c], columns[c].width);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

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

void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = note_interrupt;
  action.sa_flags = static_cast<int>(SA_RESETHAND) | SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool interrupted() { return interrupt_seen != 0; }

}  // namespace marlin
