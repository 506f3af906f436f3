// Tuning databases as wholes: loaded, joined and compared.
// Entry point: the tests of suite TuningFiles.
#include "tuner/search/tuning_files.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/problems.h"
#include "tests/unit/runtime/tuning_cases.h"

namespace marlin::test {
namespace {

const Problem kShape = problem_of(16, 4096, 4096, 128, false);

LoadedDb db_of(const std::vector<TuningRecord>& records) {
  return load_db(TuningFile("db", text_of(records)));
}

// By survival: each stays beside all that follow it.
std::vector<TuningRecord> survivors() {
  TuningRecord old = choice_for(kShape, plain_config(2), 1);
  old.schema = 99;
  old.searched = "stripe/1,plane/1,sphere/1";
  TuningRecord narrow = choice_for(kShape, plain_config(3), 2);
  narrow.searched = "plane/1,sphere/1";
  TuningRecord wide = choice_for(kShape, plain_config(4), 8);
  wide.searched += ",plane/1";
  return {wide, choice_for(kShape, plain_config(2), 5), choice_for(kShape, plain_config(3), 6),
          narrow, old};
}

TEST(TuningFiles, OfTwoChoicesTheBetterStaysWhateverTheOrder) {
  const std::vector<TuningRecord> ranked = survivors();
  for (std::size_t i = 0; i < ranked.size(); ++i) {
    for (std::size_t j = i; j < ranked.size(); ++j) {
      const LoadedDb x = db_of({ranked[i]}), y = db_of({ranked[j]});
      EXPECT_EQ(text_of(merged({x, y})), to_line(ranked[i])) << i << " " << j;
      EXPECT_EQ(text_of(merged({y, x})), to_line(ranked[i])) << i << " " << j;
    }
  }
}

TEST(TuningFiles, TheUnionIsOneWhateverTheOrder) {
  constexpr unsigned kSeed = 7;
  RandomCases cases(kSeed);
  std::vector<LoadedDb> parts(4);
  for (int i = 0; i < 60; ++i) {
    const TuningRecord record = random_record(cases);
    parts[static_cast<std::size_t>(i) % 4].records.push_back(record);
    if (i % 7 == 0) parts[static_cast<std::size_t>(i + 1) % 4].records.push_back(record);
  }
  for (const TuningRecord& record : survivors()) {
    parts[static_cast<std::size_t>(cases.upto(4)) - 1].records.push_back(record);
  }
  const std::string expected = text_of(merged(parts));
  EXPECT_EQ(text_of(merged({db_of(merged(parts))})), expected) << "merging again changes nothing";
  std::vector<std::size_t> order = {0, 1, 2, 3};
  while (std::next_permutation(order.begin(), order.end())) {
    std::vector<LoadedDb> shuffled;
    for (const std::size_t part : order) shuffled.push_back(parts[part]);
    EXPECT_EQ(text_of(merged(shuffled)), expected);
  }
}

TEST(TuningFiles, InOneDatabaseTheLaterChoiceStands) {
  const TuningRecord fast = choice_for(kShape, plain_config(2), 1);
  const TuningRecord again = choice_for(kShape, plain_config(3), 4);
  EXPECT_EQ(text_of(merged({db_of({fast, again})})), to_line(again));
  EXPECT_EQ(text_of(standing_choices(db_of({fast, again}))), to_line(again));
  const LoadedDb both = db_of({chained(fast), again});
  EXPECT_EQ(text_of(standing_choices(both)), to_line(again) + to_line(chained(fast)));
  EXPECT_FALSE(same_key(fast, chained(fast)));
}

TEST(TuningFiles, OtherGpusShapesAndKindsAreKept) {
  TuningRecord gpu = choice_for(kShape, plain_config());
  gpu.gpu = "another";
  TuningRecord exact = choice_for(kShape, plain_config());
  exact.problem.shape.exact_m = true;
  TuningRecord timing = choice_for(kShape, plain_config());
  timing.kind = TuningRecord::Kind::timing;
  TuningRecord slower = timing;
  slower.us = 50;
  const std::vector<TuningRecord> all = {choice_for(kShape, plain_config()),
                                         gpu,
                                         exact,
                                         timing,
                                         slower,
                                         chained(choice_for(kShape, plain_config())),
                                         chained(timing)};
  EXPECT_EQ(merged({db_of(all), db_of(all)}).size(), all.size());
}

TEST(TuningFiles, BadLinesAreNamedByTheirNumber) {
  const std::string good = to_line(plain_choice());
  const LoadedDb db = load_db(TuningFile("f", good + "\n" + good + good.substr(0, 50)));
  EXPECT_EQ(db.records.size(), 2U);
  ASSERT_EQ(db.bad.size(), 2U);
  EXPECT_EQ(to_string(db.bad[0]), "f:2: is no JSON object");
  EXPECT_EQ(db.bad[1].number, 4U);
  EXPECT_EQ(load_db(TuningFile("f", good.substr(0, good.size() - 1))).records.size(), 1U);
}

TEST(TuningFiles, ADifferenceIsInTheChoicesNotTheirTimes) {
  const TuningRecord choice = choice_for(kShape, plain_config(2), 5);
  const TuningRecord slower = choice_for(kShape, plain_config(2), 6);
  const TuningRecord other = choice_for(kShape, plain_config(3), 5);
  TuningRecord schema = choice;
  schema.schema = 99;
  TuningRecord timing = choice;
  timing.kind = TuningRecord::Kind::timing;
  EXPECT_TRUE(diff_of(db_of({choice, timing}), db_of({slower})).empty());
  DbDiff diff = diff_of(db_of({choice}), db_of({other}));
  ASSERT_EQ(diff.changed.size(), 1U);
  EXPECT_EQ(diff.changed[0].before.config, choice.config);
  EXPECT_EQ(diff.changed[0].after.config, other.config);
  EXPECT_TRUE(diff.added.empty() && diff.removed.empty());
  EXPECT_EQ(diff_of(db_of({choice}), db_of({schema})).changed.size(), 1U);
  diff = diff_of(db_of({choice}), db_of({choice, chained(other)}));
  EXPECT_TRUE(diff.changed.empty());
  EXPECT_EQ(text_of(diff.added), to_line(chained(other)));
  EXPECT_EQ(diff_of(db_of({}), db_of({choice})).added.size(), 1U);
  EXPECT_EQ(diff_of(db_of({choice}), db_of({})).removed.size(), 1U);
}

}  // namespace
}  // namespace marlin::test
