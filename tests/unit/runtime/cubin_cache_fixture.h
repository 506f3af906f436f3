// What the cubin cache's tests share: a scratch folder, entries with a stand-in for a cubin, and
// children that can be killed, starved or made somebody else.
#pragma once

#include <elf.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <new>
#include <random>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "runtime/base/sha256.h"
#include "runtime/cache/cubin_cache.h"

namespace marlin::test {

namespace fs = std::filesystem;

class ScratchDir {
 public:
  ScratchDir() {
    std::string pattern = (fs::temp_directory_path() / "marlin-cache-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) {
      throw std::system_error(errno, std::generic_category(), pattern);
    }
    path_ = pattern;
    fs::permissions(path_, fs::perms(0755));
  }
  ScratchDir(const ScratchDir&) = delete;
  ScratchDir& operator=(const ScratchDir&) = delete;
  ~ScratchDir() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  fs::path path_;
};

// An ELF header as NVRTC 13 writes it for this machine number, and `bytes` of seeded noise.
inline std::string stand_in_cubin(int machine, std::size_t bytes, unsigned seed) {
  Elf64_Ehdr header = {};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_ident[EI_OSABI] = 0x41;
  header.e_ident[EI_ABIVERSION] = 8;
  header.e_machine = EM_CUDA;
  header.e_flags = 0x06000004U | static_cast<unsigned>(machine) << 8;
  std::string cubin(sizeof(header) + bytes, '\0');
  std::memcpy(cubin.data(), &header, sizeof(header));
  std::mt19937 random(seed);
  for (std::size_t i = sizeof(header); i < cubin.size(); ++i) {
    cubin[i] = static_cast<char>(random());
  }
  return cubin;
}

// Entries of different numbers have different keys and cubins; `build` changes the cubin alone, as
// when the same kernel is compiled twice.
inline CacheEntry make_entry(unsigned number, std::size_t bytes = 64, unsigned build = 0) {
  CacheEntry entry;
  entry.meta.key = {.schema = 1,
                    .source_sha256 = sha256_hex("source " + std::to_string(number)),
                    .options = {"--std=c++20", "--use_fast_math"},
                    .arch = "sm_90a",
                    .entry = "marlin_kernel",
                    .nvrtc = "13.0 0123abcd"};
  entry.meta.problem = "16x4096x4096 g128";
  entry.meta.config = "m16 n256 w4x2 k32 s4 weights split1 b1";
  entry.meta.sms = 132;
  entry.meta.threads = 256;
  entry.meta.shared_bytes = 65536;
  entry.meta.registers = 168;
  entry.meta.compile_ms = 412.5;
  entry.cubin = stand_in_cubin(90, bytes, number * 1000 + build);
  return entry;
}

inline std::string key_of(const CacheEntry& entry) { return cache_key(entry.meta.key); }

inline std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// In place and cut to size afterwards: ext4 flushes a file to disk that is emptied and rewritten.
inline void write_file(const std::string& path, std::string_view bytes) {
  const UniqueFd file(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  const auto size = static_cast<ssize_t>(bytes.size());
  if (write(file.get(), bytes.data(), bytes.size()) != size || ftruncate(file.get(), size) != 0) {
    throw std::system_error(errno, std::generic_category(), path);
  }
}

inline std::vector<std::string> temporaries_in(const std::string& dir) {
  std::vector<std::string> found;
  std::error_code error;
  for (const auto& file : fs::recursive_directory_iterator(dir, error)) {
    const std::string name = file.path().filename().string();
    if (name.find(".tmp.") != std::string::npos) found.push_back(file.path().string());
  }
  return found;
}

// The paths below dir that list() finds wrong, each with the reason.
inline std::vector<std::string> damaged_in(const std::string& dir) {
  std::vector<std::string> damaged;
  for (const ListedEntry& listed : CubinCache(dir, true).list()) {
    if (!listed.why.empty()) damaged.push_back(listed.path + ": " + listed.why);
  }
  return damaged;
}

// A child runs `body` and exits with what it returns; 99 when it throws.
template <typename Body>
pid_t start_child(Body body) {
  const pid_t child = fork();
  if (child != 0) return child;
  int code = 99;
  try {
    code = body();
  } catch (...) {
  }
  _exit(code);
}

// The exit code of a child, or 128 and the signal that ended it.
inline int wait_for(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return -1;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

template <typename Body>
int in_child(Body body) {
  return wait_for(start_child(body));
}

inline bool is_root() { return geteuid() == 0; }

constexpr uid_t kNobody = 65534;

// In a child of a root process only: there is no way back.
inline bool become(uid_t user) {
  return setgid(static_cast<gid_t>(user)) == 0 && setuid(user) == 0 && geteuid() == user;
}

// From now on this process's system call `number` fails with `error`; with a second argument, only
// when that is `argument1`. For children. False where filters are not allowed.
inline bool fail_system_call(long number, int error, int argument1 = -1) {
  const auto nr = static_cast<std::uint32_t>(offsetof(seccomp_data, nr));
  const auto arg1 = static_cast<std::uint32_t>(offsetof(seccomp_data, args) + 8);
  const auto fail = SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(error);
  const std::uint8_t skip_argument = argument1 < 0 ? 2 : 0;
  std::array<sock_filter, 7> filter = {{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, nr),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(number), 0, 4),
      BPF_JUMP(BPF_JMP | BPF_JA, skip_argument, 0, 0),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, arg1),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(argument1), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, fail),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  const sock_fprog program = {static_cast<unsigned short>(filter.size()), filter.data()};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

// A pipe on which processes wait for each other.
class Signal {
 public:
  Signal() {
    if (pipe(ends_.data()) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
  }
  Signal(const Signal&) = delete;
  Signal& operator=(const Signal&) = delete;
  ~Signal() {
    for (const int end : ends_) close(end);
  }
  void raise(int times = 1) const {
    const std::string tokens(static_cast<std::size_t>(times), '.');
    if (write(ends_[1], tokens.data(), tokens.size()) < 0) _exit(98);
  }
  void await(int times = 1) const {
    for (int i = 0; i < times; ++i) {
      char token = 0;
      while (read(ends_[0], &token, 1) < 0 && errno == EINTR) {
      }
    }
  }

 private:
  std::array<int, 2> ends_{};
};

// Counts that a process shares with the children it starts afterwards.
class SharedCounts {
 public:
  explicit SharedCounts(std::size_t size) : bytes_(sizeof(State) + size * sizeof(int)) {
    void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
    state_ = new (memory) State;
    counts_ = reinterpret_cast<int*>(state_ + 1);
    pthread_mutexattr_t mutex;
    pthread_mutexattr_init(&mutex);
    pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&state_->mutex, &mutex);
    pthread_condattr_t condition;
    pthread_condattr_init(&condition);
    pthread_condattr_setpshared(&condition, PTHREAD_PROCESS_SHARED);
    pthread_cond_init(&state_->changed, &condition);
  }
  SharedCounts(const SharedCounts&) = delete;
  SharedCounts& operator=(const SharedCounts&) = delete;
  ~SharedCounts() { munmap(state_, bytes_); }

  void add(std::size_t which) const {
    pthread_mutex_lock(&state_->mutex);
    ++counts_[which];
    pthread_cond_broadcast(&state_->changed);
    pthread_mutex_unlock(&state_->mutex);
  }
  // Returns once the count has come to `least`.
  void await(std::size_t which, int least) const {
    pthread_mutex_lock(&state_->mutex);
    while (counts_[which] < least) pthread_cond_wait(&state_->changed, &state_->mutex);
    pthread_mutex_unlock(&state_->mutex);
  }
  // Counts the caller, and waits for the others of so many.
  void meet(std::size_t which, int all) const {
    add(which);
    await(which, all);
  }

 private:
  struct State {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
  };
  std::size_t bytes_;
  State* state_ = nullptr;
  int* counts_ = nullptr;
};

// Sees a file being opened, by whichever process, from when this is made.
class Opens {
 public:
  explicit Opens(const std::string& path) : events_(inotify_init1(IN_CLOEXEC)) {
    if (inotify_add_watch(events_.get(), path.c_str(), IN_OPEN) < 0) {
      throw std::system_error(errno, std::generic_category(), path);
    }
  }
  // Returns after so many more; two that follow closely may count as one.
  void await(int times = 1) const {
    for (int i = 0; i < times; ++i) {
      inotify_event event{};
      while (read(events_.get(), &event, sizeof(event)) < 0 && errno == EINTR) {
      }
    }
  }

 private:
  UniqueFd events_;
};

}  // namespace marlin::test
