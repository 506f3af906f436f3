// Collecting garbage never breaks a reader and never leaves the cache folder (promise 16); listing
// and clearing.
#include <sys/stat.h>

#include <algorithm>
#include <chrono>

#include "codegen/base/error.h"
#include "tests/unit/runtime/cubin_cache_fixture.h"

namespace marlin::test {
namespace {

using std::chrono::seconds;

class CubinGc : public ::testing::Test {
 protected:
  std::string store(unsigned number, std::int64_t used_s) {
    EXPECT_TRUE(cache_.store(make_entry(number)));
    const std::string path = cache_.path_of(key_of(make_entry(number)));
    const timespec times[2] = {{used_s, 0}, {used_s, 0}};
    EXPECT_EQ(utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
    return path;
  }

  std::vector<unsigned> present(unsigned up_to) const {
    std::vector<unsigned> numbers;
    for (unsigned number = 1; number <= up_to; ++number) {
      if (fs::exists(cache_.path_of(key_of(make_entry(number))))) numbers.push_back(number);
    }
    return numbers;
  }

  ScratchDir scratch_;
  CubinCache cache_{scratch_ / "cache"};
};

TEST_F(CubinGc, LeastRecentlyUsedGoFirstUntilTheRestFits) {
  std::uint64_t bytes = 0;
  for (unsigned number = 1; number <= 6; ++number) {
    bytes = fs::file_size(store(number, 1000 * ((number * 5) % 7)));  // ages 5 3 1 6 4 2
  }
  const GcResult result = cache_.gc({.cap_bytes = 3 * bytes + bytes / 2});
  EXPECT_EQ(result.removed, 3);
  EXPECT_EQ(result.removed_bytes, 3 * bytes);
  EXPECT_EQ(result.kept, 3);
  EXPECT_EQ(result.kept_bytes, 3 * bytes);
  EXPECT_EQ(present(6), (std::vector<unsigned>{1, 4, 5}));
  EXPECT_EQ(cache_.gc({.cap_bytes = 3 * bytes}).removed, 0);
  EXPECT_EQ(cache_.gc({.cap_bytes = 0}).removed, 3);
  EXPECT_TRUE(present(6).empty());
}

TEST_F(CubinGc, AHitCountsAsUse) {
  const std::uint64_t bytes = fs::file_size(store(1, 1000));
  store(2, 2000);
  ASSERT_TRUE(CubinCache(cache_.dir(), true).load(key_of(make_entry(1))));
  EXPECT_EQ(cache_.list()[0].used_s % 1000, 0);  // a read-only cache leaves no trace
  EXPECT_EQ(cache_.list()[1].used_s % 1000, 0);
  ASSERT_TRUE(cache_.load(key_of(make_entry(1))));
  cache_.gc({.cap_bytes = bytes});
  EXPECT_EQ(present(2), (std::vector<unsigned>{1}));
}

TEST_F(CubinGc, StoringKeepsTheFolderWithinItsCap) {
  const std::uint64_t bytes = encode_entry(make_entry(1)).size();
  for (unsigned number = 1; number <= 5; ++number) store(number, 1000 * number);
  CubinCache capped(CacheSettings{.dir = cache_.dir(), .cap_bytes = 3 * bytes + bytes / 2});
  ASSERT_TRUE(capped.store(make_entry(6)));
  EXPECT_EQ(present(6), (std::vector<unsigned>{4, 5, 6}));
}

TEST_F(CubinGc, TemporariesGoWhenTheyAreOldAndOurs) {
  const fs::path entry = store(1, 1000);
  const std::string mark = ".tmp.0123456789abcdef";
  const fs::path shard = entry.parent_path(), layout = shard.parent_path();
  const std::vector<fs::path> ours = {entry.string() + mark, layout / ("nvrtc.json" + mark),
                                      layout.parent_path() / ("manifest.json" + mark)};
  const std::vector<fs::path> others = {shard / ("notes" + mark),
                                        layout / (entry.filename().string() + mark),
                                        layout.parent_path() / ("nvrtc.json" + mark),
                                        entry.string() + ".tmp.0123",
                                        shard / mark,
                                        layout.parent_path() / "photo.jpg.tmp.0123456789abcdef"};
  for (const fs::path& file : ours) write_file(file, "half");
  for (const fs::path& file : others) write_file(file, "half");
  EXPECT_EQ(cache_.gc({.cap_bytes = kDefaultCacheCap}).temporaries_removed, 0);
  for (const fs::path& file : ours) {
    fs::last_write_time(file, fs::file_time_type::clock::now() - std::chrono::hours(2));
  }
  EXPECT_EQ(cache_.gc({.cap_bytes = kDefaultCacheCap}).temporaries_removed, 3);
  for (const fs::path& file : ours) EXPECT_FALSE(fs::exists(file)) << file;
  EXPECT_EQ(cache_.gc({.cap_bytes = 0, .temporary_age = seconds(0)}).temporaries_removed, 0);
  for (const fs::path& file : others) EXPECT_TRUE(fs::exists(file)) << file;
}

// Links to a folder outside that holds what gc and clear would love to remove.
TEST_F(CubinGc, NothingOutsideIsTouched) {
  CubinCache outside(scratch_ / "outside");
  ASSERT_TRUE(outside.store(make_entry(1)));
  const fs::path target = outside.path_of(key_of(make_entry(1)));
  write_file(target.string() + ".tmp.0123456789abcdef", "half");
  const fs::path entry = store(2, 1000);
  const fs::path shard = entry.parent_path(), layout = shard.parent_path();
  fs::create_directory_symlink(target.parent_path(),
                               layout / target.parent_path().filename());  // a shard
  ASSERT_NE(shard.filename(), target.parent_path().filename());
  const std::string planted = shard.filename().string() + std::string(62, '0') + ".mcb";
  fs::create_symlink(target, shard / planted);  // an entry
  fs::create_symlink(target, entry.string() + ".tmp.0123456789abcdef");
  const GcResult result = cache_.gc({.cap_bytes = 0, .temporary_age = seconds(0)});
  EXPECT_EQ(result.removed, 1);
  EXPECT_EQ(result.temporaries_removed, 0);
  EXPECT_TRUE(fs::is_symlink(shard / planted));
  cache_.clear();
  EXPECT_FALSE(fs::is_symlink(shard / planted));  // the link itself is in the folder
  EXPECT_TRUE(fs::exists(target.string() + ".tmp.0123456789abcdef"));
  EXPECT_EQ(outside.load(key_of(make_entry(1))), make_entry(1));
}

TEST_F(CubinGc, AWholeLayoutThatIsALinkIsRefused) {
  CubinCache outside(scratch_ / "outside");
  ASSERT_TRUE(outside.store(make_entry(1)));
  fs::create_directory(cache_.dir());
  fs::create_directory_symlink(outside.dir() + "/v1", cache_.dir() + "/v1");
  EXPECT_THROW(cache_.gc({.cap_bytes = 0}), Error);
  EXPECT_THROW(cache_.clear(), Error);
  EXPECT_THROW(cache_.list(), Error);
  EXPECT_FALSE(cache_.store(make_entry(2)));
  EXPECT_EQ(outside.list().size(), 1U);
}

// Two readers and two writers while one process collects everything again and again. A reader sees
// whole entries or none, a writer never fails.
TEST_F(CubinGc, InALoopAgainstReadersAndWriters) {
  constexpr unsigned kEntries = 8;
  const ScratchDir elsewhere;
  write_file(elsewhere / "precious", "kept");
  ASSERT_TRUE(cache_.store(make_entry(1)));
  fs::create_directory_symlink(elsewhere / "", cache_.dir() + "/v1/00");
  const std::string done = scratch_ / "done";
  const auto until_done = [&](auto body) {
    return start_child([&, body] {
      for (unsigned i = 0; !fs::exists(done); ++i) {
        if (!body(make_entry(i % kEntries + 1, 20000))) return 1;
      }
      return 0;
    });
  };
  std::vector<pid_t> children;
  for (int i = 0; i < 2; ++i) {
    children.push_back(until_done([&](const CacheEntry& entry) {
      std::string why;
      const auto found = cache_.load(key_of(entry), &why);
      return why.empty() && (!found || *found == entry || *found == make_entry(1));
    }));
    children.push_back(until_done([&](const CacheEntry& entry) {
      // The shard that is a link refuses writers, as it should.
      return cache_.store(entry) || key_of(entry).starts_with("00");
    }));
  }
  int removed = 0;
  for (int round = 0; round < 400 || removed < 20; ++round) {
    removed += cache_.gc({.cap_bytes = 30000}).removed;
  }
  write_file(done, "");
  for (const pid_t child : children) EXPECT_EQ(wait_for(child), 0);
  EXPECT_TRUE(temporaries_in(cache_.dir()).empty());
  EXPECT_EQ(damaged_in(cache_.dir()).size(), 1U);  // the planted link
  EXPECT_EQ(read_file(elsewhere / "precious"), "kept");
}

TEST_F(CubinGc, ListTellsWhatIsThere) {
  EXPECT_TRUE(cache_.list().empty());  // no folder yet
  store(1, 1000);
  store(2, 2000);
  write_file(cache_.path_of(key_of(make_entry(2))), "damaged");
  const auto listed = cache_.list();
  ASSERT_EQ(listed.size(), 2U);
  EXPECT_LT(listed[0].path, listed[1].path);
  for (const ListedEntry& entry : listed) {
    EXPECT_EQ(cache_.dir() + "/" + entry.path, cache_.path_of(entry.key));
    EXPECT_EQ(entry.bytes, fs::file_size(cache_.path_of(entry.key)));
    const bool sound = entry.key == key_of(make_entry(1));
    EXPECT_EQ(entry.why.empty(), sound);
    EXPECT_EQ(entry.meta.has_value(), sound);
    if (sound) {
      EXPECT_EQ(entry.used_s, 1000);
      EXPECT_EQ(*entry.meta, make_entry(1).meta);
    }
  }
}

TEST_F(CubinGc, ClearLeavesAnEmptyCacheThatWorks) {
  for (unsigned number = 1; number <= 3; ++number) store(number, 1000);
  cache_.write_manifest();
  ASSERT_TRUE(cache_.remember_nvrtc({.path = "/l", .size = 1, .mtime_ns = 1, .identity = "x"}));
  EXPECT_EQ(cache_.clear(), 3);
  EXPECT_TRUE(cache_.list().empty());
  EXPECT_EQ(cache_.recall_nvrtc("/l", 1, 1), std::nullopt);
  EXPECT_FALSE(fs::exists(cache_.dir() + "/manifest.json"));
  EXPECT_EQ(cache_.clear(), 0);
  EXPECT_TRUE(cache_.store(make_entry(1)));
}

TEST_F(CubinGc, AReadOnlyCacheIsNotTidied) {
  store(1, 1000);
  const CubinCache read_only(cache_.dir(), true);
  EXPECT_THROW(read_only.gc({.cap_bytes = 0}), Error);
  EXPECT_THROW(read_only.clear(), Error);
  EXPECT_EQ(present(1).size(), 1U);
}

TEST_F(CubinGc, TheFolderIsMarkedAsACache) {
  store(1, 1000);
  EXPECT_TRUE(read_file(cache_.dir() + "/CACHEDIR.TAG")
                  .starts_with("Signature: 8a477f597d28d172789f06886806bc55"));
}

}  // namespace
}  // namespace marlin::test
