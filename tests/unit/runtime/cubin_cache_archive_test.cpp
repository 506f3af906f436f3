// Export and import: what comes out goes in again, and anything else is refused whole.
#include <sys/stat.h>

#include <functional>

#include "codegen/base/error.h"
#include "tests/unit/runtime/cubin_cache_fixture.h"

namespace marlin::test {
namespace {

constexpr std::size_t kBlock = 512;

class CubinArchive : public ::testing::Test {
 protected:
  void SetUp() override {
    for (unsigned number = 1; number <= 2; ++number) ASSERT_TRUE(from_.store(make_entry(number)));
    EXPECT_EQ(from_.export_to(archive_), 2);
    bytes_ = read_file(archive_);
  }

  // Rewrites the first member's header, with its checksum made right again.
  std::string with_header(const std::function<void(std::string&)>& change) const {
    std::string header = bytes_.substr(0, kBlock);
    change(header);
    header.replace(148, 8, 8, ' ');
    unsigned sum = 0;
    for (const char byte : header) sum += static_cast<unsigned char>(byte);
    char digits[8];
    std::snprintf(digits, sizeof(digits), "%07o", sum);
    header.replace(148, 8, digits, 8);
    return header + bytes_.substr(kBlock);
  }
  std::string named(const std::string& name) const {
    return with_header([&](std::string& header) {
      header.replace(0, 100, 100, '\0');
      header.replace(0, name.size(), name);
    });
  }

  void expect_refused(const std::string& bytes, const std::string& reason) {
    write_file(archive_, bytes);
    CubinCache to(scratch_ / "to");
    try {
      to.import_from(archive_);
      ADD_FAILURE() << "imported; expected: " << reason;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(reason), std::string::npos) << error.what();
    }
    EXPECT_TRUE(to.list().empty()) << reason;
  }

  ScratchDir scratch_;
  CubinCache from_{scratch_ / "from"};
  std::string archive_ = scratch_ / "cache.tar";
  std::string bytes_;
};

TEST_F(CubinArchive, RoundTrip) {
  CubinCache to(scratch_ / "to");
  const ImportResult first = to.import_from(archive_);
  EXPECT_EQ(first.published, 2);
  EXPECT_EQ(first.present, 0);
  for (unsigned number = 1; number <= 2; ++number) {
    EXPECT_EQ(to.load(key_of(make_entry(number))), make_entry(number));
  }
  EXPECT_EQ(to.import_from(archive_).present, 2);
  write_file(to.path_of(key_of(make_entry(1))), "damaged");
  EXPECT_EQ(to.import_from(archive_).published, 1);
  EXPECT_EQ(to.export_to(scratch_ / "again.tar"), 2);
  EXPECT_EQ(read_file(scratch_ / "again.tar"), bytes_);
}

TEST_F(CubinArchive, TarReadsIt) {
  if (std::system("tar --version > /dev/null 2>&1") != 0) GTEST_SKIP() << "needs tar";
  const std::string out = scratch_ / "untarred";
  fs::create_directory(out);
  ASSERT_EQ(std::system(("tar -x --no-same-owner -f " + archive_ + " -C " + out).c_str()), 0);
  EXPECT_EQ(CubinCache(out, true).load(key_of(make_entry(1))), make_entry(1));
  ASSERT_EQ(
      std::system(("cd " + out + " && tar -c --format=ustar -f ../theirs.tar v1/*/*").c_str()), 0);
  EXPECT_EQ(CubinCache(scratch_ / "to").import_from(scratch_ / "theirs.tar").published, 2);
}

TEST_F(CubinArchive, AnEmptyCache) {
  CubinCache empty(scratch_ / "empty");
  EXPECT_EQ(empty.export_to(archive_), 0);
  EXPECT_EQ(CubinCache(scratch_ / "to").import_from(archive_).published, 0);
}

TEST_F(CubinArchive, DamagedEntriesAreNotExported) {
  write_file(from_.path_of(key_of(make_entry(1))), "damaged");
  EXPECT_EQ(from_.export_to(archive_), 1);
}

TEST_F(CubinArchive, AFailedExportLeavesNothing) {
  EXPECT_THROW(from_.export_to(scratch_ / "no/such/folder.tar"), Error);
  fs::create_directory(scratch_ / "taken");
  EXPECT_THROW(from_.export_to(scratch_ / "taken"), Error);
  EXPECT_TRUE(temporaries_in(scratch_ / "").empty());
}

TEST_F(CubinArchive, NamesThatLeadElsewhere) {
  const std::string file = key_of(make_entry(1)) + ".mcb", shard = file.substr(0, 2);
  for (const std::string& name :
       {"../" + file, "/v1/" + shard + "/" + file, "v1/../" + shard + "/" + file,
        "v1/" + shard + "/../" + shard + "/" + file, "./v1/" + shard + "/" + file,
        "v1//" + shard + "/" + file, "v1/00/" + file, "v2/" + shard + "/" + file, file,
        "v1/" + shard + "/" + file + "/", std::string("v1/") + shard, std::string("/etc/passwd"),
        std::string("CACHEDIR.TAG"), std::string()}) {
    expect_refused(named(name), "is not named v1/ab/<key>.mcb");
  }
  expect_refused(
      named("v1/" + key_of(make_entry(2)).substr(0, 2) + "/" + key_of(make_entry(2)) + ".mcb"),
      "another key");
  expect_refused(with_header([](std::string& h) { h.replace(345, 2, ".."); }), "over 100 bytes");
}

TEST_F(CubinArchive, OtherThanPlainFiles) {
  for (const char type : {'1', '2', '3', '4', '5', '6', '7', 'L', 'g', 'x'}) {
    expect_refused(with_header([&](std::string& header) { header[156] = type; }),
                   "is not a plain file");
  }
}

TEST_F(CubinArchive, Sizes) {
  const auto sized = [&](const std::string& octal) {
    return with_header([&](std::string& header) { header.replace(124, 12, octal, 0, 12); });
  };
  expect_refused(sized("77777777777 "), "has over");
  expect_refused(sized("00600000000 "), "has over");
  expect_refused(sized("00400000000 "), "ends in the middle");
  expect_refused(sized("00000000000 "), "is damaged");
  expect_refused(sized("-0000000001 "), "has no size");
  expect_refused(sized("            "), "has no size");
  expect_refused(sized(std::string("\x80\0\0\0\0\0\0\0\0\0\1\0", 12)), "has no size");
}

TEST_F(CubinArchive, TruncatedAnywhere) {
  for (std::size_t size = 0; size < bytes_.size(); size += 37) {
    expect_refused(bytes_.substr(0, size), "ends in the middle");
  }
  expect_refused(bytes_.substr(0, bytes_.size() - kBlock), "ends in the middle");
}

TEST_F(CubinArchive, DamageAnywhereInTheLastMember) {
  const std::size_t half = (bytes_.size() - 2 * kBlock) / 2;
  for (std::size_t at = half; at < bytes_.size(); at += 61) {
    std::string damaged = bytes_;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    expect_refused(damaged, "");
  }
}

TEST_F(CubinArchive, StrayBytes) {
  expect_refused(bytes_ + "x", "stray bytes");
  expect_refused(bytes_ + bytes_, "stray bytes");
  write_file(archive_, bytes_ + std::string(10240, '\0'));  // as some writers pad
  EXPECT_EQ(CubinCache(scratch_ / "to").import_from(archive_).published, 2);
}

TEST_F(CubinArchive, OtherThanAnArchive) {
  CubinCache to(scratch_ / "to");
  EXPECT_THROW(to.import_from(scratch_ / "absent"), Error);
  ASSERT_EQ(mkfifo((scratch_ / "fifo").c_str(), 0600), 0);
  EXPECT_THROW(to.import_from(scratch_ / "fifo"), Error);
  expect_refused("", "ends in the middle");
  expect_refused(std::string(4096, 'x'), "has a damaged header");
}

TEST_F(CubinArchive, FromAnotherFolder) {
  CubinCache to(scratch_ / "to");
  EXPECT_EQ(to.import_from(from_.dir()).published, 2);
  EXPECT_EQ(to.import_from(from_.dir()).present, 2);
  write_file(from_.path_of(key_of(make_entry(2))), "damaged");
  CubinCache other(scratch_ / "other");
  EXPECT_THROW(other.import_from(from_.dir()), Error);
  EXPECT_TRUE(other.list().empty());
}

TEST_F(CubinArchive, IntoAReadOnlyOrAbsentCache) {
  EXPECT_THROW(CubinCache(scratch_ / "to", true).import_from(archive_), Error);
  EXPECT_THROW(CubinCache("").import_from(archive_), Error);
  EXPECT_FALSE(fs::exists(scratch_ / "to"));
}

}  // namespace
}  // namespace marlin::test
