// A range of indices -> calls on several threads. Entry point: parallel_for.
#include "tuner/search/parallel.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "tuner/search/interrupts.h"

namespace marlin {

void parallel_for(std::size_t count, int jobs, const std::function<void(std::size_t)>& work) {
  std::atomic<std::size_t> next{0};
  std::atomic<bool> failed{false};
  std::mutex mutex;
  std::exception_ptr first_error;
  const auto loop = [&] {
    while (!failed && !interrupted()) {
      const std::size_t index = next++;
      if (index >= count) return;
      try {
        work(index);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!first_error) first_error = std::current_exception();
        failed = true;
      }
    }
  };
  std::vector<std::jthread> threads;
  const std::size_t wanted = std::min(count, static_cast<std::size_t>(std::max(jobs, 1)));
  for (std::size_t i = 1; i < wanted; ++i) threads.emplace_back(loop);
  loop();
  threads.clear();
  if (first_error) std::rethrow_exception(first_error);
}

}  // namespace marlin
