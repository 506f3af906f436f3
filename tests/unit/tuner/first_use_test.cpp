// A rung that is tuned when it is first used: when, how often, and when not.
#include "runtime/launch/first_use.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <vector>

#include "marlin/tune.h"
#include "tests/unit/together.h"
#include "tests/unit/tuner/live_fixture.h"

namespace marlin {
namespace {

using test::refusal;

class FirstUseTest : public test::LiveTuningTest {
 protected:
  FirstUseTest() {
    current = this;
    set_first_use_tuner([](const Ladder& ladder, int rung) {
      ++current->calls_;
      if (current->fails_) throw Error(ErrorCode::io, "full");
      current->tune(ladder, {.rows = {rungs()[static_cast<std::size_t>(rung)]}});
    });
  }
  ~FirstUseTest() override { set_first_use_tuner(nullptr); }

  Options tuned() const {
    Options all = options();
    all.tune_on_first_use = true;
    return all;
  }
  Ladder tuned_ladder() { return ladder(weights_of(), tuned()); }

  static FirstUseTest* current;
  std::atomic<int> calls_{0};
  bool fails_ = false;
};

FirstUseTest* FirstUseTest::current = nullptr;

TEST_F(FirstUseTest, WithoutTheTunerTheOptionIsAnError) {
  set_first_use_tuner(nullptr);
  EXPECT_EQ(refusal([&] { tuned_ladder(); }),
            "invalid_argument: tune_on_first_use needs the tuner: link marlin::tuner and call "
            "marlin::enable_tuning() (marlin/tune.h) before the Linear is made");
  EXPECT_NO_THROW(ladder());
  enable_tuning();
  EXPECT_NE(first_use_tuner(), nullptr);
  EXPECT_NO_THROW(tuned_ladder());
}

TEST_F(FirstUseTest, BesideAGivenConfigItIsAnError) {
  Options given = tuned();
  given.config = "model";
  EXPECT_EQ(refusal([&] { ladder(weights_of(), given); }),
            "invalid_argument: tune_on_first_use has nothing to choose: the options name a config");
}

TEST_F(FirstUseTest, ARungIsTunedWhenItIsFirstFilled) {
  const Ladder ladder = tuned_ladder();
  call(ladder, 13);
  EXPECT_EQ(calls_, 1);
  const std::vector<TuningRecord> records = choices(ladder, 16);
  ASSERT_EQ(records.size(), 1U);
  EXPECT_EQ(config_at(ladder, 16), records[0].config);
  EXPECT_EQ(launched(), ladder.kernel_at(rung_index(16))->handle());
  for (const std::int64_t m : {9, 16}) call(ladder, m);
  EXPECT_EQ(calls_, 1);
  const Ladder other = tuned_ladder();
  call(other, 16);
  EXPECT_EQ(calls_, 1);
  EXPECT_EQ(other.kernel_at(rung_index(16)), ladder.kernel_at(rung_index(16)));
  const Ladder* const one = &other;
  Ladder::warm_up({&one, 1}, 4, 2);
  EXPECT_EQ(calls_, 1 + rung_index(4) + 1);
}

// A kernel that was made without tuning does not stand in the way.
TEST_F(FirstUseTest, AKernelInMemoryIsTunedToo) {
  const Ladder plain = ladder(), ladder = tuned_ladder();
  call(plain, 16);
  EXPECT_EQ(calls_, 0);
  call(ladder, 16);
  EXPECT_EQ(calls_, 1);
  EXPECT_NE(ladder.kernel_at(rung_index(16)), plain.kernel_at(rung_index(16)));
}

TEST_F(FirstUseTest, WhatWasMeasuredBeforeIsNotTunedAgain) {
  const Ladder before = ladder();
  tune(before, {.rows = {16}});
  KernelStore other(stand_in());
  const Ladder ladder(weights_of(), tuned(), other, workspaces_);
  call(ladder, 16);
  EXPECT_EQ(calls_, 0);
  EXPECT_EQ(ladder.kernel_at(rung_index(16))->chosen_by(), ChosenBy::tuned);
}

TEST_F(FirstUseTest, ThreadsThatRaceTuneOnce) {
  const Ladder first = tuned_ladder(), second = tuned_ladder();
  test::run_together(8, [&](int thread) { call(thread % 2 == 0 ? first : second, 16); });
  EXPECT_EQ(calls_, 1);
  for (const auto& [name, times] : device_.tried) EXPECT_EQ(times, 1) << name;
  EXPECT_EQ(first.kernel_at(rung_index(16)), second.kernel_at(rung_index(16)));
  EXPECT_EQ(config_at(first, 16), choices(first, 16).at(0).config);
}

TEST_F(FirstUseTest, DuringACaptureNothingIsTuned) {
  const Ladder plain = ladder(), ladder = tuned_ladder();
  call(plain, 16);
  fake_cuda()->captured_stream = reinterpret_cast<CUstream>(0x10100);
  call(ladder, 16);  // in memory
  EXPECT_EQ(ladder.kernel_at(rung_index(16)), plain.kernel_at(rung_index(16)));
  EXPECT_EQ(refusal([&] { call(ladder, 32); }).substr(0, 9), "capturing");
  EXPECT_EQ(calls_, 0);
  fake_cuda()->captured_stream = nullptr;
  call(ladder, 32);
  EXPECT_EQ(calls_, 1);
}

TEST_F(FirstUseTest, ARungThatCannotBeMeasuredIsFilledAllTheSame) {
  device_.out_of_memory = true;
  const Ladder ladder = tuned_ladder();
  call(ladder, 16);
  EXPECT_EQ(calls_, 1);
  EXPECT_EQ(ladder.kernel_at(rung_index(16))->chosen_by(), ChosenBy::model);
  const Ladder other = tuned_ladder();
  call(other, 16);
  EXPECT_EQ(calls_, 1);
}

TEST_F(FirstUseTest, AnErrorReachesTheCallAndTheNextOneTriesAgain) {
  const Ladder ladder = tuned_ladder();
  fails_ = true;
  EXPECT_EQ(refusal([&] { call(ladder, 16); }), "io: full");
  EXPECT_EQ(ladder.kernel_at(rung_index(16)), nullptr);
  fails_ = false;
  call(ladder, 16);
  EXPECT_EQ(calls_, 2);
  EXPECT_EQ(choices(ladder, 16).size(), 1U);
}

// A callback that launches what was never launched before.
TEST_F(FirstUseTest, WhatTuningLaunchesItselfIsNotTuned) {
  const Ladder ladder = tuned_ladder();
  tune(ladder, {.rows = {16}, .progress = [&](const TunedCell&) {
                  call(ladder, 32);
                  return true;
                }});
  EXPECT_EQ(calls_, 0);
  EXPECT_NE(ladder.kernel_at(rung_index(32)), nullptr);
}

}  // namespace
}  // namespace marlin
