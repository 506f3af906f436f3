// Folders and files that we make, and results on their way to what the user named.
// Entry point: the tests of suites MadeFolders and OutputFileTest.
#include "runtime/base/files.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

#include "codegen/base/error.h"
#include "runtime/base/output_file.h"
#include "runtime/cache/cache_folder.h"

namespace marlin {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Umask {
 public:
  explicit Umask(mode_t mask) : before_(umask(mask)) {}
  ~Umask() { umask(before_); }
  Umask(const Umask&) = delete;
  Umask& operator=(const Umask&) = delete;

 private:
  mode_t before_;
};

class MadeFolders : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = fs::temp_directory_path() / "marlin-files-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    dir_ = name;
  }
  void TearDown() override { fs::remove_all(dir_); }

  static std::string text_of(const fs::path& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }
  static mode_t mode_of(const fs::path& path) {
    struct stat info = {};
    EXPECT_EQ(stat(path.c_str(), &info), 0) << path;
    return info.st_mode & 07777;
  }
  static std::string refusal(const std::string& path) {
    try {
      write(path, "text");
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::io);
      return error.what();
    }
    return "written";
  }
  static void write(const std::string& path, std::string_view text) {
    OutputFile file(path);
    file.write(text);
    file.commit();
  }
  std::size_t names() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(dir_), fs::directory_iterator()));
  }

  fs::path dir_;
};

using OutputFileTest = MadeFolders;

// 002 is the default of users on Ubuntu and Fedora.
TEST_F(MadeFolders, AreFoldersThatACacheTakes) {
  for (const mode_t mask : {0, 002, 022, 027, 077}) {
    const Umask set(mask);
    const fs::path top = dir_ / std::to_string(mask);
    make_folders(top / "b" / "c/");
    make_folders(top / "b" / "c");
    for (const fs::path& made : {top, top / "b", top / "b" / "c"}) {
      EXPECT_EQ(mode_of(made), 0755 & ~mask) << made;
      EXPECT_TRUE(CacheFolder::open(made));
    }
    EXPECT_EQ(CacheFolder::create(top / "d" / "e").path(), (top / "d" / "e").string());
    EXPECT_EQ(mode_of(top / "d"), 0755 & ~mask);
  }
  EXPECT_NO_THROW(make_folders(""));
  EXPECT_NO_THROW(make_folders("/"));
}

TEST_F(MadeFolders, AFileInTheWayIsNamed) {
  std::ofstream(dir_ / "file") << "text";
  for (const fs::path& path : {dir_ / "file", dir_ / "file" / "below"}) {
    try {
      make_folders(path);
      ADD_FAILURE() << path;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::io);
      EXPECT_THAT(error.what(), HasSubstr("/file: cannot create the folder: Not a directory"));
    }
  }
}

TEST_F(OutputFileTest, AFileAppearsWholeAndNobodyElseMayWriteIt) {
  for (const mode_t mask : {0, 002, 077}) {
    const Umask set(mask);
    const fs::path path = dir_ / "out";
    write(path, "first");
    write(path, "second");
    EXPECT_EQ(text_of(path), "second");
    EXPECT_EQ(mode_of(path), 0644 & ~mask);
    {
      OutputFile given_up(path);
      given_up.write("third");
    }
    EXPECT_EQ(text_of(path), "second");
    EXPECT_EQ(names(), 1U);
    fs::remove(path);
  }
}

TEST_F(OutputFileTest, ALinkStaysALink) {
  fs::create_directory(dir_ / "there");
  fs::create_symlink("there/file", dir_ / "middle");
  fs::create_symlink(dir_ / "middle", dir_ / "link");
  for (const char* text : {"dangling at first", "then not"}) {
    write(dir_ / "link", text);
    EXPECT_TRUE(fs::is_symlink(dir_ / "link"));
    EXPECT_TRUE(fs::is_symlink(dir_ / "middle"));
    EXPECT_EQ(text_of(dir_ / "there" / "file"), text);
  }
  fs::create_symlink("b", dir_ / "a");
  fs::create_symlink("a", dir_ / "b");
  EXPECT_THAT(refusal(dir_ / "a"), HasSubstr("/a: Too many levels of symbolic links"));
}

TEST_F(OutputFileTest, AFifoIsWrittenThrough) {
  const fs::path path = dir_ / "fifo";
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  std::string got;
  std::thread reader([&] { got = text_of(path); });
  write(path, "through");
  reader.join();
  EXPECT_EQ(got, "through");
  EXPECT_TRUE(fs::is_fifo(path));
  EXPECT_EQ(names(), 1U);
}

TEST_F(OutputFileTest, ADeviceStaysADevice) {
  constexpr unsigned kMemoryDevices = 1, kNull = 3, kFull = 7;
  const fs::path null = dir_ / "null", full = dir_ / "full";
  if (mknod(null.c_str(), S_IFCHR | 0600, makedev(kMemoryDevices, kNull)) != 0 ||
      mknod(full.c_str(), S_IFCHR | 0600, makedev(kMemoryDevices, kFull)) != 0) {
    GTEST_SKIP() << "devices cannot be made here";
  }
  const UniqueFd usable(open(null.c_str(), O_WRONLY | O_CLOEXEC));
  if (!usable.valid()) GTEST_SKIP() << "devices cannot be opened here";
  write(null, "text");
  fs::create_symlink("null", dir_ / "link");
  write(dir_ / "link", "text");
  EXPECT_TRUE(fs::is_character_file(null));
  EXPECT_THAT(refusal(full), HasSubstr("/full: cannot write the file: No space left on device"));
  EXPECT_TRUE(fs::is_character_file(full));
  EXPECT_EQ(names(), 3U);
}

TEST_F(OutputFileTest, ADescriptorIsWrittenThrough) {
  std::array<int, 2> ends = {};
  ASSERT_EQ(pipe(ends.data()), 0);
  const UniqueFd from(ends[0]), to(ends[1]);
  write("/dev/fd/" + std::to_string(to.get()), "through");
  write("/proc/self/fd/" + std::to_string(to.get()), ", twice");
  std::array<char, 64> bytes = {};
  EXPECT_EQ(read(from.get(), bytes.data(), bytes.size()), 14);
  EXPECT_STREQ(bytes.data(), "through, twice");
  EXPECT_THAT(refusal("/dev/fd/999999"), HasSubstr("Bad file descriptor"));
  for (const char* path : {"-", "/dev/stdout", "/dev/fd/1"}) EXPECT_TRUE(goes_to_stdout(path));
  for (const char* path : {"", "--", "/dev/stderr", "/dev/fd/2", "out"}) {
    EXPECT_FALSE(goes_to_stdout(path)) << path;
  }
}

TEST_F(OutputFileTest, WhatCannotBeWrittenIsNamed) {
  EXPECT_THAT(refusal(dir_), HasSubstr(dir_.string() + ": Is a directory"));
  EXPECT_THAT(refusal(dir_ / "none" / "out"), HasSubstr("No such file or directory"));
  EXPECT_EQ(names(), 0U);
}

}  // namespace
}  // namespace marlin
