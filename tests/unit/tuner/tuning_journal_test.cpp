// What a journal leaves on the disk: whole lines, whatever ends it.
#include "tuner/search/tuning_journal.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "codegen/base/error.h"
#include "tests/unit/problems.h"

namespace marlin {
namespace {

namespace fs = std::filesystem;

const Problem kShape = problem_of(16, 4096, 4096, 128);

TuningRecord timing(double us) {
  TuningRecord record;
  record.kind = TuningRecord::Kind::timing;
  record.problem = kShape;
  record.config = parse_config("m16 n64 w1x8 k64 s3 accumulators split1 b1");
  record.schema = 1;
  record.protocol = "trial/1";
  record.us = record.min_us = record.max_us = us;
  return record;
}

class JournalTest : public testing::Test {
 protected:
  JournalTest() {
    std::string name = (fs::temp_directory_path() / "marlin-journal-XXXXXX").string();
    folder_ = mkdtemp(name.data());
    path_ = (folder_ / "tuning.jsonl").string();
  }
  ~JournalTest() override { fs::remove_all(folder_); }

  TuningJournal open(bool chained = false) const {
    return {path_, {"NVIDIA H200", {"sm_90a", 132}, "13.0", 13000, chained}};
  }
  std::string text() const {
    std::ifstream file(path_, std::ios::binary);
    std::ostringstream all;
    all << file.rdbuf();
    return all.str();
  }
  void refuses(const std::string& why) const {
    try {
      open();
      FAIL() << "opened";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::io);
      EXPECT_NE(std::string(error.what()).find(path_), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find(why), std::string::npos) << error.what();
    }
  }

  fs::path folder_;
  std::string path_;
};

TEST_F(JournalTest, GivesBackWhatAReaderWillSee) {
  TuningJournal journal = open();
  const TuningRecord kept = journal.append(timing(10.00049));
  EXPECT_EQ(kept.us, 10.0);
  EXPECT_EQ(kept.gpu, "NVIDIA H200");
  EXPECT_EQ(kept.nvrtc, "13.0");
  EXPECT_EQ(text(), to_line(kept));
  const TuningJournal again = open();
  ASSERT_EQ(again.records(kShape).size(), 1U);
  EXPECT_EQ(to_line(again.records(kShape)[0]), to_line(kept));
}

TEST_F(JournalTest, ChainedAndIsolatedRecordsAreKeptApart) {
  EXPECT_FALSE(open().append(timing(10)).chained);
  EXPECT_TRUE(open(true).append(timing(11)).chained);
  ASSERT_EQ(open().records(kShape).size(), 1U);
  EXPECT_EQ(open().records(kShape)[0].us, 10);
  ASSERT_EQ(open(true).records(kShape).size(), 1U);
  EXPECT_EQ(open(true).records(kShape)[0].us, 11);
}

TEST_F(JournalTest, ATornLastLineIsCutOff) {
  std::string whole;
  {
    TuningJournal journal = open();
    journal.append(timing(10));
    whole = text();
    journal.append(timing(11));
  }
  for (std::size_t torn = 1; torn + whole.size() < 2 * whole.size(); torn += 37) {
    fs::resize_file(path_, whole.size() + torn);
    EXPECT_EQ(open().records(kShape).size(), 1U);
    EXPECT_EQ(text(), whole);
    open().append(timing(11));
  }
}

TEST_F(JournalTest, AWriteThatFailsLeavesWholeLines) {
  TuningJournal journal = open();
  journal.append(timing(10));
  const std::string before = text();
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit old{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
  const rlimit full{before.size() + 50, old.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &full), 0);
  EXPECT_THROW(journal.append(timing(11)), Error);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old), 0);
  EXPECT_EQ(text(), before);
  EXPECT_EQ(journal.records(kShape).size(), 1U);
  journal.append(timing(12));
  EXPECT_EQ(open().records(kShape).size(), 2U);
}

TEST_F(JournalTest, ManyWritersKeepTheirLinesApart) {
  constexpr int kThreads = 8, kRecords = 20;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([this, t] {
        TuningJournal journal = open();
        for (int i = 0; i < kRecords; ++i) journal.append(timing(1 + t + i));
      });
    }
  }
  EXPECT_EQ(open().records(kShape).size(), static_cast<std::size_t>(kThreads * kRecords));
}

TEST_F(JournalTest, RefusesFilesThatNoReaderWouldTake) {
  { std::ofstream file(path_); }
  ASSERT_EQ(chmod(path_.c_str(), 0666), 0);
  refuses("writ");
  fs::remove(path_);
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  refuses("file");
  fs::remove(path_);
  fs::create_directory(path_);
  refuses("directory");
}

TEST_F(JournalTest, SaysWhyAFolderCannotBeMade) {
  { std::ofstream file(folder_ / "file"); }
  path_ = (folder_ / "file" / "tuning.jsonl").string();
  refuses("Not a directory");
}

}  // namespace
}  // namespace marlin
