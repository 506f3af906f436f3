// Publishing that is killed (promise 1), fails (promise 3) or loses a race (promise 7).
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <iterator>

#include "tests/unit/runtime/cubin_cache_fixture.h"

namespace marlin::test {
namespace {

constexpr PublishStep kSteps[] = {
    PublishStep::created, PublishStep::half_written, PublishStep::written,      PublishStep::synced,
    PublishStep::closed,  PublishStep::renamed,      PublishStep::folder_synced};

class CubinPublish : public ::testing::Test {
 protected:
  // What any reader may find: nothing, or one of these whole.
  void expect_one_of(const CacheEntry& entry, const std::vector<CacheEntry>& allowed,
                     bool may_miss) {
    std::string why;
    const auto found = CubinCache(dir_).load(key_of(entry), &why);
    EXPECT_EQ(why, "");
    if (found) {
      EXPECT_TRUE(std::find(allowed.begin(), allowed.end(), *found) != allowed.end());
    } else {
      EXPECT_TRUE(may_miss);
    }
    EXPECT_EQ(damaged_in(dir_), std::vector<std::string>());
  }

  ScratchDir scratch_;
  std::string dir_ = scratch_ / "cache";
};

TEST_F(CubinPublish, KilledAtEveryStep) {
  constexpr int kRounds = 12;
  unsigned number = 0;
  for (int round = 0; round < kRounds; ++round) {
    for (const PublishStep last : kSteps) {
      const bool replaces = round % 2 == 1;
      const CacheEntry before = make_entry(++number, 3000), after = make_entry(number, 5000, 1);
      if (replaces) {
        ASSERT_TRUE(CubinCache(dir_).store(before));
      }
      const auto kill_at_last = [&](PublishStep step) {
        if (step == last) raise(SIGKILL);
      };
      const int code = in_child([&] {
        CubinCache({.dir = dir_, .on_publish = kill_at_last}).store(after);
        return 0;
      });
      ASSERT_EQ(code, 128 + SIGKILL);
      const auto found = CubinCache(dir_).load(key_of(after));
      if (last >= PublishStep::renamed) {
        EXPECT_EQ(found, after);
      } else {
        EXPECT_EQ(found, replaces ? std::optional(before) : std::nullopt);
      }
    }
  }
  EXPECT_EQ(damaged_in(dir_), std::vector<std::string>());
  EXPECT_EQ(temporaries_in(dir_).size(), kRounds * 5U);
  CubinCache cache(dir_);
  EXPECT_EQ(cache.gc({.cap_bytes = kDefaultCacheCap}).temporaries_removed, 0);
  const std::chrono::seconds now{0};
  EXPECT_EQ(cache.gc({.cap_bytes = kDefaultCacheCap, .temporary_age = now}).temporaries_removed,
            kRounds * 5);
  EXPECT_TRUE(temporaries_in(dir_).empty());
}

TEST_F(CubinPublish, KilledAtRandomMoments) {
  constexpr unsigned kSeed = 20260101;
  std::mt19937 random(kSeed);
  // The child goes on while the parent counts its steps: the kill comes anywhere after the last.
  constexpr int kMostSteps = 4 * static_cast<int>(std::size(kSteps));
  const CacheEntry one = make_entry(1, 200000), two = make_entry(1, 300000, 1);
  for (int round = 0; round < 40; ++round) {
    const Signal step;
    const pid_t child = start_child([&] {
      CubinCache cache({.dir = dir_, .on_publish = [&](PublishStep) { step.raise(); }});
      while (true) {
        cache.store(one);
        cache.store(two);
      }
      return 0;
    });
    step.await(static_cast<int>(random() % kMostSteps));
    kill(child, SIGKILL);
    ASSERT_EQ(wait_for(child), 128 + SIGKILL);
    expect_one_of(one, {one, two},
                  round == 0 || !fs::exists(CubinCache(dir_).path_of(key_of(one))));
  }
}

TEST_F(CubinPublish, ReadersDuringPublishing) {
  const CacheEntry one = make_entry(1, 100000), two = make_entry(1, 150000, 1);
  ASSERT_TRUE(CubinCache(dir_).store(one));
  const pid_t writer = start_child([&] {
    CubinCache cache(dir_);
    for (int i = 0; i < 150; ++i) {
      if (!cache.store(i % 2 == 0 ? two : one)) return 1;
    }
    return 0;
  });
  int status = 0;
  while (waitpid(writer, &status, WNOHANG) == 0) expect_one_of(one, {one, two}, false);
  EXPECT_EQ(status, 0);
}

// In a child that `prepare` has crippled: the caller gets its own build and the reason why it was
// not kept, in which `reason` stands, and no temporary stays. `prepare` returns 77 where this
// system cannot do what it needs.
template <typename Prepare>
int build_in_crippled_child(const std::string& dir, std::size_t bytes, const std::string& reason,
                            Prepare prepare) {
  return in_child([&] {
    if (const int code = prepare()) return code;
    CubinCache cache(dir);
    const CacheEntry entry = make_entry(1, bytes);
    const BuiltEntry built =
        load_or_build(cache, key_of(entry), [&] { return make_entry(1, bytes); });
    if (!(built.entry == entry) || built.from_cache) return 1;
    if (built.store_error.find(reason) == std::string::npos || built.store_error.empty()) {
      dprintf(STDERR_FILENO, "\"%s\" lacks \"%s\"\n", built.store_error.c_str(), reason.c_str());
      return 2;
    }
    return temporaries_in(dir).empty() ? 0 : 3;
  });
}

TEST_F(CubinPublish, EverySystemCallThatFails) {
  struct {
    const char* name;
    long number;
    int error;
  } const calls[] = {
      {"write", SYS_write, ENOSPC},
      {"write", SYS_write, EDQUOT},
      {"fsync", SYS_fsync, EIO},
      {"close", SYS_close, EIO},
      {"getrandom", SYS_getrandom, ENOSYS},
      {"mkdirat", SYS_mkdirat, EROFS},
#ifdef SYS_renameat
      {"renameat", SYS_renameat, EXDEV},
#else
      {"renameat", SYS_renameat2, EXDEV},
#endif
  };
  for (const auto& call : calls) {
    const std::string reason = call.number == SYS_getrandom ? "getrandom" : strerror(call.error);
    const int code = build_in_crippled_child(scratch_ / call.name, 1000, reason, [&] {
      return fail_system_call(call.number, call.error) ? 0 : 77;
    });
    if (code == 77) GTEST_SKIP() << "needs seccomp filters";
    EXPECT_EQ(code, 0) << call.name << " " << std::strerror(call.error);
  }
}

TEST_F(CubinPublish, FileSizeLimit) {
  const int code = build_in_crippled_child(dir_, 10000, strerror(EFBIG), [] {
    const rlimit limit{4096, 4096};
    return setrlimit(RLIMIT_FSIZE, &limit) == 0 ? 0 : 77;
  });
  EXPECT_EQ(code, 0);  // 128 + SIGXFSZ would be the kernel's answer to a write beyond the limit
}

// Lets this process mount what it alone sees; also without root where user namespaces are allowed,
// as a user who stays the same.
bool may_mount() {
  const uid_t user = geteuid();
  const gid_t group = getegid();
  if (unshare(CLONE_NEWNS | (is_root() ? 0 : CLONE_NEWUSER)) != 0) return false;
  if (user != 0) {
    std::ofstream("/proc/self/uid_map") << user << ' ' << user << " 1\n";
    std::ofstream("/proc/self/setgroups") << "deny";
    std::ofstream("/proc/self/gid_map") << group << ' ' << group << " 1\n";
    if (geteuid() != user || getegid() != group) return false;
  }
  return mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
}

int mount_tmpfs(const std::string& dir, unsigned long flags, const std::string& options) {
  const std::string all = options + ",mode=755,uid=" + std::to_string(geteuid());
  return may_mount() && mount("tmpfs", dir.c_str(), "tmpfs", flags, all.c_str()) == 0 ? 0 : 77;
}

TEST_F(CubinPublish, FullDisk) {
  fs::create_directory(dir_);
  const int code = build_in_crippled_child(dir_, 300000, strerror(ENOSPC),
                                           [&] { return mount_tmpfs(dir_, 0, "size=64k"); });
  if (code == 77) GTEST_SKIP() << "may not mount a file system here";
  EXPECT_EQ(code, 0);
}

TEST_F(CubinPublish, NoInodeLeft) {
  fs::create_directory(dir_);
  const int code = build_in_crippled_child(dir_, 1000, strerror(ENOSPC),
                                           [&] { return mount_tmpfs(dir_, 0, "nr_inodes=4"); });
  if (code == 77) GTEST_SKIP() << "may not mount a file system here";
  EXPECT_EQ(code, 0);
}

TEST_F(CubinPublish, ReadOnlyMount) {
  fs::create_directory(dir_);
  const int code = build_in_crippled_child(
      dir_, 1000, strerror(EROFS), [&] { return mount_tmpfs(dir_, MS_RDONLY, "size=64k"); });
  if (code == 77) GTEST_SKIP() << "may not mount a file system here";
  EXPECT_EQ(code, 0);
}

TEST_F(CubinPublish, HitOnAReadOnlyMount) {
  const CacheEntry entry = make_entry(1);
  ASSERT_TRUE(CubinCache(dir_).store(entry));
  const int code = in_child([&] {
    if (!may_mount()) return 77;
    const char* dir = dir_.c_str();
    if (mount(dir, dir, nullptr, MS_BIND, nullptr) != 0) return 77;
    if (mount(nullptr, dir, nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr) != 0) return 77;
    return CubinCache(dir_).load(key_of(entry)) == entry ? 0 : 1;
  });
  if (code == 77) GTEST_SKIP() << "may not mount a file system here";
  EXPECT_EQ(code, 0);
}

TEST_F(CubinPublish, FolderThatMayNotBeWritten) {
  fs::create_directory(dir_);
  fs::permissions(dir_, fs::perms(is_root() ? 0555 : 0500));
  const int code = build_in_crippled_child(dir_, 1000, strerror(EACCES),
                                           [] { return !is_root() || become(kNobody) ? 0 : 1; });
  EXPECT_EQ(code, 0);
}

TEST_F(CubinPublish, FolderOfAnotherUser) {
  if (!is_root()) GTEST_SKIP() << "only root can become another user";
  fs::create_directory(dir_);
  fs::permissions(dir_, fs::perms(0500));
  const int code =
      build_in_crippled_child(dir_, 1000, strerror(EACCES), [] { return become(kNobody) ? 0 : 1; });
  EXPECT_EQ(code, 0);
}

TEST_F(CubinPublish, FolderThatIsAFile) {
  write_file(dir_, "a file");
  EXPECT_EQ(build_in_crippled_child(dir_, 1000, strerror(ENOTDIR), [] { return 0; }), 0);
  EXPECT_EQ(build_in_crippled_child(dir_ + "/below", 1000, strerror(ENOTDIR), [] { return 0; }), 0);
  EXPECT_EQ(read_file(dir_), "a file");
}

TEST_F(CubinPublish, EntryNameTakenByAFolder) {
  fs::create_directories(CubinCache(dir_).path_of(key_of(make_entry(1))));
  EXPECT_EQ(build_in_crippled_child(dir_, 1000, strerror(EISDIR), [] { return 0; }), 0);
}

TEST_F(CubinPublish, NoFolderAtAll) {
  const int code = build_in_crippled_child(
      "", 1000, "no cache folder", [&] { return chdir((scratch_ / "").c_str()) == 0 ? 0 : 1; });
  EXPECT_EQ(code, 0);
  EXPECT_TRUE(fs::is_empty(scratch_ / ""));
}

TEST_F(CubinPublish, HomeUnsetKeepsKernelsInMemory) {
  const int code = build_in_crippled_child("", 1000, "no cache folder", [] {
    for (const char* name : {"MARLIN_CACHE_DIR", "XDG_CACHE_HOME", "HOME"}) unsetenv(name);
    return default_cache_dir().empty() && !CubinCache(default_cache_dir()).enabled() ? 0 : 1;
  });
  EXPECT_EQ(code, 0);
}

TEST_F(CubinPublish, ReadOnlyCacheIsNeverWritten) {
  fs::create_directory(dir_);
  CubinCache cache(dir_, true);
  std::string why;
  EXPECT_FALSE(cache.store(make_entry(1), &why));
  EXPECT_NE(why.find("read-only"), std::string::npos) << why;
  EXPECT_EQ(cache.try_lock(key_of(make_entry(1))).state(), KeyLock::State::unavailable);
  EXPECT_FALSE(cache.remember_nvrtc({.path = "/lib", .size = 1, .mtime_ns = 2, .identity = "x"}));
  EXPECT_TRUE(fs::is_empty(dir_));
}

// Somebody removes or replaces the entry between its rename and our return.
TEST_F(CubinPublish, LoserOfTheRaceUsesItsOwnBytes) {
  const CacheEntry mine = make_entry(1, 100), theirs = make_entry(1, 100, 1);
  const std::string path = CubinCache(dir_).path_of(key_of(mine));
  for (const PublishStep step : {PublishStep::closed, PublishStep::renamed}) {
    for (const bool hide : {true, false}) {
      fs::remove(path);
      const auto interfere = [&](PublishStep now) {
        if (now != step) return;
        if (hide) {
          fs::remove(path);
        } else {
          ASSERT_TRUE(CubinCache(dir_).store(theirs));
        }
      };
      CubinCache cache({.dir = dir_, .on_publish = interfere});
      const BuiltEntry built = load_or_build(cache, key_of(mine), [&] { return mine; });
      EXPECT_EQ(built.entry, mine);
      EXPECT_FALSE(built.from_cache);
      EXPECT_EQ(built.store_error, "");
    }
  }
}

TEST_F(CubinPublish, FilesAreReadableByUmaskAndWritableByTheOwnerAlone) {
  const CacheEntry entry = make_entry(1);
  for (const mode_t mask : {mode_t{0}, mode_t{002}, mode_t{022}, mode_t{077}}) {
    const std::string dir = scratch_ / std::to_string(mask);
    const int code = in_child([&] {
      umask(mask);
      CubinCache cache(dir);
      return cache.store(entry) && cache.load(key_of(entry)) == entry ? 0 : 1;
    });
    EXPECT_EQ(code, 0);
    const auto mode_of = [](const fs::path& path) {
      return static_cast<unsigned>(fs::status(path).permissions());
    };
    const fs::path file = CubinCache(dir).path_of(key_of(entry));
    EXPECT_EQ(mode_of(file), 0644 & ~mask);
    for (const fs::path& folder :
         {file.parent_path(), file.parent_path().parent_path(), fs::path(dir)}) {
      EXPECT_EQ(mode_of(folder), 0755 & ~mask);
    }
  }
}

}  // namespace
}  // namespace marlin::test
