// Layers of a program tuned on a device whose true times are known: what is kept, who gets it.
#include "tuner/api/live_tuning.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "codegen/generator.h"
#include "runtime/launch/first_use.h"
#include "tests/unit/problems.h"
#include "tests/unit/together.h"
#include "tests/unit/tuner/live_fixture.h"
#include "tuner/search/tune_bench.h"
#include "tuner/search/tuning_journal.h"

namespace marlin {
namespace {

using test::LiveTuningTest;
using test::refusal;
using Status = TunedCell::Status;

TEST_F(LiveTuningTest, RecordsLandWhereGetLooks) {
  const Ladder ladder = this->ladder();
  const std::vector<TunedCell> cells = tune(ladder, {.rows = {13}});
  ASSERT_EQ(cells.size(), 1U);
  EXPECT_EQ(cells[0].status, Status::tuned) << cells[0].why;
  EXPECT_EQ(cells[0].problem, ladder.problem_at(rung_index(13)));
  const std::vector<TuningRecord> records = choices(ladder, 16);
  ASSERT_EQ(records.size(), 1U);
  EXPECT_EQ(records[0].gpu, "Fake GPU");
  EXPECT_EQ(to_string(records[0].config), cells[0].config_after);
  EXPECT_NEAR(records[0].us, cells[0].us_after, 1e-9);
  // Another process, which has the same database.
  KernelStore other(stand_in());
  const Kernel* kernel = other.get(cells[0].problem, options());
  EXPECT_EQ(kernel->config(), cells[0].config_after);
  EXPECT_EQ(kernel->chosen_by(), ChosenBy::tuned);
}

TEST_F(LiveTuningTest, LinearsTakeTheWinnerAndTheOldKernelLivesOn) {
  const Ladder ladder = this->ladder();
  call(ladder, 16);
  const Kernel* before = ladder.kernel_at(rung_index(16));
  const int unloads = fake_cuda()->unloads;
  const std::vector<TunedCell> cells = tune(ladder, {});
  ASSERT_EQ(cells.size(), 1U);  // the rung that is filled
  EXPECT_EQ(cells[0].config_before, before->config());
  ASSERT_NE(cells[0].config_after, cells[0].config_before);
  EXPECT_EQ(cells[0].exchanged, 1);
  EXPECT_LT(cells[0].us_after, cells[0].us_before);
  const Problem& problem = cells[0].problem;
  EXPECT_NEAR(cells[0].us_before, device_.true_us(problem, before->plan().config), 0.001);
  EXPECT_NEAR(cells[0].us_after, device_.true_us(problem, config_at(ladder, 16)), 0.001);

  const Kernel* after = ladder.kernel_at(rung_index(16));
  EXPECT_NE(after, before);
  EXPECT_EQ(after->config(), cells[0].config_after);
  call(ladder, 16);
  EXPECT_EQ(launched(), after->handle());
  // As a graph or a Compiled has it.
  EXPECT_EQ(fake_cuda()->unloads, unloads);
  before->launch(nullptr,
                 {.a = device_pointer(0x1000),
                  .b = device_pointer(0x2000),
                  .scales = device_pointer(0x3000),
                  .c = device_pointer(0x4000),
                  .workspace = device_pointer(0x5000)},
                 16);
  EXPECT_EQ(launched(), before->handle());
  // Whoever asks from now on, a Linear that is made later among them.
  EXPECT_EQ(store_.get(problem, options()), after);
  const Ladder later = this->ladder();
  call(later, 16);
  EXPECT_EQ(later.kernel_at(rung_index(16)), after);
}

// Where no kernel is in memory for it, a choice that is yet to be made sees new records, too.
TEST_F(LiveTuningTest, ANeighbourSeesTheNewRecords) {
  const Ladder ladder = this->ladder();
  EXPECT_EQ(store_.present(ladder.problem_at(rung_index(4)), options()).by, ChosenBy::model);
  device_.spread = 0;  // the winner is the model's choice, which serves its neighbours
  tune(ladder, {.rows = {8}});
  EXPECT_EQ(store_.present(ladder.problem_at(rung_index(4)), options()).by, ChosenBy::nearest);
}

TEST_F(LiveTuningTest, LinearsOfTheSameProblemAreTunedOnce) {
  const Ladder first = ladder(), second = ladder(), other = ladder(weights_of(512, 1024));
  for (const Ladder* each : {&first, &second}) call(*each, 16);
  const auto cells = tune({&first, &second, &other, &first}, {.rows = {16, 14, 8}});
  ASSERT_EQ(cells.size(), 4U);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(cells[i].status, Status::tuned) << cells[i].why;
    EXPECT_EQ(cells[i].number, static_cast<int>(i) + 1);
    EXPECT_EQ(cells[i].of, 4);
    EXPECT_EQ(cells[i].problem.shape.m, i < 2 ? 8 : 16);  // the smallest rungs first
  }
  EXPECT_EQ(cells[2].exchanged, 2);
  for (const auto& [name, times] : device_.tried) EXPECT_EQ(times, 1) << name;
  EXPECT_EQ(first.kernel_at(rung_index(16)), second.kernel_at(rung_index(16)));
  EXPECT_EQ(setups_.size(), 1U);
}

TEST_F(LiveTuningTest, ChainedOnesAreTunedApart) {
  Options chained = options();
  chained.chained = true;
  const Ladder isolated = ladder(), other = ladder(weights_of(), chained);
  const auto cells = tune({&isolated, &other}, {.rows = {16}});
  ASSERT_EQ(cells.size(), 2U);
  EXPECT_FALSE(cells[0].chained);
  EXPECT_TRUE(cells[1].chained);
  ASSERT_EQ(setups_.size(), 2U);
  EXPECT_TRUE(setups_[1].chained);
  int of_chained = 0;
  for (const TuningRecord& record : choices(isolated, 16)) of_chained += record.chained;
  EXPECT_EQ(of_chained, 1);
}

TEST_F(LiveTuningTest, WithoutRowsItIsTheRungsOfUpTo256) {
  const Ladder ladder = this->ladder(weights_of(512, 1024));
  const std::vector<TunedCell> cells = tune(ladder, {.budget_seconds = 1e-9});
  ASSERT_EQ(cells.size(), static_cast<std::size_t>(rung_index(256)) + 1);
  for (std::size_t i = 0; i < cells.size(); ++i) EXPECT_EQ(cells[i].problem.shape.m, rungs()[i]);
}

TEST_F(LiveTuningTest, WithoutSwapLinearsKeepTheirKernelsAndOthersGetTheWinner) {
  const Ladder ladder = this->ladder();
  call(ladder, 16);
  const Kernel* before = ladder.kernel_at(rung_index(16));
  const auto cells = tune({&ladder}, {.rows = {8, 16}, .swap = false});
  EXPECT_EQ(ladder.kernel_at(rung_index(8)), nullptr);
  EXPECT_EQ(ladder.kernel_at(rung_index(16)), before);
  EXPECT_EQ(cells[1].exchanged, 0);
  EXPECT_NE(cells[1].config_after, before->config());
  EXPECT_EQ(store_.get(cells[1].problem, options())->config(), cells[1].config_after);
}

// The present choice is raced whatever the model makes of it, and stays where nothing is faster.
TEST_F(LiveTuningTest, NothingIsExchangedForWhatIsNoFaster) {
  const Ladder ladder = this->ladder();
  tune(ladder, {.rows = {16}, .candidates = 0});
  const Kernel* best = ladder.kernel_at(rung_index(16));
  const auto cells = tune({&ladder}, {.candidates = 1, .retune = true});
  ASSERT_EQ(cells[0].status, Status::tuned);
  EXPECT_EQ(cells[0].config_after, best->config());
  EXPECT_NEAR(cells[0].us_before, cells[0].us_after, 0.001);
  EXPECT_EQ(cells[0].exchanged, 0);
  EXPECT_EQ(ladder.kernel_at(rung_index(16)), best);
  EXPECT_EQ(choices(ladder, 16).size(), 1U);
}

TEST_F(LiveTuningTest, WhatTheDatabaseHasIsKept) {
  std::string winner;
  {
    const Ladder ladder = this->ladder();
    winner = tune(ladder, {.rows = {16}})[0].config_after;
  }
  const int before = trials();
  KernelStore other(stand_in());
  const Ladder ladder(weights_of(), options(), other, workspaces_);
  const auto kept = tune({&ladder}, {.rows = {16}});
  EXPECT_EQ(kept[0].status, Status::kept);
  EXPECT_EQ(kept[0].config_after, winner);
  EXPECT_EQ(ladder.kernel_at(rung_index(16))->config(), winner);
  EXPECT_EQ(trials(), before);
  EXPECT_EQ(setups_.size(), 1U);  // no device was made for that
  EXPECT_EQ(tune({&ladder}, {.retune = true})[0].status, Status::tuned);
  EXPECT_GT(trials(), before);
}

TEST_F(LiveTuningTest, ABudgetThatIsOverBeginsNothing) {
  const Ladder ladder = this->ladder();
  const auto cells = tune(ladder, {.rows = {8, 16}, .budget_seconds = 1e-9});
  ASSERT_EQ(cells.size(), 2U);
  for (const TunedCell& cell : cells) {
    EXPECT_EQ(cell.status, Status::left);
    EXPECT_EQ(cell.config_after, cell.config_before);
    EXPECT_EQ(cell.us_after, 0);
  }
  EXPECT_EQ(trials(), 0);
  EXPECT_EQ(ladder.kernel_at(rung_index(16)), nullptr);
}

TEST_F(LiveTuningTest, TheCallbackHearsOfEachCellAndMayEndTheRun) {
  const Ladder ladder = this->ladder();
  std::vector<TunedCell> told;
  const auto cells =
      tune(ladder, {.rows = {8, 16, 32}, .progress = [&](const TunedCell& cell) {
                      told.push_back(cell);
                      EXPECT_NE(ladder.kernel_at(rung_index(cell.problem.shape.m)), nullptr);
                      call(ladder, cell.problem.shape.m);
                      return told.size() < 2;
                    }});
  ASSERT_EQ(told.size(), 2U);
  EXPECT_EQ(told[1].number, 2);
  EXPECT_EQ(told[1].of, 3);
  EXPECT_EQ(cells[1].status, Status::tuned);
  EXPECT_EQ(cells[2].status, Status::left);
  EXPECT_EQ(choices(ladder, 16).size(), 1U);
  EXPECT_TRUE(choices(ladder, 32).empty());
  // What it throws goes through, and what had ended stays.
  const auto fail = [](const TunedCell&) -> bool { throw Error(ErrorCode::io, "full"); };
  EXPECT_EQ(refused(ladder, {.rows = {32, 64}, .progress = fail}), "io: full");
  EXPECT_EQ(choices(ladder, 32).size(), 1U);
  EXPECT_NE(ladder.kernel_at(rung_index(32)), nullptr);
  const auto again = [&](const TunedCell&) { return tune({&ladder}, {}).empty(); };
  EXPECT_EQ(refused(ladder, {.rows = {64}, .progress = again}),
            "invalid_argument: tune() was called from its own progress callback");
}

TEST_F(LiveTuningTest, ACellThatCannotBeMeasuredKeepsItsKernels) {
  const Ladder ladder = this->ladder();
  call(ladder, 16);
  const Kernel* before = ladder.kernel_at(rung_index(16));
  device_.out_of_memory = true;
  const auto cells = tune(ladder, {});
  EXPECT_EQ(cells[0].status, Status::failed);
  EXPECT_EQ(cells[0].why, "out of memory");
  EXPECT_EQ(cells[0].config_after, cells[0].config_before);
  EXPECT_EQ(ladder.kernel_at(rung_index(16)), before);
  EXPECT_TRUE(choices(ladder, 16).empty());
}

// So it is where the device cannot even be set up.
TEST_F(LiveTuningTest, ABenchThatCannotBeMadeIsTheCellsFailure) {
  const Ladder ladder = this->ladder();
  const Ladder* const one = &ladder;
  const auto cells = tune_ladders({&one, 1}, {.rows = {16}}, [](const LiveSetup&) -> LiveBench {
    throw Error(ErrorCode::driver_failed, "no memory");
  });
  EXPECT_EQ(cells[0].status, Status::failed);
  EXPECT_EQ(cells[0].why, "no memory");
}

// The config is known from then on, and tried no more.
TEST_F(LiveTuningTest, ALostContextIsAnErrorThatNamesItsConfig) {
  class Crashes : public SimulatedDevice {
   public:
    Trial try_out(const Problem& problem, const Config& config) override {
      if (tried.size() == 2) throw DeviceLost("illegal address");
      return SimulatedDevice::try_out(problem, config);
    }
  } crashes;
  const Ladder ladder = this->ladder();
  const Ladder* const one = &ladder;
  EXPECT_EQ(refusal([&] {
              tune_ladders({&one, 1}, {.rows = {16, 32}}, [&](const LiveSetup&) {
                return LiveBench{.device = std::make_unique<test::BorrowedDevice>(crashes),
                                 .compile = nullptr};
              });
            }),
            "driver_failed: tuning 16x3072x3072 g128 has lost the CUDA context: illegal address");
  const TuningJournal journal(db_, {"Fake GPU", {"sm_90a", 132}, "", 12080});
  std::vector<TuningRecord> failures;
  for (const TuningRecord& record : journal.records(ladder.problem_at(rung_index(16)))) {
    if (record.kind == TuningRecord::Kind::failure) failures.push_back(record);
  }
  ASSERT_EQ(failures.size(), 1U);
  EXPECT_EQ(failures[0].reason, "illegal address");
  EXPECT_EQ(tune(ladder, {.rows = {16}})[0].status, Status::tuned);
  EXPECT_EQ(
      device_.tried.count(to_string(failures[0].problem) + " " + to_string(failures[0].config)),
      0U);
}

TEST_F(LiveTuningTest, BadInputIsRefusedBeforeAnythingIsMeasured) {
  const Ladder ladder = this->ladder();
  for (const std::int64_t m : {std::int64_t{0}, std::int64_t{-1}, kMaxM + 1}) {
    EXPECT_EQ(refused(ladder, {.rows = {16, m}}),
              "invalid_argument: rows = " + std::to_string(m) + " is not in 1..65536");
  }
  EXPECT_EQ(refused(ladder, {.candidates = -1}), "invalid_argument: candidates = -1 is negative");
  EXPECT_EQ(refused(ladder, {.threads = -1}), "invalid_argument: threads = -1 is negative");
  EXPECT_EQ(refused(ladder, {.budget_seconds = -1}),
            "invalid_argument: budget_seconds = -1 is not 0 or more");
  EXPECT_EQ(refused(ladder, {.db = ""}),
            "invalid_argument: no place for the tuning database: set TuneOptions::db, "
            "Options::tuning_db or MARLIN_TUNING_DB");
  EXPECT_EQ(refused(ladder, {.rows = {16}, .db = scratch_ / ""}).substr(0, 3), "io:");
  EXPECT_EQ(refused(ladder, {.stream = CU_STREAM_LEGACY}),
            "invalid_argument: the legacy stream cannot be captured: give another, or null for one "
            "of its own");
  Options fixed = options();
  fixed.config = "model";
  const Ladder given = this->ladder(weights_of(), fixed);
  EXPECT_EQ(
      refused(given, {.rows = {16}}),
      "invalid_argument: the kernels of one of the Linears must not be exchanged: the options "
      "name a config");
  Options invariant = options();
  invariant.batch_invariant = true;
  EXPECT_EQ(refused(this->ladder(weights_of(), invariant), {.rows = {16}}),
            "invalid_argument: the kernels of one of the Linears must not be exchanged: they are "
            "batch-invariant, and keep their bits");
  Options prebuilt = options();
  prebuilt.disable_jit = true;
  EXPECT_EQ(refused(this->ladder(weights_of(), prebuilt), {.rows = {16}}),
            "jit_disabled: tuning compiles kernels, and compiling is disabled");
  const std::vector<const Linear*> null = {nullptr};
  EXPECT_EQ(refusal([&] { marlin::tune(null); }), "invalid_argument: one of the Linears is null");
  EXPECT_TRUE(tune(std::vector<const Ladder*>{}, {}).empty());
  EXPECT_EQ(trials(), 0);
}

TEST_F(LiveTuningTest, DuringACaptureItIsAnError) {
  const Ladder ladder = this->ladder();
  fake_cuda()->blocking_capture = true;
  EXPECT_EQ(refused(ladder, {.rows = {16}}).substr(0, 9), "capturing");
  fake_cuda()->blocking_capture = false;
  const auto stream = reinterpret_cast<CUstream>(0x10200);
  fake_cuda()->captured_stream = stream;
  EXPECT_EQ(refused(ladder, {.rows = {16}, .stream = stream}).substr(0, 9), "capturing");
  EXPECT_EQ(trials(), 0);
}

// Launches meanwhile have the old kernel or the new one, and none is missed.
TEST_F(LiveTuningTest, LaunchesGoOnWhileKernelsAreExchanged) {
  const Ladder ladder = this->ladder();
  call(ladder, 16);
  const void* before = ladder.kernel_at(rung_index(16))->handle();
  std::atomic<bool> done{false};
  std::atomic<int> calls{0};
  const std::size_t logged = fake_cuda()->log.size();
  std::vector<TunedCell> cells;
  test::run_together(4, [&](int thread) {
    if (thread > 0) {
      while (!done) {
        call(ladder, 9 + thread);
        ++calls;
      }
      return;
    }
    cells = tune(ladder, {});
    call(ladder, 16);
    ++calls;
    done = true;
  });
  ASSERT_EQ(cells[0].exchanged, 1);
  const void* after = ladder.kernel_at(rung_index(16))->handle();
  const auto& log = fake_cuda()->log;
  EXPECT_EQ(log.size() - logged, static_cast<std::size_t>(calls));
  for (std::size_t i = logged; i < log.size(); ++i) {
    EXPECT_TRUE(log[i].kernel == before || log[i].kernel == after) << i;
    EXPECT_TRUE(log[i].was_loaded);
  }
}

// Calls that want the same wait for each other, and the second finds the first one's records.
TEST_F(LiveTuningTest, TwoCallsAtOnceMeasureOnce) {
  const Ladder first = ladder(), second = ladder();
  test::run_together(2, [&](int thread) { tune(thread == 0 ? first : second, {.rows = {16}}); });
  for (const auto& [name, times] : device_.tried) EXPECT_EQ(times, 1) << name;
  EXPECT_EQ(first.kernel_at(rung_index(16)), second.kernel_at(rung_index(16)));
}

// The real bench on the make-believe driver, whose kernels write nothing: each config fails its
// check.
TEST_F(LiveTuningTest, TheProgramsMemoryIsAsBefore) {
  const Linear linear(weights_of(512, 1024), options());
  const std::size_t allocated = fake_cuda()->memory.size();
  const int streams = fake_cuda()->streams;
  fake_cuda()->load_contexts.clear();
  const int unloads = fake_cuda()->unloads;
  const auto cells = marlin::tune(linear, {.rows = {1}, .candidates = 1});
  ASSERT_EQ(cells.size(), 1U);
  EXPECT_EQ(cells[0].status, Status::failed);
  EXPECT_EQ(cells[0].why, "none of 1 configs works");
  const TuningJournal journal(db_, {"Fake GPU", {"sm_90a", 132}, "", 12080});
  const std::vector<TuningRecord> records = journal.records(cells[0].problem);
  ASSERT_EQ(records.size(), 1U);
  EXPECT_EQ(records[0].reason.substr(0, 21), "m = 1: relative error");
  EXPECT_EQ(fake_cuda()->memory.size(), allocated);
  EXPECT_EQ(fake_cuda()->streams, streams);
  // What stays are the kernels that pack weights, which a process has one copy of.
  EXPECT_EQ(fake_cuda()->load_contexts.size(),
            static_cast<std::size_t>(fake_cuda()->unloads - unloads) + 1);
}

}  // namespace
}  // namespace marlin
