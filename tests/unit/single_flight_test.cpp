// One thread makes what many want at once: the value and the failure reach every one of them.
// Entry point: the tests of suite SingleFlight.
#include "runtime/single_flight.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <stdexcept>
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
  EXPECT_EQ(flights.run(1, [] { return "one"; }), "one");
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
        throw std::runtime_error("no");
      });
    } catch (const std::runtime_error& error) {
      if (error.what() == std::string("no")) ++failed;
    }
  });
  EXPECT_EQ(failed, kThreads);
  EXPECT_LT(tried, kThreads);
  EXPECT_EQ(flights.run(7, [] { return "yes"; }), "yes");
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
