// The search against a make-believe device whose true times are known.
#include "tuner/search/search.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "codegen/generator.h"
#include "tests/unit/problems.h"
#include "tests/unit/tuner/simulated_device.h"
#include "tuner/search/tune_run.h"

namespace marlin {
namespace {

const Problem kShapes[] = {problem_of(1, 4096, 4096, 128), problem_of(16, 6144, 4096, 128),
                           problem_of(64, 4096, 14336, 128), problem_of(48, 1024, 2048, -1),
                           problem_of(512, 4096, 4096, 128)};
const auto kGoOn = [] { return false; };

class SearchTest : public testing::Test {
 protected:
  SearchTest() {
    // In memory, where there is such a place: each of thousands of records is synced.
    const std::filesystem::path shared = "/dev/shm";
    const bool have = access(shared.c_str(), W_OK) == 0;
    const auto base = have ? shared : std::filesystem::temp_directory_path();
    std::string name = (base / "marlin-tune-XXXXXX").string();
    folder_ = mkdtemp(name.data());
    path_ = (folder_ / "deeper" / "tuning.jsonl").string();
  }
  ~SearchTest() override { std::filesystem::remove_all(folder_); }

  TuningJournal journal(int driver = 13000, bool chained = false) const {
    return {path_, {"NVIDIA H200", {"sm_90a", 132}, "13.0", driver, chained}};
  }

  static SearchRules all_candidates() {
    SearchRules rules;
    rules.candidates = 0;
    return rules;
  }

  static double best_us(const SimulatedDevice& device, const Problem& problem) {
    double best = 1e30;
    for (const Config& config : legal_configs(problem, device.target)) {
      if (!device.fails(config)) best = std::min(best, device.true_us(problem, config));
    }
    return best;
  }

  std::string text() const {
    std::ifstream file(path_, std::ios::binary);
    std::ostringstream all;
    all << file.rdbuf();
    return all.str();
  }

  // The choices of the file, a line each.
  std::string choices(const Problem& problem) const {
    std::string lines;
    const TuningJournal now = journal();
    for (const TuningRecord& record : now.records(problem)) {
      if (record.kind == TuningRecord::Kind::choice) lines += to_line(record);
    }
    return lines;
  }

  std::filesystem::path folder_;
  std::string path_;
};

TEST_F(SearchTest, FindsTheOptimum) {
  SimulatedDevice device;
  TuningJournal journal = this->journal();
  for (const Problem& problem : kShapes) {
    const CellResult result = tune_cell(problem, device, journal, all_candidates(), kGoOn);
    ASSERT_EQ(result.status, CellResult::Status::tuned) << result.why;
    EXPECT_LE(device.true_us(problem, result.choice.config), best_us(device, problem) * 1.01);
    EXPECT_EQ(result.tried, legal_configs(problem, device.target).size());
    EXPECT_EQ(result.failures, 0U);
    EXPECT_NEAR(result.choice.us, device.true_us(problem, result.choice.config), 0.001);
    EXPECT_EQ(result.choice.searched, searched_families());
  }
}

TEST_F(SearchTest, FindsItAmongNoise) {
  SimulatedDevice device;
  device.trial_noise = 0.03;
  device.race_noise = 0.01;
  SearchRules rules = all_candidates();
  rules.finalists = 16;
  TuningJournal journal = this->journal();
  for (const Problem& problem : kShapes) {
    const CellResult result = tune_cell(problem, device, journal, rules, kGoOn);
    EXPECT_LE(device.true_us(problem, result.choice.config), best_us(device, problem) * 1.03);
  }
}

std::string kind_in(const Config& config) {
  const std::string text = to_string(config);
  return text.substr(0, text.find(" k"));
}

// Two thirds of the candidates are those of the first ranks; the others are of further kinds.
TEST_F(SearchTest, TriesWhatTheModelRanksFirstAndTheFirstOfOtherKinds) {
  SimulatedDevice device;
  SearchRules rules;
  rules.candidates = 5;
  TuningJournal journal = this->journal();
  const Problem& problem = kShapes[1];
  const std::vector<Estimate> ranked =
      rank_configs(problem, device.target, gpu_model_of(device.target, "NVIDIA H200"));
  const CellResult result = tune_cell(problem, device, journal, rules, kGoOn);
  EXPECT_EQ(result.tried, 5U);
  std::set<std::string> first_kinds;
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(device.tried.count(to_string(problem) + " " + to_string(ranked[i].config)), 1U);
    first_kinds.insert(kind_in(ranked[i].config));
  }
  const auto candidates = candidates_for(problem, journal.subject(), rules);
  ASSERT_EQ(candidates.size(), 5U);
  EXPECT_EQ(first_kinds.count(kind_in(candidates.back())), 0U);
  EXPECT_NEAR(result.choice.model_us, device.true_us(problem, ranked[0].config), 0.001);
  EXPECT_NEAR(*result.gain(), result.choice.model_us / result.choice.us, 1e-9);
}

TEST_F(SearchTest, EqualsShowNoImprovement) {
  for (const double noise : {0.0, 0.003, 0.01}) {
    // Every config takes the same time.
    class Equal : public SimulatedDevice {
     public:
      std::optional<std::vector<RaceTiming>> race(const Problem& problem,
                                                  const std::vector<Config>& configs,
                                                  int rounds) override {
        auto times = SimulatedDevice::race(problem, configs, rounds);
        for (std::size_t i = 0; i < configs.size(); ++i) {
          const double scale = 10 / true_us(problem, configs[i]);
          for (double& us : (*times)[i].round_us) us *= scale;
          (*times)[i].timing = summarise((*times)[i].round_us, 1);
        }
        return times;
      }
    } equal;
    equal.race_noise = noise;
    SearchRules rules;
    rules.close = 10;
    TuningJournal journal = this->journal();
    for (const Problem& problem : kShapes) {
      const CellResult result = tune_cell(problem, equal, journal, rules, kGoOn);
      ASSERT_TRUE(result.gain().has_value());
      EXPECT_EQ(*result.gain(), 1.0) << "noise " << noise << " " << to_string(problem);
    }
  }
}

TEST_F(SearchTest, TheSimplerOfEqualsWins) {
  const Problem problem = problem_of(16, 4096, 4096, 128);
  const Target target{"sm_90a", 132};
  const std::vector<Config> configs = {parse_config("m16 n64 w1x8 k64 s4 accumulators split2 b1"),
                                       parse_config("m16 n64 w1x8 k64 s3 accumulators split1 b1"),
                                       parse_config("m16 n64 w1x8 k64 s4 accumulators split1 b1"),
                                       parse_config("m16 n64 w1x4 k64 s3 accumulators split1 b1")};
  const auto lane = [](double us) {
    RaceTiming lane;
    lane.round_us = {us, us * 1.001, us * 0.999, us};
    lane.timing = summarise(lane.round_us, 1);
    return lane;
  };
  // Without workspace, then with least shared memory, within 1 %.
  EXPECT_EQ(
      pick_winner(problem, target, configs, {lane(10), lane(10.05), lane(10), lane(12)}, 0.01), 1U);
  EXPECT_EQ(
      pick_winner(problem, target, configs, {lane(10), lane(10.2), lane(10.05), lane(12)}, 0.01),
      2U);
  EXPECT_EQ(pick_winner(problem, target, configs, {lane(9), lane(10), lane(10), lane(12)}, 0.01),
            0U);
  EXPECT_EQ(pick_winner(problem, target, configs, {lane(10), lane(10), lane(10), lane(10)}, 0.01),
            3U);
}

TEST_F(SearchTest, WhatFailsIsKeptAndNotTriedAgain) {
  SimulatedDevice device;
  device.fails = [](const Config& config) { return config.stages == 3; };
  const Problem& problem = kShapes[1];
  {
    TuningJournal journal = this->journal();
    const CellResult result = tune_cell(problem, device, journal, all_candidates(), kGoOn);
    EXPECT_GT(result.failures, 0U);
    EXPECT_NE(result.choice.config.stages, 3);
    EXPECT_LE(device.true_us(problem, result.choice.config), best_us(device, problem) * 1.01);
  }
  const auto before = device.tried;
  TuningJournal journal = this->journal();
  const CellResult again = tune_cell(problem, device, journal, all_candidates(), kGoOn);
  EXPECT_GT(again.failures, 0U);
  for (const Config& config : legal_configs(problem, device.target)) {
    const std::string name = to_string(problem) + " " + to_string(config);
    EXPECT_EQ(device.tried.at(name), before.at(name) + (config.stages == 3 ? 0 : 1));
  }
}

TEST_F(SearchTest, NothingWorks) {
  SimulatedDevice device;
  device.fails = [](const Config&) { return true; };
  TuningJournal journal = this->journal();
  const CellResult result = tune_cell(kShapes[0], device, journal, SearchRules(), kGoOn);
  EXPECT_EQ(result.status, CellResult::Status::failed);
  EXPECT_EQ(result.why, "none of 24 configs works");
  EXPECT_EQ(device.races, 0);
}

TEST_F(SearchTest, AFinalistThatKillsTheRaceIsFoundOut) {
  SimulatedDevice device;
  const Problem& problem = kShapes[2];
  {
    TuningJournal journal = this->journal();
    const CellResult first = tune_cell(problem, device, journal, all_candidates(), kGoOn);
    device.kills_race.insert(to_string(first.choice.config));
  }
  TuningJournal journal = this->journal();
  const CellResult result = tune_cell(problem, device, journal, all_candidates(), kGoOn);
  ASSERT_EQ(result.status, CellResult::Status::tuned) << result.why;
  EXPECT_EQ(device.kills_race.count(to_string(result.choice.config)), 0U);
  EXPECT_EQ(result.failures, 1U);
}

TEST_F(SearchTest, ADeviceThatFailsBlamesNoConfig) {
  SimulatedDevice device;
  device.out_of_memory = true;
  TuningJournal journal = this->journal();
  const CellResult result = tune_cell(kShapes[0], device, journal, SearchRules(), kGoOn);
  EXPECT_EQ(result.status, CellResult::Status::failed);
  EXPECT_EQ(result.why, "out of memory");
  EXPECT_TRUE(journal.records(kShapes[0]).empty());
}

TEST_F(SearchTest, StopsBetweenMeasurementsAndGoesOn) {
  SimulatedDevice device;
  const Problem& problem = kShapes[1];
  SearchRules rules;
  TuningJournal journal = this->journal();
  int asked = 0;
  const CellResult stopped =
      tune_cell(problem, device, journal, rules, [&] { return ++asked > 10; });
  EXPECT_EQ(stopped.status, CellResult::Status::stopped);
  EXPECT_EQ(journal.records(problem).size(), 10U);
  rules.resume = true;
  EXPECT_EQ(configs_to_try(problem, journal, rules).size(), rules.candidates - 10);
  const CellResult result = tune_cell(problem, device, journal, rules, kGoOn);
  EXPECT_EQ(result.status, CellResult::Status::tuned);
  for (const auto& [name, times] : device.tried) EXPECT_EQ(times, 1) << name;
  EXPECT_TRUE(configs_to_try(problem, journal, rules).empty());
  EXPECT_EQ(tune_cell(problem, device, journal, rules, kGoOn).status, CellResult::Status::kept);
}

// Killed at random points, its file cut anywhere in what the last line would have been.
TEST_F(SearchTest, ResumesToTheSameChoicesAfterBeingKilled) {
  SimulatedDevice whole;
  whole.trial_noise = 0.02;
  whole.race_noise = 0.01;
  whole.fails = [](const Config& config) { return config.tile_n == 128; };
  SearchRules rules;
  rules.resume = true;
  std::string expected;
  {
    TuningJournal journal = this->journal();
    for (const Problem& problem : kShapes) tune_cell(problem, whole, journal, rules, kGoOn);
  }
  for (const Problem& problem : kShapes) expected += choices(problem);
  const std::size_t trials = whole.tried.size();

  constexpr unsigned kSeed = 7;
  std::mt19937 random(kSeed);
  for (int run = 0; run < 20; ++run) {
    std::filesystem::remove(path_);
    SimulatedDevice device = whole;
    device.tried.clear();
    int kills = 0;
    for (bool done = false; !done;) {
      try {
        TuningJournal journal = this->journal();
        device.operations_left = static_cast<int>(random() % 40);
        for (const Problem& problem : kShapes) tune_cell(problem, device, journal, rules, kGoOn);
        done = true;
      } catch (const Killed&) {
        ++kills;
        const auto size = std::filesystem::file_size(path_);
        if (random() % 2 == 0 && size > 0) {
          std::filesystem::resize_file(path_, size - random() % std::min<std::size_t>(size, 100));
        }
      }
    }
    std::string found;
    for (const Problem& problem : kShapes) found += choices(problem);
    ASSERT_EQ(found, expected) << "seed " << kSeed << " run " << run;
    std::size_t tried = 0;
    for (const auto& [name, times] : device.tried) tried += static_cast<std::size_t>(times);
    EXPECT_LE(tried, trials + static_cast<std::size_t>(kills));  // the record in hand, at most
  }
}

TEST_F(SearchTest, OtherVersionsAreKeptOrMeasuredAgain) {
  SimulatedDevice device;
  const Problem& problem = kShapes[0];
  SearchRules rules;
  {
    TuningJournal journal = this->journal(12080);
    tune_cell(problem, device, journal, rules, kGoOn);
  }
  rules.resume = true;
  TuningJournal journal = this->journal(13000);
  EXPECT_EQ(tune_cell(problem, device, journal, rules, kGoOn).status, CellResult::Status::kept);
  rules.retune_stale = true;
  const CellResult result = tune_cell(problem, device, journal, rules, kGoOn);
  EXPECT_EQ(result.status, CellResult::Status::tuned);
  EXPECT_EQ(result.tried, rules.candidates);
  EXPECT_EQ(result.choice.driver, 13000);
  EXPECT_EQ(tune_cell(problem, device, journal, rules, kGoOn).status, CellResult::Status::kept);
}

// Neither are the choices of isolated launches kept for chained ones, nor their failures.
TEST_F(SearchTest, ChainedLaunchesAreTunedApart) {
  SimulatedDevice device;
  const Problem& problem = kShapes[0];
  SearchRules rules;
  rules.resume = true;
  {
    TuningJournal isolated = this->journal();
    device.fails = [](const Config& config) { return config.stages == 3; };
    tune_cell(problem, device, isolated, rules, kGoOn);
  }
  device.fails = [](const Config&) { return false; };
  const std::string before = choices(problem);
  TuningJournal chained = this->journal(13000, true);
  const CellResult result = tune_cell(problem, device, chained, rules, kGoOn);
  EXPECT_EQ(result.status, CellResult::Status::tuned);
  EXPECT_EQ(result.tried, rules.candidates);
  EXPECT_EQ(result.failures, 0U);
  EXPECT_TRUE(result.choice.chained);
  EXPECT_EQ(tune_cell(problem, device, chained, rules, kGoOn).status, CellResult::Status::kept);
  EXPECT_EQ(choices(problem), before);
}

TEST_F(SearchTest, TheJournalLeavesOtherGpusAlone) {
  SimulatedDevice device;
  const Problem& problem = kShapes[0];
  {
    TuningJournal other(path_, {"NVIDIA H100 80GB HBM3", {"sm_90a", 132}, "13.0", 13000});
    tune_cell(problem, device, other, SearchRules(), kGoOn);
  }
  const std::string before = text();
  SearchRules rules;
  rules.resume = true;
  TuningJournal journal = this->journal();
  EXPECT_EQ(tune_cell(problem, device, journal, rules, kGoOn).status, CellResult::Status::tuned);
  EXPECT_EQ(text().substr(0, before.size()), before);
}

TEST(TuneCells, EachKernelOnceTheSmallestMFirst) {
  const std::vector<TuneCell> cells = cells_of({{"a", problem_of(64, 4096, 4096, 128)},
                                                {"b", problem_of(60, 4096, 4096, 128)},
                                                {"c", problem_of(3, 4096, 4096, 128)},
                                                {"d", problem_of(50, 4096, 4096, 128, true)}});
  ASSERT_EQ(cells.size(), 3U);
  EXPECT_EQ(cells[0].named.problem, (problem_of(4, 4096, 4096, 128)));
  EXPECT_EQ(cells[1].named.problem, (problem_of(50, 4096, 4096, 128, true)));
  EXPECT_EQ(cells[2].named.problem, (problem_of(64, 4096, 4096, 128)));
  std::size_t together = 0;
  for (int i = 1; i <= 2; ++i) together += shard_of(cells, i, 2).size();
  EXPECT_EQ(together, 3U);
  EXPECT_EQ(shard_of(cells, 2, 2).at(0).named.problem, cells[1].named.problem);
}

class TuneAll : public SearchTest {};

TEST_F(TuneAll, SpreadsTheCellsOverTheDevices) {
  std::vector<NamedProblem> asked;
  for (const std::int64_t m : rungs()) asked.push_back({"layer", problem_of(m, 4096, 4096, 128)});
  std::vector<TuneCell> cells = cells_of(asked);
  SimulatedDevice one, two;
  TuningJournal journal = this->journal();
  std::size_t done = 0;
  tune_all(cells, {&one, &two}, journal, SearchRules(), TuneLimits(),
           [&](const TuneCell&) { ++done; });
  EXPECT_EQ(done, cells.size());
  for (const TuneCell& cell : cells) {
    EXPECT_EQ(cell.result.status, CellResult::Status::tuned) << cell.result.why;
  }
  for (const auto& [name, times] : one.tried) EXPECT_EQ(two.tried.count(name), 0U) << name;
}

TEST_F(TuneAll, AnEndedBudgetLeavesTheRest) {
  std::vector<TuneCell> cells = cells_of({{"", kShapes[0]}, {"", kShapes[1]}});
  SimulatedDevice device;
  TuningJournal journal = this->journal();
  TuneLimits limits;
  limits.budget_seconds = 1e-9;
  tune_all(cells, {&device}, journal, SearchRules(), limits, [](const TuneCell&) {});
  for (const TuneCell& cell : cells) EXPECT_EQ(cell.result.status, CellResult::Status::stopped);
}

}  // namespace
}  // namespace marlin
