// Only what belongs to the user or root, and what nobody else may write, is loaded (promise 9).
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>

#include "tests/unit/runtime/cubin_cache_fixture.h"

namespace marlin::test {
namespace {

constexpr uid_t kStranger = 12345;

class CubinTrust : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(CubinCache(dir_).store(entry_));
    file_ = CubinCache(dir_).path_of(key_of(entry_));
  }

  // "" for a hit, else the reason of the miss.
  std::string why_refused() const {
    std::string why;
    const auto found = CubinCache(dir_, true).load(key_of(entry_), &why);
    if (found) return *found == entry_ ? "" : "another entry";
    return why.empty() ? "absent" : why;
  }

  // The file and each folder from its own up to the cache's.
  std::vector<std::string> chain() const {
    const fs::path file = file_;
    return {file_, file.parent_path(), file.parent_path().parent_path(), dir_};
  }

  ScratchDir scratch_;
  std::string dir_ = scratch_ / "cache";
  CacheEntry entry_ = make_entry(1);
  std::string file_;
};

TEST_F(CubinTrust, EveryModeOfFileAndFolders) {
  for (const std::string& path : chain()) {
    const fs::perms before = fs::status(path).permissions();
    const unsigned needed = fs::is_directory(path) ? 0500 : 0400;
    for (unsigned others = 0; others <= 077; ++others) {
      fs::permissions(path, fs::perms(needed | others));
      const bool writable = (others & 022) != 0;
      const std::string why = why_refused();
      EXPECT_EQ(why.find("others may write it") != std::string::npos, writable)
          << path << std::oct << others << why;
      EXPECT_EQ(why.empty(), !writable) << path << std::oct << others << why;
    }
    fs::permissions(path, before);
  }
  EXPECT_EQ(why_refused(), "");
}

TEST_F(CubinTrust, AFolderOthersMayWriteIsNotWrittenTo) {
  fs::permissions(dir_, fs::perms(0777));
  CubinCache cache(dir_);
  std::string why;
  EXPECT_FALSE(cache.store(make_entry(2), &why));
  EXPECT_NE(why.find("others may write it"), std::string::npos) << why;
  EXPECT_THROW(cache.gc({.cap_bytes = 0}), std::exception);
  EXPECT_THROW(cache.clear(), std::exception);
  EXPECT_TRUE(fs::exists(file_));
}

// Owner of one part, who reads, whether it is trusted.
TEST_F(CubinTrust, EveryOwnerOfFileAndFolders) {
  if (!is_root()) GTEST_SKIP() << "only root can give files away";
  struct {
    uid_t owner, reader;
    bool trusted;
  } const cases[] = {
      {0, 0, true},
      {kStranger, 0, false},
      {0, kNobody, true},
      {kNobody, kNobody, true},
      {kStranger, kNobody, false},
      {kNobody, 0, false},
  };
  for (const auto& c : cases) {
    for (const std::string& path : chain()) {
      ASSERT_EQ(chown(path.c_str(), c.owner, 0), 0);
      const int code = in_child([&] {
        if (c.reader != 0 && !become(c.reader)) return 2;
        const std::string why = why_refused();
        if (c.trusted) return why.empty() ? 0 : 1;
        return why.find("belongs to user") != std::string::npos ? 0 : 1;
      });
      EXPECT_EQ(code, 0) << path << " of " << c.owner << " read by " << c.reader;
      ASSERT_EQ(chown(path.c_str(), 0, 0), 0);
    }
  }
}

TEST_F(CubinTrust, NoLinkBelowTheCacheIsFollowed) {
  const std::vector<std::string> parts = chain();
  for (std::size_t i = 0; i < 3; ++i) {
    const std::string aside = scratch_ / "aside";
    fs::rename(parts[i], aside);
    fs::create_symlink(aside, parts[i]);
    const std::string why = why_refused();
    EXPECT_NE(why, "") << parts[i];
    EXPECT_NE(why, "absent") << parts[i];
    fs::remove(parts[i]);
    fs::rename(aside, parts[i]);
    EXPECT_EQ(why_refused(), "");
  }
}

TEST_F(CubinTrust, TheCacheItselfMayBeALinkToATrustedFolder) {
  fs::rename(dir_, scratch_ / "elsewhere");
  fs::create_directory_symlink(scratch_ / "elsewhere", dir_);
  EXPECT_EQ(why_refused(), "");
  fs::permissions(scratch_ / "elsewhere", fs::perms(0777));
  EXPECT_NE(why_refused(), "");
}

TEST_F(CubinTrust, OtherThanPlainFiles) {
  const auto expect_refused = [&](const char* what) {
    const std::string why = why_refused();  // would hang on a FIFO that is opened to be read
    EXPECT_NE(why, "") << what;
    EXPECT_NE(why, "absent") << what;
    EXPECT_EQ(damaged_in(dir_).size(), 1U) << what;
    fs::remove(file_);
    EXPECT_EQ(why_refused(), "absent");
  };
  fs::remove(file_);
  ASSERT_EQ(mkfifo(file_.c_str(), 0600), 0);
  expect_refused("FIFO");
  fs::create_directory(file_);
  expect_refused("folder");
  fs::create_symlink("/dev/zero", file_);
  expect_refused("link to a device");
  fs::create_symlink(scratch_ / "nowhere", file_);
  expect_refused("dangling link");
  fs::current_path(fs::path(file_).parent_path());  // a socket's whole path would be too long
  const UniqueFd socket_fd(socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const std::string name = fs::path(file_).filename();
  std::copy(name.begin(), name.end(), std::begin(address.sun_path));
  ASSERT_EQ(bind(socket_fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  fs::permissions(name, fs::perms(0600));
  fs::current_path("/");
  expect_refused("socket");
}

TEST_F(CubinTrust, ABadNeighbourIsNamedAndHarmless) {
  const std::string shard = fs::path(file_).parent_path();
  fs::create_symlink("/etc", dir_ + "/v1/zz");  // no name of ours: not even looked at
  const std::string other_shard = dir_ + "/v1/" + (shard.ends_with("00") ? "01" : "00");
  fs::create_directory_symlink("/etc", other_shard);
  write_file(shard + "/readme.mcb", "not an entry");
  write_file(shard + "/notes.txt", "nothing of ours");
  const auto damaged = damaged_in(dir_);
  EXPECT_EQ(damaged.size(), 2U);
  EXPECT_EQ(why_refused(), "");
}

}  // namespace
}  // namespace marlin::test
