// A cubin in memory -> its SASS, as text that nvdisasm or cuobjdump prints.
// Entry points: find_disassembler, disassemble.
#include "tuner/cli/disassembler.h"

#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <vector>

#include "codegen/base/error.h"
#include "runtime/base/unique_fd.h"

namespace marlin {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> search_folders() {
  std::vector<fs::path> folders;
  const char* path = std::getenv("PATH");
  for (std::string_view rest = path != nullptr ? path : ""; !rest.empty();) {
    const std::size_t end = std::min(rest.find(':'), rest.size());
    if (end > 0) folders.emplace_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  for (const char* name : {"CUDA_HOME", "CUDA_PATH"}) {
    const char* home = std::getenv(name);
    if (home != nullptr && *home != '\0') folders.push_back(fs::path(home) / "bin");
  }
  folders.emplace_back("/usr/local/cuda/bin");
  return folders;
}

[[noreturn]] void fail(const std::string& what, int problem) {
  throw Error(ErrorCode::io, fmt::format("{}: {}", what, std::strerror(problem)));
}

// A file in the folder for temporaries that is removed with this object.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::string_view bytes) {
    path_ = (fs::temp_directory_path() / "marlin-XXXXXX").string();
    const UniqueFd fd(mkstemp(path_.data()));
    if (!fd.valid()) fail(path_, errno);
    while (!bytes.empty()) {
      const ssize_t written = write(fd.get(), bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) {
        const int problem = errno;
        unlink(path_.c_str());
        fail(path_, problem);
      }
      bytes.remove_prefix(static_cast<std::size_t>(written));
    }
  }
  ~TemporaryFile() { unlink(path_.c_str()); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::string read_all(int fd) {
  std::string text;
  char buffer[1 << 14];
  for (;;) {
    const ssize_t got = read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return text;
    text.append(buffer, static_cast<std::size_t>(got));
  }
}

// The program's stdout; its stderr goes where ours goes.
std::string output_of(const std::vector<std::string>& command) {
  int ends[2];
  if (pipe(ends) != 0) fail("pipe", errno);
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, writer.get(), STDOUT_FILENO);
  posix_spawn_file_actions_addclose(&actions, reader.get());
  std::vector<char*> arguments;
  arguments.reserve(command.size() + 1);
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  pid_t child = 0;
  const int problem =
      posix_spawn(&child, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (problem != 0) fail(command.front(), problem);
  writer = UniqueFd();
  std::string text = read_all(reader.get());
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    throw Error(ErrorCode::io, fmt::format("{} failed", command.front()));
  }
  return text;
}

}  // namespace

std::string find_disassembler() {
  for (const char* name : {"nvdisasm", "cuobjdump"}) {
    for (const fs::path& folder : search_folders()) {
      const fs::path tool = folder / name;
      std::error_code ignored;
      if (fs::is_regular_file(tool, ignored) && access(tool.c_str(), X_OK) == 0) {
        return tool.string();
      }
    }
  }
  return {};
}

std::string disassemble(const std::string& tool, std::string_view cubin) {
  const TemporaryFile file(cubin);
  if (fs::path(tool).filename() == "cuobjdump") return output_of({tool, "-sass", file.path()});
  return output_of({tool, "--print-code", file.path()});
}

}  // namespace marlin
