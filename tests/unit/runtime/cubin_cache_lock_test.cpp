// One build for a key among processes (promise 4), failing builds (5), and lock holders that die
// or hang (6).
#include <sys/stat.h>

#include <atomic>
#include <chrono>
#include <map>
#include <stdexcept>
#include <thread>

#include "tests/unit/runtime/cubin_cache_fixture.h"

namespace marlin::test {
namespace {

using std::chrono::milliseconds;

// Longer than CTest lets a test run: a wait that ought to end otherwise shows as a time-out.
constexpr milliseconds kForever{3600 * 1000};

class CubinLock : public ::testing::Test {
 protected:
  // Builds entry `number` and notes it in a file that all processes append to.
  CacheEntry counted_build(unsigned number, unsigned build = 0) const {
    const UniqueFd log(open(log_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    const std::string line = std::to_string(number) + "\n";
    if (write(log.get(), line.data(), line.size()) < 0) throw std::runtime_error("no log");
    return make_entry(number, 64, build);
  }

  std::map<unsigned, int> builds() const {
    std::map<unsigned, int> counts;
    std::ifstream log(log_);
    for (unsigned number = 0; log >> number;) ++counts[number];
    return counts;
  }

  // Returns when somebody looks at the lock again, who found it busy before: of those who wait.
  void await_waiters() const { Opens(lock_).await(2); }

  // N processes of M threads each ask for keys 1..keys, one key a round; a round begins when all
  // have ended the one before. A build lasts until everybody has asked who asks for its key in this
  // round, and one of them is seen to wait.
  void ask_from_everywhere(int processes, int threads, unsigned keys) {
    const auto key_in = [keys](unsigned round, int p, int t) {
      return (round + static_cast<unsigned>(p + t)) % keys + 1;
    };
    const auto askers_in = [&](unsigned round, unsigned number) {
      int askers = 0;
      for (int p = 0; p < processes; ++p) {
        for (int t = 0; t < threads; ++t) askers += key_in(round, p, t) == number ? 1 : 0;
      }
      return askers;
    };
    const SharedCounts begun(keys), asked(keys + 1);
    std::vector<pid_t> children;
    for (int p = 0; p < processes; ++p) {
      children.push_back(start_child([&] {
        CubinCache cache(dir_);
        std::atomic<int> wrong{0};
        std::vector<std::thread> workers;
        for (int t = 0; t < threads; ++t) {
          workers.emplace_back([&, t] {
            for (unsigned round = 0; round < keys; ++round) {
              const unsigned number = key_in(round, p, t);
              const int askers = askers_in(round, number);
              const auto build = [&] {
                asked.await(number, askers);
                if (askers > 1) await_waiters();
                return counted_build(number);
              };
              begun.meet(round, processes * threads);
              asked.add(number);
              const CacheEntry expected = make_entry(number);
              const BuiltEntry got = load_or_build(cache, key_of(expected), build, kForever);
              if (!(got.entry == expected)) ++wrong;
            }
          });
        }
        for (std::thread& worker : workers) worker.join();
        return wrong == 0 ? 0 : 1;
      }));
    }
    for (const pid_t child : children) EXPECT_EQ(wait_for(child), 0);
    const auto counts = builds();
    EXPECT_EQ(counts.size(), keys);
    for (const auto& [number, count] : counts) EXPECT_EQ(count, 1) << "key " << number;
  }

  // A child that holds the lock of entry 1, in the middle of its build, until it is killed.
  pid_t start_holder() {
    const Signal building;
    const pid_t child = start_child([&] {
      CubinCache cache(dir_);
      load_or_build(cache, key_of(make_entry(1)), [&]() -> CacheEntry {
        building.raise();
        while (true) pause();
      });
      return 0;
    });
    building.await();
    return child;
  }

  ScratchDir scratch_;
  std::string dir_ = scratch_ / "cache";
  std::string lock_ = dir_ + "/v1/lock";
  std::string log_ = scratch_ / "builds";
};

TEST_F(CubinLock, OneBuildForOneKey) { ask_from_everywhere(4, 4, 1); }
TEST_F(CubinLock, OneBuildForEachOfManyKeys) { ask_from_everywhere(4, 4, 12); }
TEST_F(CubinLock, OneBuildAmongManyProcesses) { ask_from_everywhere(16, 1, 3); }

TEST_F(CubinLock, HeldByOneAtATime) {
  const CubinCache cache(dir_), same(dir_);
  const std::string key = key_of(make_entry(1)), other = key_of(make_entry(2));
  {
    const KeyLock held = cache.try_lock(key);
    EXPECT_EQ(held.state(), KeyLock::State::held);
    EXPECT_EQ(same.try_lock(key).state(), KeyLock::State::busy);
    EXPECT_EQ(in_child([&] { return same.try_lock(key).state() == KeyLock::State::busy ? 0 : 1; }),
              0);
    EXPECT_EQ(same.try_lock(other).state(), KeyLock::State::held);
  }
  EXPECT_EQ(same.try_lock(key).state(), KeyLock::State::held);
}

TEST_F(CubinLock, AKilledHolderFreesTheOthers) {
  const pid_t holder = start_holder();
  EXPECT_EQ(CubinCache(dir_).try_lock(key_of(make_entry(1))).state(), KeyLock::State::busy);
  const Opens looks(lock_);
  std::thread killer([&] {
    looks.await(2);  // so the first found it busy
    kill(holder, SIGKILL);
  });
  CubinCache cache(dir_);
  const BuiltEntry built = load_or_build(
      cache, key_of(make_entry(1)), [&] { return counted_build(1); }, kForever);
  killer.join();
  EXPECT_EQ(wait_for(holder), 128 + SIGKILL);
  EXPECT_FALSE(built.from_cache);
  EXPECT_EQ(built.store_error, "");
  EXPECT_EQ(built.entry, make_entry(1));
}

TEST_F(CubinLock, AStoppedHolderIsWaitedForOnlySoLong) {
  const pid_t holder = start_holder();
  kill(holder, SIGSTOP);
  CubinCache cache(dir_);
  const BuiltEntry built = load_or_build(
      cache, key_of(make_entry(1)), [&] { return counted_build(1); }, milliseconds(100));
  EXPECT_EQ(cache.try_lock(key_of(make_entry(1))).state(), KeyLock::State::busy);
  EXPECT_FALSE(built.from_cache);
  EXPECT_EQ(built.store_error, "");
  EXPECT_EQ(CubinCache(dir_).load(key_of(make_entry(1))), make_entry(1));
  kill(holder, SIGKILL);
  EXPECT_EQ(wait_for(holder), 128 + SIGKILL);
}

TEST_F(CubinLock, AnEntryEndsTheWaitThoughTheLockStaysBusy) {
  const pid_t holder = start_holder();
  const Opens looks(lock_);
  std::thread publisher([&] {
    looks.await(2);  // so the first found it busy
    EXPECT_TRUE(CubinCache(dir_).store(make_entry(1)));
  });
  CubinCache cache(dir_);
  const BuiltEntry got = load_or_build(
      cache, key_of(make_entry(1)), [&] { return counted_build(1); }, kForever);
  publisher.join();
  EXPECT_TRUE(got.from_cache);
  EXPECT_TRUE(builds().empty());
  kill(holder, SIGKILL);
  wait_for(holder);
}

TEST_F(CubinLock, ALockThatCannotWorkIsDoneWithout) {
  struct {
    const char* name;
    void (*spoil)(const std::string& lock);
  } const cases[] = {
      {"folder", [](const std::string& lock) { fs::create_directory(lock); }},
      {"link", [](const std::string& lock) { fs::create_symlink("/dev/null", lock); }},
  };
  for (const auto& c : cases) {
    const std::string dir = scratch_ / c.name;
    fs::create_directories(dir + "/v1");
    c.spoil(dir + "/v1/lock");
    CubinCache cache(dir);
    EXPECT_EQ(cache.try_lock(key_of(make_entry(1))).state(), KeyLock::State::unavailable);
    const BuiltEntry built = load_or_build(
        cache, key_of(make_entry(1)), [&] { return counted_build(1); }, kForever);
    EXPECT_EQ(built.entry, make_entry(1));
    EXPECT_EQ(built.store_error, "") << c.name;
  }
}

TEST_F(CubinLock, ALockCallThatFailsIsDoneWithout) {
  for (const int error : {ENOLCK, EINVAL, EIO}) {
    const int code = in_child([&] {
      if (!fail_system_call(SYS_fcntl, error, F_OFD_SETLK)) return 77;
      CubinCache cache(scratch_ / std::to_string(error));
      if (cache.try_lock(key_of(make_entry(1))).state() != KeyLock::State::unavailable) return 1;
      const BuiltEntry built = load_or_build(
          cache, key_of(make_entry(1)), [&] { return counted_build(1); }, kForever);
      return built.entry == make_entry(1) && built.store_error.empty() ? 0 : 2;
    });
    if (code == 77) GTEST_SKIP() << "needs seccomp filters";
    EXPECT_EQ(code, 0) << std::strerror(error);
  }
}

TEST_F(CubinLock, AFailedBuildReachesItsCallerAndTheNextCallTriesAgain) {
  CubinCache cache(dir_);
  const std::string key = key_of(make_entry(1));
  const auto fail = []() -> CacheEntry { throw std::runtime_error("does not compile"); };
  for (int i = 0; i < 2; ++i) EXPECT_THROW(load_or_build(cache, key, fail), std::runtime_error);
  EXPECT_TRUE(cache.list().empty());
  EXPECT_EQ(cache.try_lock(key).state(), KeyLock::State::held);
  EXPECT_EQ(load_or_build(cache, key, [&] { return counted_build(1); }).entry, make_entry(1));
}

// Every process that waits sees the failure of a build of its own, none hangs or gets nothing.
TEST_F(CubinLock, AFailedBuildLetsTheWaitersTry) {
  std::vector<pid_t> children;
  constexpr int kProcesses = 6;
  const SharedCounts asked(1);
  for (int p = 0; p < kProcesses; ++p) {
    children.push_back(start_child([&] {
      CubinCache cache(dir_);
      asked.add(0);
      try {
        load_or_build(
            cache, key_of(make_entry(1)),
            [&]() -> CacheEntry {
              asked.await(0, kProcesses);
              counted_build(1);
              if (builds()[1] < kProcesses) await_waiters();
              throw std::runtime_error("does not compile");
            },
            kForever);
      } catch (const std::runtime_error&) {
        return 0;
      }
      return 1;
    }));
  }
  for (const pid_t child : children) EXPECT_EQ(wait_for(child), 0);
  EXPECT_EQ(builds()[1], kProcesses);
}

TEST_F(CubinLock, AnEntryOfAnotherKeyIsTheCallersMistake) {
  CubinCache cache(dir_);
  EXPECT_THROW(load_or_build(cache, key_of(make_entry(1)), [] { return make_entry(2); }),
               std::logic_error);
  EXPECT_TRUE(cache.list().empty());
}

}  // namespace
}  // namespace marlin::test
