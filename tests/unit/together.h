// Threads that meet before they run, so that they race for the same things.
#pragma once

#include <atomic>
#include <cstddef>
#include <thread>
#include <vector>

namespace marlin::test {

// Calls body(0) to body(count - 1), each on a thread of its own and none before all threads run;
// returns when all have ended. The body must not throw.
template <typename Count, typename Body>
void run_together(Count count, const Body& body) {
  std::atomic<Count> arrived{0};
  std::vector<std::thread> threads;
  threads.reserve(static_cast<std::size_t>(count));
  for (Count i = 0; i < count; ++i) {
    threads.emplace_back([&, i] {
      ++arrived;
      while (arrived < count) std::this_thread::yield();
      body(i);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace marlin::test
