// How long Compiled::get takes: its table alone, a hit in memory, a hit on disk, a compile.
// Entry point: main. Everything but the table needs a GPU.
// Usage: get_latency [--brief] [threads]
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "runtime/launch/kernel_store.h"
#include "runtime/launch/kernel_table.h"
#include "tests/bench/latency.h"
#include "tuner/measure/gpu.h"

namespace marlin {
namespace {

using Clock = std::chrono::steady_clock;

double nanoseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::nano>(Clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

std::vector<Problem> shapes() {
  std::vector<Problem> all;
  for (std::int64_t m = 1; m <= 128; m *= 2) {
    for (const std::int64_t n : {4096, 6144, 14336, 28672}) {
      for (const std::int64_t k : {4096, 14336}) all.push_back({.shape = {.m = m, .n = n, .k = k}});
    }
  }
  return all;
}

// What one call takes while so many threads call at once, in nanoseconds and the mean of the
// threads: by the clock, and of processor time, which tells where threads outnumber processors.
struct CallTime {
  double wall = 0, processor = 0;
};

CallTime time_calls(int threads, int calls, const std::function<void(int calls)>& body) {
  std::atomic<int> ready{0};
  std::vector<CallTime> took(threads);
  std::vector<std::thread> all;
  for (int t = 0; t < threads; ++t) {
    all.emplace_back([&, t] {
      body(1000);
      ++ready;
      while (ready < threads) std::this_thread::yield();
      const auto start = Clock::now();
      const double processor_start = processor_nanoseconds();
      body(calls);
      took[t] = {nanoseconds_since(start) / calls,
                 (processor_nanoseconds() - processor_start) / calls};
    });
  }
  for (std::thread& thread : all) thread.join();
  CallTime mean;
  for (const CallTime& one : took) {
    mean.wall += one.wall / threads;
    mean.processor += one.processor / threads;
  }
  return mean;
}

void report(const char* what, int threads, const CallTime& took) {
  fmt::print("{}, {} threads: {:.1f} ns, {:.1f} ns of processor time\n", what, threads, took.wall,
             took.processor);
}

void time_table(int threads, int calls) {
  KernelTable table;
  const std::vector<Problem> all = shapes();
  // The table never looks behind the pointer.
  for (std::size_t i = 0; i < all.size(); ++i) {
    table.insert({0, 132, 0, all[i]}, reinterpret_cast<const Kernel*>(i + 1));
  }
  const CallTime took = time_calls(threads, calls, [&](int count) {
    for (int i = 0; i < count; ++i) {
      const std::size_t at = static_cast<std::size_t>(i) % all.size();
      if (table.find({0, 132, 0, all[at]}) != reinterpret_cast<const Kernel*>(at + 1)) std::abort();
    }
  });
  report("table look-up", threads, took);
}

void time_memory(const Gpu& gpu, int threads, int calls, const Options& options) {
  const Problem problem = {.shape = {.m = 16, .n = 4096, .k = 4096}};
  static KernelStore store;
  const Kernel* kernel = store.get(problem, options);
  const CallTime took = time_calls(threads, calls, [&](int count) {
    gpu.make_current();
    for (int i = 0; i < count; ++i) {
      if (store.get(problem, options) != kernel) std::abort();
    }
  });
  report("hit in memory", threads, took);
}

// A store of its own each time, as a process has one.
void time_disk(const Problem& problem, int loads, const Options& options) {
  const auto start = Clock::now();
  KernelStore().get(problem, options);
  const double cold = nanoseconds_since(start);
  std::vector<double> hits;
  for (int i = 0; i < loads; ++i) {
    KernelStore store;
    const auto begin = Clock::now();
    if (store.get(problem, options)->origin() != Origin::user_cache) std::abort();
    hits.push_back(nanoseconds_since(begin));
  }
  fmt::print(
      "{}: compiled in {:.0f} ms; hit on disk to launch-ready {:.3f} ms median, {:.3f} ms "
      "worst of {}\n",
      to_string(problem), cold / 1e6, median(hits) / 1e6,
      *std::max_element(hits.begin(), hits.end()) / 1e6, hits.size());
}

int run(const Extent& extent) {
  constexpr int kCalls = 1'000'000;
  const int calls = extent.calls(kCalls);
  time_table(1, calls);
  time_table(extent.threads, calls);
  if (!gpu_available()) {
    fmt::print("no GPU: the rest is left out\n");
    return 0;
  }
  const Gpu gpu;
  const std::string dir =
      (std::filesystem::temp_directory_path() / fmt::format("marlin-latency-{}", getpid()))
          .string();
  const Options options = {
      .cache_dir = dir, .system_dirs = std::vector<std::string>{}, .disable_jit = false};
  for (const std::int64_t m : {1, 16, 128}) {
    time_disk({.shape = {.m = m, .n = 28672, .k = 4096}}, extent.brief ? 2 : 50, options);
  }
  time_memory(gpu, 1, calls, options);
  time_memory(gpu, extent.threads, calls, options);
  std::filesystem::remove_all(dir);
  return 0;
}

}  // namespace
}  // namespace marlin

int main(int argc, char** argv) { return marlin::latency_main(argc, argv, marlin::run); }
