// Records of a search <-> lines at the end of the user's tuning database.
// Entry points: TuningJournal::records, TuningJournal::append.
#include "tuner/search/tuning_journal.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "codegen/base/error.h"
#include "runtime/base/files.h"
#include "runtime/choose/tuning_db.h"

namespace marlin {
namespace {

[[noreturn]] void fail(const std::string& path, const char* what, int error) {
  throw Error(ErrorCode::io, fmt::format("{}: {}: {}", path, what, std::strerror(error)));
}

// Keeps other processes from the file's end while a line is written or a torn one cut off.
class FileLock {
 public:
  explicit FileLock(int fd) : fd_(fd) {
    while (flock(fd_, LOCK_EX) != 0 && errno == EINTR) {
    }
  }
  ~FileLock() { flock(fd_, LOCK_UN); }
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int fd_;
};

off_t size_of(int fd, const std::string& path) {
  struct stat status {};
  if (fstat(fd, &status) != 0) fail(path, "cannot be read", errno);
  return status.st_size;
}

UniqueFd open_for_append(const std::string& path) {
  try {
    make_folders(std::filesystem::path(path).parent_path());
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("{}: {}", path, error.what()));
  }
  UniqueFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, kFileMode));
  if (fd.get() < 0) fail(path, "cannot be opened", errno);
  return fd;
}

}  // namespace

TuningJournal::TuningJournal(std::string path, TuningSubject subject)
    : path_(std::move(path)), subject_(std::move(subject)), fd_(open_for_append(path_)) {
  const FileLock lock(fd_.get());
  // The checks of every reader, so that nothing is measured for a file that nobody would read.
  const auto file = TuningFile::read(path_);
  const std::string_view text = file ? file->text() : std::string_view();
  const std::size_t whole = text.rfind('\n') + 1;  // 0 when there is no whole line
  if (whole < text.size() && ftruncate(fd_.get(), static_cast<off_t>(whole)) != 0) {
    fail(path_, "its torn last line cannot be cut off", errno);
  }
  load(text.substr(0, whole));
}

void TuningJournal::load(std::string_view text) {
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const ParsedLine line = parse_line(text.substr(0, end));
    text.remove_prefix(end + 1);
    if (!line.record) continue;
    const TuningRecord& record = *line.record;
    if (record.gpu != subject_.gpu || record.target != subject_.target) continue;
    if (record.chained != subject_.chained) continue;
    if (current_schema(record)) records_[to_string(record.problem)].push_back(record);
  }
}

std::vector<TuningRecord> TuningJournal::records(const Problem& problem) const {
  const std::lock_guard lock(mutex_);
  const auto found = records_.find(to_string(problem));
  return found == records_.end() ? std::vector<TuningRecord>() : found->second;
}

TuningRecord TuningJournal::append(TuningRecord record) {
  record.gpu = subject_.gpu;
  record.target = subject_.target;
  record.chained = subject_.chained;
  record.nvrtc = subject_.nvrtc;
  record.driver = subject_.driver;
  const std::string line = to_line(record);
  const std::lock_guard lock(mutex_);
  const FileLock file_lock(fd_.get());
  const off_t before = size_of(fd_.get(), path_);
  const ssize_t written = write(fd_.get(), line.data(), line.size());
  const int error = written < 0 ? errno : ENOSPC;
  if (written != static_cast<ssize_t>(line.size())) {
    if (written > 0 && ftruncate(fd_.get(), before) != 0) {
      fail(path_, "part of a line cannot be taken back", errno);
    }
    fail(path_, "a record cannot be written", error);
  }
  if (fsync(fd_.get()) != 0) fail(path_, "a record cannot be synced", errno);
  record = *parse_line(std::string_view(line).substr(0, line.size() - 1)).record;
  return records_[to_string(record.problem)].emplace_back(std::move(record));
}

}  // namespace marlin
