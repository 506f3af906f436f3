// One thread makes what many want at once: the value and the failure reach every one of them.
// Entry point: the tests of suite SingleFlight.
#include "runtime/base/single_flight.h"

#include <gtest/gtest.h>

#include <atomic>
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

// One key for all who ask, which tells when everybody has joined the flight that is under way: who
// asks for a key that is in the table is bound to have compared the two, as one step with joining.
class Meeting {
 public:
  struct Key {
    Meeting* at;
    int asker;

    friend bool operator==(const Key& a, const Key& b) {
      a.at->joined(a.asker);
      b.at->joined(b.asker);
      return true;
    }
  };
  struct Hash {
    std::size_t operator()(const Key&) const { return 7; }
  };

  explicit Meeting(int askers) : all_((1U << askers) - 1) {}

  void joined(int asker) {
    met_ |= 1U << asker;
    met_.notify_all();
  }

  // What the one that makes waits for.
  void await_all() const {
    for (unsigned met; (met = met_) != all_;) met_.wait(met);
  }

 private:
  const unsigned all_;
  std::atomic<unsigned> met_{0};
};
using MeetingFlights = SingleFlight<Meeting::Key, std::string, Meeting::Hash>;

TEST(SingleFlight, ReturnsWhatIsMade) {
  Flights flights;
  EXPECT_EQ(flights.run(1, [] { return std::string("one"); }), "one");
  EXPECT_EQ(flights.run(1, [] { return "again"; }), "again");
}

TEST(SingleFlight, OneMakesForAllWhoWait) {
  constexpr int kThreads = 8;
  Meeting meeting(kThreads);
  MeetingFlights flights;
  std::atomic<int> made{0}, got{0};
  on_threads(kThreads, [&](int i) {
    const std::string value = flights.run({&meeting, i}, [&] {
      meeting.await_all();
      return std::to_string(++made);
    });
    if (value == "1") ++got;
  });
  EXPECT_EQ(made, 1);
  EXPECT_EQ(got, kThreads);
}

TEST(SingleFlight, AFailureReachesAllWhoWaitAndTheNextCallTriesAgain) {
  constexpr int kThreads = 8;
  Meeting meeting(kThreads);
  MeetingFlights flights;
  std::atomic<int> tried{0}, failed{0};
  on_threads(kThreads, [&](int i) {
    try {
      flights.run({&meeting, i}, [&]() -> std::string {
        meeting.await_all();
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
  EXPECT_EQ(tried, 1);
  EXPECT_EQ(flights.run({&meeting, 0}, [] { return "yes"; }), "yes");
}

// Such as a lack of memory, which another thread need not meet.
TEST(SingleFlight, AfterAnotherExceptionWhoWaitedTriesForItself) {
  constexpr int kThreads = 4;
  Meeting meeting(kThreads);
  MeetingFlights flights;
  std::atomic<int> tried{0}, failed{0}, got{0};
  on_threads(kThreads, [&](int i) {
    try {
      flights.run({&meeting, i}, [&]() -> std::string {
        if (++tried > 1) return "yes";
        meeting.await_all();
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
