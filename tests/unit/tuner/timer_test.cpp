// The timer on a make-believe GPU whose kernels take times that are known: what it launches, in
// which order, and that drift and a slow start do not reach the results.
// Entry point: the tests of suite TimerTest.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "codegen/base/error.h"
#include "tests/stubs/timed_cuda.h"
#include "tuner/measure/measure.h"

namespace marlin {
namespace {

using test::TimedReplay;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

class TimerTest : public testing::Test {
 protected:
  void SetUp() override {
    timed_cuda()->log.clear();
    times({10, 12, 20});
  }

  // What each kernel takes, whenever it runs.
  static void times(std::vector<double> us) {
    timed_cuda()->cost = [us](int kernel, double) { return us[static_cast<std::size_t>(kernel)]; };
  }

  static Timer::Launch launch(int kernel) {
    return [kernel](int) { timed_cuda()->launch(kernel); };
  }

  static std::vector<Timer::Launch> kernels(const std::vector<int>& which) {
    std::vector<Timer::Launch> launches;
    for (const int kernel : which) launches.push_back(launch(kernel));
    return launches;
  }

  // The kernels of the last graphs that ran.
  static std::vector<int> last_graphs(std::size_t count) {
    std::vector<int> ran;
    const std::vector<TimedReplay>& log = timed_cuda()->log;
    for (std::size_t i = log.size() - count; i < log.size(); ++i) {
      EXPECT_TRUE(log[i].graph);
      ran.push_back(log[i].kernel);
    }
    return ran;
  }

  Timer timer_;
};

TEST_F(TimerTest, TimesAndScreensOneKernel) {
  const Timing timing = timer_.time(31, launch(1));
  EXPECT_NEAR(timing.median_us, 12, 1e-3);
  EXPECT_EQ(timing.launches, 155);
  EXPECT_EQ(timing.replays, 7);
  const Timing screen = timer_.screen(31, launch(2));
  EXPECT_NEAR(screen.median_us, 20, 1e-3);
  EXPECT_EQ(screen.launches, 31);
  EXPECT_EQ(timer_.screen(1, launch(2)).launches, 4);
}

TEST_F(TimerTest, ALaunchGetsItsPlaceInTheReplay) {
  std::vector<int> places;
  timer_.screen(5, [&](int i) {
    places.push_back(i);
    timed_cuda()->launch(0);
  });
  EXPECT_THAT(places, ElementsAre(0, 0, 0, 1, 2, 3, 4));  // two alone, then the graph
}

TEST_F(TimerTest, LongLaunchesAreNotRepeatedForTheRotation) {
  times({40000, 2000});
  const Timing screen = timer_.screen(31, launch(0));
  EXPECT_EQ(screen.launches, 1);
  EXPECT_NEAR(screen.median_us, 40000, 1);
  EXPECT_EQ(timer_.time(31, launch(0)).launches, 1);
  EXPECT_EQ(timer_.time(31, launch(1)).launches, 2);
}

TEST_F(TimerTest, ASlowStartIsNoLongLaunch) {
  int runs = 0;
  timed_cuda()->cost = [&](int, double) { return ++runs <= 2 ? 5000 : 10; };
  const Timing screen = timer_.screen(31, launch(0));
  EXPECT_EQ(screen.launches, 31);
  EXPECT_NEAR(screen.median_us, 10, 1e-3);
}

TEST_F(TimerTest, ARaceReplaysEachContestantOnceInEveryRound) {
  const std::vector<RaceTiming> race = timer_.race(5, kernels({2, 0, 1}), 6);
  ASSERT_EQ(race.size(), 3U);
  for (const RaceTiming& one : race) {
    EXPECT_EQ(one.timing.launches, 150);
    EXPECT_EQ(one.timing.replays, 6);
    EXPECT_THAT(one.round_us, SizeIs(6));
  }
  EXPECT_NEAR(race[0].timing.median_us, 20, 1e-3);
  EXPECT_NEAR(race[1].timing.median_us, 10, 1e-3);
  EXPECT_NEAR(race[2].timing.median_us, 12, 1e-3);
  EXPECT_NEAR(paired_ratio(race[0], race[1]), 2, 1e-4);

  std::vector<int> expected = {2, 0, 1};  // the warm-up
  for (const std::vector<int>& order : race_orders(3, 6)) {
    for (const int contestant : order) {
      expected.push_back(std::vector<int>{2, 0, 1}[static_cast<std::size_t>(contestant)]);
    }
  }
  EXPECT_EQ(last_graphs(expected.size()), expected);
}

TEST_F(TimerTest, RoundsArePairedAlsoWhenTheClockFalls) {
  // Half a per cent of the start slower each time another kernel begins; kernel 2 is really 3 %
  // slower than the others.
  timed_cuda()->cost = [last = 0, changes = 0](int kernel, double) mutable {
    changes += kernel != last;
    last = kernel;
    return (kernel == 2 ? 10.3 : 10.0) * (1 + 0.005 * changes);
  };
  const std::vector<RaceTiming> race = timer_.race(5, kernels({0, 1, 2}), 24);
  EXPECT_GT(race[0].timing.max_us, 1.2 * race[0].timing.min_us);
  EXPECT_NEAR(paired_ratio(race[1], race[0]), 1, 0.001);
  EXPECT_NEAR(paired_ratio(race[2], race[0]), 1.03, 0.001);
}

TEST_F(TimerTest, AContestantFarBehindDoesNotHoldUpTheRounds) {
  times({10, 5000});
  const std::vector<RaceTiming> race = timer_.race(31, kernels({0, 1}), 4);
  EXPECT_EQ(race[0].timing.launches, 155);
  EXPECT_EQ(race[1].timing.launches, 1);
  EXPECT_NEAR(paired_ratio(race[1], race[0]), 500, 0.1);
}

// Every window is the second of two replays of its contestant, between two readings of the clocks.
TEST_F(TimerTest, PacedContestantsTakeTurns) {
  for (const Pace pace : {Pace::burst, Pace::sustained}) {
    timed_cuda()->log.clear();
    std::vector<int> readings;
    std::vector<std::size_t> replays_before;
    const std::vector<PacedTiming> timings =
        timer_.pace(pace, {{5, launch(0)}, {31, launch(2)}}, 3, [&](int reading) {
          readings.push_back(reading);
          replays_before.push_back(timed_cuda()->log.size());
        });
    ASSERT_THAT(timings, SizeIs(2));
    EXPECT_NEAR(timings[0].timing.median_us, 10, 1e-3);
    EXPECT_NEAR(timings[1].timing.median_us, 20, 1e-3);
    EXPECT_EQ(timings[0].timing.launches % 5, 0);
    EXPECT_EQ(timings[1].timing.launches % 31, 0);
    EXPECT_THAT(readings, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11));
    // Rounds 0, 1 and 2 go 0 1, 1 0 and 1 0.
    EXPECT_THAT(timings[0].readings, ElementsAre(0, 6, 10));
    EXPECT_THAT(timings[1].readings, ElementsAre(2, 4, 8));
    EXPECT_EQ(last_graphs(12), (std::vector<int>{0, 0, 2, 2, 2, 2, 0, 0, 2, 2, 0, 0}));
    for (std::size_t i = 0; i < readings.size(); i += 2) {
      EXPECT_EQ(replays_before[i + 1], replays_before[i] + 1);  // the window alone
    }
  }
}

TEST_F(TimerTest, NobodyRaces) { EXPECT_TRUE(timer_.race(5, {}, 4).empty()); }

TEST_F(TimerTest, NothingIsLeftBehind) {
  timer_.race(5, kernels({0, 1, 2}), 4);
  const auto failing = [](int) { throw Error(ErrorCode::driver_failed, "made up"); };
  EXPECT_THROW(timer_.race(5, {launch(0), failing}, 4), Error);
  EXPECT_EQ(timed_cuda()->live_events, 0);
  EXPECT_EQ(timed_cuda()->live_graphs, 0);
  EXPECT_EQ(timed_cuda()->live_streams, 1);
}

TEST(GpuTest, OrdinalsCountTheGpus) {
  EXPECT_EQ(Gpu().name(), "First GPU");
  EXPECT_EQ(Gpu(1).name(), "Second GPU");
  EXPECT_EQ(Gpu(1).target().sms, 109);
  for (const int ordinal : {-1, 2}) {
    try {
      const Gpu gpu(ordinal);
      ADD_FAILURE() << ordinal << " was taken";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::no_device);
      EXPECT_THAT(error.what(), HasSubstr("is not in 0..1"));
    }
  }
}

}  // namespace
}  // namespace marlin
