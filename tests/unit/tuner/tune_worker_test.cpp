// A worker process that answers, crashes, hangs or does not come up.
#include "tuner/search/tune_worker.h"

#include <gtest/gtest.h>

#include "tests/unit/problems.h"

namespace marlin {
namespace {

const Problem kShape = problem_of(16, 512, 512, 128);
const Config kGood = parse_config("m16 n64 w1x4 k64 s3 accumulators split1 b1");
const Config kWrong = parse_config("m16 n64 w1x4 k64 s2 accumulators split1 b1");
const Config kLoses = parse_config("m16 n64 w1x4 k64 s4 accumulators split1 b1");
const Config kCrashes = parse_config("m16 n256 w4x2 k64 s3 accumulators split1 b1");
const Config kHangs = parse_config("m16 n128 w1x4 k64 s3 accumulators split1 b1");

// Seconds: more than a worker that does not hang ever takes, on the slowest machine.
constexpr double kPatience = 1200;

TEST(TuneWorker, SaysWhatItRunsOn) {
  const RemoteDevice device({FAKE_WORKER}, kPatience);
  EXPECT_EQ(device.hello().gpu, "NVIDIA Fake");
  EXPECT_EQ(device.hello().target, (Target{"sm_80", 108}));
  EXPECT_EQ(device.hello().driver, 13000);
}

TEST(TuneWorker, AnswersComeThrough) {
  RemoteDevice device({FAKE_WORKER}, kPatience);
  const Trial good = device.try_out(kShape, kGood);
  EXPECT_EQ(good.failure, "");
  EXPECT_EQ(good.timing.median_us, 16);
  EXPECT_EQ(good.timing.launches, 4);
  EXPECT_EQ(device.try_out(kShape, kWrong).failure, "relative error 0.5");
  const auto race = device.race(kShape, {kGood, kGood}, 5);
  ASSERT_TRUE(race.has_value());
  ASSERT_EQ(race->size(), 2U);
  EXPECT_EQ((*race)[1].round_us, std::vector<double>(5, 16.0));
}

TEST(TuneWorker, ACrashCostsTheCandidateAlone) {
  RemoteDevice device({FAKE_WORKER}, kPatience);
  EXPECT_EQ(device.try_out(kShape, kCrashes).failure, "the worker died of Aborted");
  EXPECT_EQ(device.try_out(kShape, kGood).failure, "");
}

TEST(TuneWorker, SoDoesAHang) {
  RemoteDevice device({FAKE_WORKER}, kPatience);
  device.set_patience(0.25);
  EXPECT_EQ(device.try_out(kShape, kHangs).failure, "the worker gave no answer within 0.25 s");
  device.set_patience(kPatience);
  EXPECT_EQ(device.try_out(kShape, kGood).failure, "");
}

TEST(TuneWorker, ALostRaceIsNoRace) {
  RemoteDevice device({FAKE_WORKER}, kPatience);
  EXPECT_EQ(device.race(kShape, {kGood, kLoses}, 3), std::nullopt);
  EXPECT_EQ(device.try_out(kShape, kGood).failure, "");
}

TEST(TuneWorker, ADeviceThatCannotIsNoCandidatesFault) {
  RemoteDevice device({FAKE_WORKER}, kPatience);
  Problem whole = kShape;
  whole.scheme.group = -1;
  try {
    device.try_out(whole, kGood);
    FAIL();
  } catch (const DeviceFailure& failure) {
    EXPECT_STREQ(failure.what(), "out of memory");
  }
  EXPECT_EQ(device.try_out(kShape, kGood).failure, "");
}

TEST(TuneWorker, OneThatDoesNotComeUpIsSaidSo) {
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{FAKE_WORKER, "--refuse"}, {"/nonexistent/worker"}}) {
    EXPECT_THROW(RemoteDevice(command, kPatience), DeviceFailure);
  }
}

}  // namespace
}  // namespace marlin
