// One thread makes what many want at once: the value and the failure reach every one of them.
// Entry point: the tests of suite SingleFlight.
#include "runtime/base/single_flight.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <new>
#include <string>
#include <thread>
#include <vector>

namespace marlin {
namespace {

using Flights = SingleFlight<int, std::string, std::hash<int>>;

// Runs `body` on so many threads at once; returns when all have ended.
void on_threads(int count, const std::function<void(int)>& body) {
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) threads.emplace_back(body, i);
  for (std::thread& thread : threads) thread.join();
}

// make() ends only when every thread is about to ask, and a while later, so that all join it.
void wait_for_all(const std::atomic<int>& asking, int count) {
  while (asking < count) std::this_thread::yield();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
}

TEST(SingleFlight, ReturnsWhatIsMade) {
  Flights flights;
  EXPECT_EQ(flights.run(1, [] { return std::string("one"); }), "one");
  EXPECT_EQ(flights.run(1, [] { return "again"; }), "again");
}

TEST(SingleFlight, OneMakesForAllWhoWait) {
  constexpr int kThreads = 8;
  Flights flights;
  std::atomic<int> asking{0}, made{0}, got{0};
  on_threads(kThreads, [&](int) {
    ++asking;
    const std::string value = flights.run(7, [&] {
      wait_for_all(asking, kThreads);
      return std::to_string(++made);
    });
    if (value == "1") ++got;
  });
  // A thread that the scheduler holds back for all of the wait makes its own; never all of them do.
  EXPECT_LT(made, kThreads);
  EXPECT_GT(got, 1);
}

TEST(SingleFlight, AFailureReachesAllWhoWaitAndTheNextCallTriesAgain) {
  constexpr int kThreads = 8;
  Flights flights;
  std::atomic<int> asking{0}, tried{0}, failed{0};
  on_threads(kThreads, [&](int) {
    ++asking;
    try {
      flights.run(7, [&]() -> std::string {
        wait_for_all(asking, kThreads);
        ++tried;
        throw Error(ErrorCode::io, "no")
            .with_log("log")
            .with_options("options")
            .with_source_path("path");
      });
    } catch (const Error& error) {
      const bool whole = error.code() == ErrorCode::io && error.what() == std::string("no") &&
                         error.log() == "log" && error.options() == "options" &&
                         error.source_path() == "path";
      if (whole) ++failed;
    }
  });
  EXPECT_EQ(failed, kThreads);
  EXPECT_LT(tried, kThreads);
  EXPECT_EQ(flights.run(7, [] { return "yes"; }), "yes");
}

// Such as a lack of memory, which another thread need not meet.
TEST(SingleFlight, AfterAnotherExceptionWhoWaitedTriesForItself) {
  constexpr int kThreads = 4;
  Flights flights;
  std::atomic<int> asking{0}, tried{0}, failed{0}, got{0};
  on_threads(kThreads, [&](int) {
    ++asking;
    try {
      flights.run(7, [&]() -> std::string {
        if (++tried > 1) return "yes";
        wait_for_all(asking, kThreads);
        throw std::bad_alloc();
      });
      ++got;
    } catch (const std::bad_alloc&) {
      ++failed;
    }
  });
  EXPECT_EQ(failed, 1);
  EXPECT_EQ(got, kThreads - 1);
}

TEST(SingleFlight, OtherKeysDoNotWait) {
  Flights flights;
  const std::string value = flights.run(1, [&] {
    std::string inner;
    std::thread([&] { inner = flights.run(2, [] { return "two"; }); }).join();
    return inner;
  });
  EXPECT_EQ(value, "two");
}

}  // namespace
}  // namespace marlin
