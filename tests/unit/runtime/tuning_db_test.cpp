// Tuning databases: which files are read, and which record serves a shape.
// Entry point: the tests of suites TuningFile and TuningLayers.
#include "runtime/choose/tuning_db.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>

#include "codegen/base/error.h"
#include "codegen/generator.h"
#include "tests/unit/problems.h"
#include "tests/unit/runtime/cubin_cache_fixture.h"
#include "tests/unit/runtime/tuning_cases.h"

namespace marlin::test {
namespace {

constexpr std::string_view kH200Name = "NVIDIA H200";

Problem shape_of(std::int64_t m) { return problem_of(m, 4096, 4096, 128, false); }

std::shared_ptr<const TuningFile> file_of(const std::vector<TuningRecord>& records,
                                          const std::string& name = "file") {
  std::string text;
  for (const TuningRecord& record : records) text += to_line(record);
  return std::make_shared<const TuningFile>(name, text);
}

std::vector<TunedChoice> candidates_in(const std::vector<TuningRecord>& records,
                                       const Problem& problem, std::string_view gpu = kH200Name,
                                       bool chained = false) {
  return TuningLayers({file_of(records)}).candidates(problem, kH200, gpu, chained);
}

// The times of the records that may serve the shape name them.
using Times = std::vector<double>;
Times times_of(const std::vector<TuningRecord>& records, const Problem& problem,
               std::string_view gpu = kH200Name, bool chained = false) {
  Times times;
  for (const TunedChoice& choice : candidates_in(records, problem, gpu, chained)) {
    times.push_back(choice.record.us);
  }
  return times;
}

TuningRecord of_gpu(TuningRecord record, const std::string& gpu) {
  record.gpu = gpu;
  return record;
}

TEST(TuningFile, ChoicesAreThoseOfTheShapeAndTarget) {
  TuningRecord timing = choice_for(shape_of(16), plain_config());
  timing.kind = TuningRecord::Kind::timing;
  TuningRecord failure = choice_for(shape_of(16), plain_config());
  failure.kind = TuningRecord::Kind::failure;
  TuningRecord old = choice_for(shape_of(4), plain_config());
  old.schema = 99;
  TuningRecord narrow = choice_for(shape_of(16), plain_config());
  narrow.problem.shape.n = 2048;
  TuningRecord one_scale = choice_for(shape_of(16), plain_config());
  one_scale.problem.scheme.group = -1;
  TuningRecord smaller = choice_for(shape_of(16), plain_config());
  smaller.target.sms = 13;
  const auto file = file_of(
      {choice_for(shape_of(8), plain_config(), 1), timing, failure, old, narrow, one_scale, smaller,
       choice_for(shape_of(16), plain_config(), 2), choice_for(shape_of(8), plain_config(3), 3)});
  const std::vector<TuningRecord> found = file->choices(shape_of(64), kH200);
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].us, 2);
  EXPECT_EQ(found[1].us, 3) << "the later line of m = 8";
  EXPECT_EQ(file->choices(narrow.problem, kH200).size(), 1U);
  EXPECT_EQ(file->choices(one_scale.problem, kH200).size(), 1U);
  EXPECT_EQ(file->choices(shape_of(16), smaller.target).size(), 1U);
  EXPECT_EQ(file->choices(shape_of(16), {"sm_80", 132}).size(), 0U);
}

TEST(TuningFile, DamagedAndTornLinesArePassedOver) {
  const std::string first = to_line(choice_for(shape_of(8), plain_config(), 1));
  const std::string last = to_line(choice_for(shape_of(16), plain_config(), 2));
  for (std::size_t size = 0; size < last.size(); ++size) {
    const TuningFile file("torn", first + last.substr(0, size));
    // Without its newline alone the line is still whole.
    const std::size_t expected = size + 1 == last.size() ? 2 : 1;
    ASSERT_EQ(file.choices(shape_of(8), kH200).size(), expected) << size;
  }
  std::string damaged = first;
  damaged[damaged.find("choice")] = 'C';
  const std::string noise = "\n\n{}\nno JSON\n" + std::string("\0\xff\n", 3);
  EXPECT_EQ(TuningFile("mixed", noise + damaged + last).choices(shape_of(8), kH200).size(), 1U);
  EXPECT_EQ(TuningFile("empty", "").choices(shape_of(8), kH200).size(), 0U);
}

// A text that looks like fields of another line is still only a text.
TEST(TuningFile, FieldsInsideATextAreNoFields) {
  TuningRecord record = choice_for(shape_of(16), plain_config());
  record.problem.shape.n = 2048;
  record.gpu = ",\"n\":4096,\"k\":4096,\"group\":128,\"exact_m\":";
  EXPECT_EQ(file_of({record})->choices(shape_of(16), kH200).size(), 0U);
  EXPECT_EQ(file_of({record})->choices(record.problem, kH200).size(), 1U);
}

TEST(TuningFile, TheShippedDataIsSound) {
  const std::string_view text = TuningFile::shipped().text();
  EXPECT_EQ(TuningFile::shipped().name(), "shipped");
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    ASSERT_NE(end, std::string_view::npos) << "the last line is torn";
    const ParsedLine parsed = parse_line(text.substr(begin, end - begin));
    ASSERT_TRUE(parsed.record) << parsed.problem << "\n" << text.substr(begin, end - begin);
    EXPECT_TRUE(current_schema(*parsed.record)) << text.substr(begin, end - begin);
    begin = end + 1;
  }
}

TEST(TuningLayers, AnExactRecordIsTheOnlyOne) {
  const TuningRecord record = choice_for(shape_of(16), plain_config(3), 4);
  const auto found =
      candidates_in({choice_for(shape_of(8), plain_config(2)), record}, shape_of(16));
  ASSERT_EQ(found.size(), 1U);
  EXPECT_TRUE(found[0].exact);
  EXPECT_EQ(found[0].record.config, plain_config(3));
  EXPECT_EQ(found[0].layer, "file");
  EXPECT_EQ(times_of({}, shape_of(16)), Times{});
}

TEST(TuningLayers, ElseThoseWithinAFactorOfTwoTheNearestFirst) {
  const std::vector<TuningRecord> records = {choice_for(shape_of(2), plain_config(), 2),
                                             choice_for(shape_of(8), plain_config(), 8),
                                             choice_for(shape_of(16), plain_config(), 16)};
  EXPECT_EQ(times_of(records, shape_of(1)), Times{2});
  EXPECT_EQ(times_of(records, shape_of(4)), (Times{8, 2})) << "of two equally near the larger";
  EXPECT_EQ(times_of(records, shape_of(24)), Times{16});
  EXPECT_EQ(times_of(records, problem_of(10, 4096, 4096, 128, true)), (Times{8, 16}));
  EXPECT_EQ(times_of(records, problem_of(13, 4096, 4096, 128, true)), (Times{16, 8}));
  EXPECT_EQ(times_of(records, shape_of(48)), Times{});
  EXPECT_EQ(times_of({records[2]}, shape_of(4)), Times{});
  for (const TunedChoice& choice : candidates_in(records, shape_of(4))) EXPECT_FALSE(choice.exact);
  // Exactly m rows and up to m rows are two kernels.
  const auto other = candidates_in(records, problem_of(16, 4096, 4096, 128, true));
  ASSERT_EQ(other.size(), 2U);
  EXPECT_EQ(other[0].record.us, 16);
  EXPECT_FALSE(other[0].exact);
}

TEST(TuningLayers, OtherWeightsAndArchitecturesAreNoNeighbours) {
  const TuningRecord record = choice_for(shape_of(16), plain_config(), 16);
  EXPECT_EQ(times_of({record}, problem_of(16, 4096, 8192, 128, false)), Times{});
  EXPECT_EQ(times_of({record}, problem_of(16, 8192, 4096, 128, false)), Times{});
  const TuningLayers layers({file_of({record})});
  EXPECT_TRUE(layers.candidates(shape_of(16), {"sm_90", 132}, kH200Name).empty());
}

TEST(TuningLayers, OtherGroupsAndSmCountsAreNeighboursAfterOtherRowCounts) {
  const TuningRecord here = choice_for(shape_of(16), plain_config(), 16);
  for (const int group : {64, 32, -1}) {
    EXPECT_EQ(times_of({here}, problem_of(16, 4096, 4096, group, false)), Times{16}) << group;
  }
  TuningRecord smaller = choice_for(shape_of(24), plain_config(), 1);
  smaller.target.sms = 114;
  TuningRecord group64 = choice_for(problem_of(24, 4096, 4096, 64, false), plain_config(), 2);
  EXPECT_EQ(times_of({smaller, group64, here}, shape_of(24)), (Times{16, 2, 1}));
  EXPECT_FALSE(candidates_in({smaller}, shape_of(24)).at(0).exact);
  EXPECT_FALSE(candidates_in({group64}, shape_of(24)).at(0).exact);
}

TEST(TuningLayers, LayersComeInOrder) {
  const auto mine = file_of({choice_for(shape_of(16), plain_config(), 1)}, "mine");
  const auto theirs = file_of(
      {choice_for(shape_of(16), plain_config(), 2), choice_for(shape_of(8), plain_config(), 3)},
      "theirs");
  const auto first_of = [](const TuningLayers& layers, std::int64_t m) {
    return layers.candidates(shape_of(m), kH200, kH200Name).at(0);
  };
  EXPECT_EQ(first_of(TuningLayers({mine, theirs}), 16).layer, "mine");
  EXPECT_EQ(first_of(TuningLayers({theirs, mine}), 16).layer, "theirs");
  EXPECT_EQ(first_of(TuningLayers({mine, theirs}), 8).record.us, 3)
      << "exact in a later layer beats the nearest in an earlier one";
  EXPECT_EQ(first_of(TuningLayers({mine, theirs}), 24).layer, "mine");
}

TEST(TuningLayers, TheGpuItselfComesFirst) {
  const auto near = choice_for(shape_of(8), plain_config(), 1);
  const auto other = of_gpu(choice_for(shape_of(16), plain_config(), 2), "NVIDIA H100 80GB HBM3");
  EXPECT_EQ(times_of({near, other}, shape_of(16)), (Times{1, 2})) << "the nearest of this very GPU";
  EXPECT_EQ(times_of({near, other}, shape_of(16), "NVIDIA GH200"), (Times{2, 1}));
  EXPECT_EQ(times_of({near, other}, shape_of(16), ""), Times{2});
  const auto same = choice_for(shape_of(16), plain_config(), 3);
  EXPECT_EQ(times_of({same, other}, shape_of(16)), Times{3});
  EXPECT_EQ(times_of({other, same}, shape_of(16), "NVIDIA H100 80GB HBM3"), Times{2});
  EXPECT_EQ(times_of({other, same}, shape_of(16), ""), Times{3}) << "the later line";
}

// What another GPU found for this very shape is no answer for this one.
TEST(TuningLayers, OnlyARecordOfTheGpuAskedForIsExact) {
  const auto other = of_gpu(choice_for(shape_of(16), plain_config()), "NVIDIA H100 80GB HBM3");
  EXPECT_FALSE(candidates_in({other}, shape_of(16)).at(0).exact);
  EXPECT_TRUE(candidates_in({other}, shape_of(16), other.gpu).at(0).exact);
  EXPECT_TRUE(candidates_in({other}, shape_of(16), "").at(0).exact);
}

TEST(TuningFile, ChainedAndIsolatedChoicesStandSideBySide) {
  const auto record = choice_for(shape_of(16), plain_config(), 1);
  const auto later = choice_for(shape_of(16), plain_config(), 3);
  const auto file = file_of({record, chained(choice_for(shape_of(16), plain_config(), 2)), later,
                             chained(choice_for(shape_of(16), plain_config(), 4))});
  const std::vector<TuningRecord> found = file->choices(shape_of(16), kH200);
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].us, 3);
  EXPECT_FALSE(found[0].chained);
  EXPECT_EQ(found[1].us, 4);
  EXPECT_TRUE(found[1].chained);
}

TEST(TuningLayers, ChainedLaunchesHaveRecordsOfTheirOwn) {
  const auto alone = choice_for(shape_of(16), plain_config(), 1);
  const auto near = chained(choice_for(shape_of(8), plain_config(), 2));
  const auto mine = chained(choice_for(shape_of(16), plain_config(), 3));
  const auto others = of_gpu(mine, "NVIDIA H100 80GB HBM3");
  const auto chain = [](const std::vector<TuningRecord>& records) {
    return times_of(records, shape_of(16), kH200Name, true);
  };
  EXPECT_EQ(chain({mine, alone}), Times{3});
  EXPECT_EQ(times_of({mine, alone}, shape_of(16)), Times{1});
  EXPECT_EQ(chain({near, alone}), (Times{2, 1})) << "a near one of its kind before the exact other";
  EXPECT_EQ(chain({others, alone}), (Times{3, 1})) << "and another GPU's";
  EXPECT_EQ(chain({alone}), Times{1});
  EXPECT_TRUE(candidates_in({near, alone}, shape_of(16), kH200Name, true).back().exact);
  const auto near_alone = choice_for(shape_of(8), plain_config(), 4);
  EXPECT_EQ(chain({near, near_alone}), (Times{2, 4}));
  EXPECT_EQ(chain({alone, near_alone}), Times{1});
  EXPECT_EQ(times_of({mine, near}, shape_of(16)), Times{})
      << "isolated launches never go by chained ones";
}

TEST(TuningLayers, ARecordOfAnotherSchemaIsNotUsed) {
  TuningRecord old = choice_for(shape_of(16), plain_config(), 1);
  old.schema = 99;
  EXPECT_EQ(times_of({old}, shape_of(16)), Times{});
  EXPECT_EQ(times_of({choice_for(shape_of(16), plain_config(), 2), old}, shape_of(16)), Times{2});
}

class TuningFiles : public ::testing::Test {
 protected:
  // "read", "absent" or why it was refused.
  std::string outcome(const std::string& path) const {
    try {
      const auto file = TuningFile::read(path);
      if (!file) return "absent";
      EXPECT_EQ(file->name(), path);
      EXPECT_EQ(file->text(), text_);
      return "read";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::io);
      EXPECT_NE(std::string(error.what()).find(path), std::string::npos) << error.what();
      return error.what();
    }
  }

  bool refused(const std::string& path, const std::string& why) const {
    const std::string found = outcome(path);
    EXPECT_NE(found.find(why), std::string::npos) << found;
    return found.find(why) != std::string::npos;
  }

  ScratchDir scratch_;
  std::string text_ = to_line(plain_choice());
  std::string path_ = scratch_ / "tuning.jsonl";
};

TEST_F(TuningFiles, OnlyPlainFilesOfTheUserThatNobodyElseWrites) {
  EXPECT_EQ(outcome(path_), "absent");
  write_file(path_, text_);
  EXPECT_EQ(outcome(path_), "read");
  for (unsigned others = 0; others <= 077; ++others) {
    fs::permissions(path_, fs::perms(0400 | others));
    if ((others & 022) != 0) {
      EXPECT_TRUE(refused(path_, "others may write it"));
    } else {
      EXPECT_EQ(outcome(path_), "read");
    }
  }
  fs::permissions(path_, fs::perms(0644));
  fs::create_symlink(path_, scratch_ / "link");
  EXPECT_EQ(outcome(scratch_ / "link"), "read");
  fs::create_symlink(scratch_ / "nowhere", scratch_ / "dangling");
  EXPECT_EQ(outcome(scratch_ / "dangling"), "absent");
  fs::create_symlink(scratch_ / "loop", scratch_ / "loop");
  EXPECT_TRUE(refused(scratch_ / "loop", "cannot open the file"));
  fs::create_directory(scratch_ / "folder");
  EXPECT_TRUE(refused(scratch_ / "folder", "is not a plain file"));
  ASSERT_EQ(mkfifo((scratch_ / "fifo").c_str(), 0600), 0);
  EXPECT_TRUE(refused(scratch_ / "fifo", "is not a plain file"));
  fs::create_symlink("/dev/zero", scratch_ / "device");
  EXPECT_NE(outcome(scratch_ / "device"), "read");
}

TEST_F(TuningFiles, NoMoreThan64MiB) {
  write_file(path_, "");
  fs::resize_file(path_, TuningFile::kMostFileBytes + 1);
  EXPECT_TRUE(refused(path_, "has 67108865 bytes, over 67108864"));
}

TEST_F(TuningFiles, NotThoseOfAStranger) {
  if (!is_root()) GTEST_SKIP() << "only root can give files away";
  write_file(path_, text_);
  ASSERT_EQ(chown(path_.c_str(), 12345, 12345), 0);
  EXPECT_TRUE(refused(path_, "belongs to user 12345"));
}

TEST_F(TuningFiles, LayersLeaveOutWhatIsRefused) {
  write_file(path_, text_);
  const std::string open_to_all = scratch_ / "open.jsonl";
  write_file(open_to_all, text_);
  fs::permissions(open_to_all, fs::perms(0666));
  std::vector<std::string> problems;
  const TuningLayers layers =
      TuningLayers::open({open_to_all, scratch_ / "absent", path_}, &problems);
  ASSERT_EQ(layers.files().size(), 2U);
  EXPECT_EQ(layers.files()[0]->name(), path_);
  EXPECT_EQ(layers.files()[1]->name(), "shipped");
  ASSERT_EQ(problems.size(), 1U);
  EXPECT_NE(problems[0].find(open_to_all), std::string::npos);
}

TEST(DefaultTuningDb, FollowsTheEnvironment) {
  setenv("HOME", "/somebody", 1);
  setenv("XDG_DATA_HOME", "/data", 1);
  setenv("MARLIN_TUNING_DB", "/own/db.jsonl", 1);
  EXPECT_EQ(default_tuning_db(), "/own/db.jsonl");
  setenv("MARLIN_TUNING_DB", "", 1);
  EXPECT_EQ(default_tuning_db(), "");
  unsetenv("MARLIN_TUNING_DB");
  EXPECT_EQ(default_tuning_db(), "/data/marlin/tuning.jsonl");
  setenv("XDG_DATA_HOME", "relative", 1);
  EXPECT_EQ(default_tuning_db(), "/somebody/.local/share/marlin/tuning.jsonl");
  unsetenv("XDG_DATA_HOME");
  unsetenv("HOME");
  EXPECT_EQ(default_tuning_db(), "");
}

}  // namespace
}  // namespace marlin::test
