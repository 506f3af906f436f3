// The manifest of a prebuilt folder and the NVRTC identities remembered beside entries.
#include <algorithm>
#include <set>

#include "codegen/base/error.h"
#include "tests/unit/runtime/cubin_cache_fixture.h"

namespace marlin::test {
namespace {

class CubinRecords : public ::testing::Test {
 protected:
  ScratchDir scratch_;
  CubinCache cache_{scratch_ / "cache"};
};

TEST_F(CubinRecords, ManifestHoldsWhatIsSound) {
  EXPECT_EQ(cache_.manifest(), std::nullopt);
  EXPECT_TRUE(cache_.built_with().empty());
  for (unsigned number = 1; number <= 3; ++number) {
    CacheEntry entry = make_entry(number);
    entry.meta.key.nvrtc = number == 2 ? "12.8 b" : "13.0 a";
    ASSERT_TRUE(cache_.store(entry));
  }
  ASSERT_TRUE(cache_.store(make_entry(4)));
  write_file(cache_.path_of(key_of(make_entry(4))), "damaged");
  cache_.write_manifest();
  std::string why;
  const auto manifest = CubinCache(cache_.dir(), true).manifest(&why);
  ASSERT_TRUE(manifest) << why;
  EXPECT_EQ(manifest->nvrtc, (std::vector<std::string>{"12.8 b", "13.0 a"}));
  EXPECT_EQ(cache_.built_with(), manifest->nvrtc);
  ASSERT_EQ(manifest->entries.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    const std::string key = cache_key(manifest->entries[i].key);
    EXPECT_TRUE(cache_.load(key));
    if (i > 0) {
      EXPECT_LT(cache_key(manifest->entries[i - 1].key), key);
    }
  }
}

// A process with no NVRTC finds an entry by the identity that the folder tells.
TEST_F(CubinRecords, KeysCanBeComputedFromTheFolderAlone) {
  const CacheEntry entry = make_entry(1);
  ASSERT_TRUE(cache_.store(entry));
  cache_.write_manifest();
  const CubinCache shipped(cache_.dir(), true);
  CacheKeyFields fields = entry.meta.key;
  fields.nvrtc = shipped.built_with().at(0);
  EXPECT_EQ(shipped.load(cache_key(fields)), entry);
}

CacheEntry built_by(unsigned number, const std::string& nvrtc) {
  CacheEntry entry = make_entry(number);
  entry.meta.key.nvrtc = nvrtc;
  return entry;
}

TEST_F(CubinRecords, EveryStoreKeepsTheIndex) {
  ASSERT_TRUE(cache_.store(built_by(1, "13.0 a")));
  ASSERT_TRUE(CubinCache(cache_.dir()).store(built_by(2, "12.8 b")));
  ASSERT_TRUE(cache_.store(built_by(3, "13.0 a")));
  EXPECT_EQ(cache_.built_with(), (std::vector<std::string>{"12.8 b", "13.0 a"}));
  // What is damaged is named, and made anew with all that the folder holds.
  write_file(cache_.dir() + "/built_with.json", "{}");
  std::string why;
  EXPECT_TRUE(cache_.built_with(&why).empty());
  EXPECT_NE(why.find("built_with.json: is not of version 1"), std::string::npos) << why;
  EXPECT_EQ(damaged_in(cache_.dir()).size(), 1U);
  ASSERT_TRUE(CubinCache(cache_.dir()).store(built_by(4, "13.1 c")));
  EXPECT_EQ(cache_.built_with(&why), (std::vector<std::string>{"12.8 b", "13.0 a", "13.1 c"}));
  EXPECT_EQ(why, "");
}

TEST_F(CubinRecords, EntriesThatCameBesideTheIndexAreFound) {
  CubinCache other(scratch_ / "other");
  ASSERT_TRUE(other.store(built_by(1, "11.9 z")));
  ASSERT_TRUE(other.store(built_by(2, "11.8 y")));
  write_file(other.path_of(key_of(built_by(2, "11.8 y"))), "damaged");
  ASSERT_TRUE(cache_.store(built_by(3, "13.0 a")));
  fs::copy(other.dir() + "/v1", cache_.dir() + "/v1",
           fs::copy_options::recursive | fs::copy_options::skip_existing);
  const auto found = CubinCache(cache_.dir(), true).unindexed_identities();
  EXPECT_NE(std::find(found.begin(), found.end(), "11.9 z"), found.end());
  EXPECT_EQ(std::find(found.begin(), found.end(), "11.8 y"), found.end());
  EXPECT_EQ(cache_.built_with(), (std::vector<std::string>{"13.0 a"}));
  EXPECT_TRUE(CubinCache(scratch_ / "none").unindexed_identities().empty());
}

TEST_F(CubinRecords, AFolderThatIsRefusedHidesNoOther) {
  ASSERT_TRUE(cache_.store(built_by(1, "13.0 a")));
  fs::remove(cache_.dir() + "/built_with.json");
  fs::create_directory_symlink("nowhere", cache_.dir() + "/v1/00");
  EXPECT_EQ(CubinCache(cache_.dir(), true).unindexed_identities(),
            (std::vector<std::string>{"13.0 a"}));
}

// Folders that are older than the index are not read again.
TEST_F(CubinRecords, WhatTheIndexCoversIsNotReadAgain) {
  for (unsigned number = 1; number <= 100; ++number) {
    ASSERT_TRUE(cache_.store(built_by(number, number == 50 ? "11.9 z" : "13.0 a")));
  }
  fs::remove(cache_.dir() + "/built_with.json");
  EXPECT_EQ(CubinCache(cache_.dir(), true).unindexed_identities().size(), 2U);
  EXPECT_TRUE(cache_.built_with().empty());
  EXPECT_EQ(cache_.unindexed_identities().size(), 2U);  // may be written, and is
  EXPECT_EQ(cache_.built_with(), (std::vector<std::string>{"11.9 z", "13.0 a"}));
  const auto before = fs::file_time_type::clock::now() - std::chrono::hours(1);
  for (const auto& shard : fs::directory_iterator(cache_.dir() + "/v1")) {
    if (shard.is_directory()) fs::last_write_time(shard.path(), before);
  }
  EXPECT_TRUE(cache_.unindexed_identities().empty());
}

TEST_F(CubinRecords, AnEntryMissingFromThePrebuiltFolderIsNamed) {
  for (unsigned number = 1; number <= 2; ++number) ASSERT_TRUE(cache_.store(make_entry(number)));
  cache_.write_manifest();
  EXPECT_TRUE(damaged_in(cache_.dir()).empty());
  const std::string key = key_of(make_entry(1));
  fs::remove(cache_.path_of(key));
  const auto damaged = damaged_in(cache_.dir());
  ASSERT_EQ(damaged.size(), 1U);
  EXPECT_NE(damaged[0].find(key), std::string::npos);
  EXPECT_NE(damaged[0].find("manifest"), std::string::npos);
}

TEST_F(CubinRecords, GcKeepsTheManifestTrue) {
  for (unsigned number = 1; number <= 2; ++number) ASSERT_TRUE(cache_.store(make_entry(number)));
  cache_.write_manifest();
  cache_.gc({.cap_bytes = encode_entry(make_entry(1)).size() + 100});
  EXPECT_TRUE(damaged_in(cache_.dir()).empty());
  EXPECT_EQ(cache_.manifest()->entries.size(), 1U);
}

TEST_F(CubinRecords, DamagedManifest) {
  ASSERT_TRUE(cache_.store(make_entry(1)));
  cache_.write_manifest();
  for (const char* file : {"manifest.json", "built_with.json"}) {
    const std::string path = cache_.dir() + "/" + file, good = read_file(path);
    for (const std::string& bad :
         {std::string(), good.substr(0, good.size() / 2), std::string("[]"), std::string("{}"),
          std::string("{\"version\":2,\"nvrtc\":[],\"entries\":[]}"),
          std::string("{\"version\":1,\"nvrtc\":[1],\"entries\":[]}"),
          std::string("{\"version\":1,\"nvrtc\":1,\"entries\":1}"), std::string(100000, '[')}) {
      write_file(path, bad);
      std::string why;
      if (std::string(file) == "manifest.json") {
        EXPECT_EQ(cache_.manifest(&why), std::nullopt) << bad.substr(0, 50);
        EXPECT_NE(why, "");
        EXPECT_EQ(damaged_in(cache_.dir()).size(), 1U);
      } else {
        EXPECT_TRUE(cache_.built_with().empty()) << bad.substr(0, 50);
      }
      EXPECT_TRUE(cache_.load(key_of(make_entry(1))));
    }
    write_file(path, good);
  }
}

TEST_F(CubinRecords, NvrtcIsRememberedUntilItsFileChanges) {
  EXPECT_EQ(cache_.recall_nvrtc("/lib/a", 1, 2), std::nullopt);
  ASSERT_TRUE(cache_.remember_nvrtc({.path = "/lib/a", .size = 1, .mtime_ns = 2, .identity = "A"}));
  ASSERT_TRUE(cache_.remember_nvrtc({.path = "/lib/b", .size = 1, .mtime_ns = 2, .identity = "B"}));
  EXPECT_EQ(cache_.recall_nvrtc("/lib/a", 1, 2), "A");
  EXPECT_EQ(cache_.recall_nvrtc("/lib/b", 1, 2), "B");
  EXPECT_EQ(cache_.recall_nvrtc("/lib/a", 3, 2), std::nullopt);
  EXPECT_EQ(cache_.recall_nvrtc("/lib/a", 1, 3), std::nullopt);
  EXPECT_EQ(cache_.recall_nvrtc("/lib/c", 1, 2), std::nullopt);
  ASSERT_TRUE(
      cache_.remember_nvrtc({.path = "/lib/a", .size = 5, .mtime_ns = -6, .identity = "C"}));
  EXPECT_EQ(cache_.recall_nvrtc("/lib/a", 1, 2), std::nullopt);
  EXPECT_EQ(cache_.recall_nvrtc("/lib/a", 5, -6), "C");
  EXPECT_EQ(cache_.recall_nvrtc("/lib/b", 1, 2), "B");
}

TEST_F(CubinRecords, OnlySoManyLibrariesAreRemembered) {
  for (int i = 0; i < 100; ++i) {
    const std::string path = "/lib/" + std::to_string(i);
    ASSERT_TRUE(cache_.remember_nvrtc({.path = path, .size = 1, .mtime_ns = 1, .identity = path}));
  }
  EXPECT_EQ(cache_.recall_nvrtc("/lib/99", 1, 1), "/lib/99");
  EXPECT_EQ(cache_.recall_nvrtc("/lib/0", 1, 1), std::nullopt);
  EXPECT_LT(fs::file_size(cache_.dir() + "/v1/nvrtc.json"), 4096U);
}

TEST_F(CubinRecords, ADamagedMemoIsForgottenAndReplaced) {
  const NvrtcMemo memo{.path = "/lib/a", .size = 1, .mtime_ns = 2, .identity = "A"};
  ASSERT_TRUE(cache_.remember_nvrtc(memo));
  const std::string path = cache_.dir() + "/v1/nvrtc.json", good = read_file(path);
  for (const std::string& bad :
       {std::string(), good.substr(0, good.size() - 5), std::string("{\"version\":1}"),
        std::string("{\"version\":1,\"libraries\":7}"),
        std::string("{\"version\":1,\"libraries\":[7,null,{\"path\":7},{\"path\":\"/lib/a\"}]}"),
        std::string(100000, ' ')}) {
    write_file(path, bad);
    EXPECT_EQ(cache_.recall_nvrtc("/lib/a", 1, 2), std::nullopt) << bad.substr(0, 50);
    EXPECT_TRUE(cache_.remember_nvrtc(memo));
    EXPECT_EQ(cache_.recall_nvrtc("/lib/a", 1, 2), "A") << bad.substr(0, 50);
  }
  fs::permissions(path, fs::perms(0666));
  EXPECT_EQ(cache_.recall_nvrtc("/lib/a", 1, 2), std::nullopt);
}

TEST_F(CubinRecords, NoFolder) {
  const CubinCache none("");
  EXPECT_EQ(none.manifest(), std::nullopt);
  EXPECT_TRUE(none.built_with().empty());
  EXPECT_EQ(none.recall_nvrtc("/lib/a", 1, 2), std::nullopt);
  EXPECT_FALSE(none.remember_nvrtc({.path = "/lib/a", .size = 1, .mtime_ns = 2, .identity = "A"}));
  EXPECT_THROW(none.write_manifest(), Error);
  EXPECT_TRUE(none.list().empty());
}

}  // namespace
}  // namespace marlin::test
