// How long one call of a Linear takes the calling thread, beside the driver's launch alone.
// Entry point: main. Needs a GPU. Usage: linear_latency [threads]
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <thread>
#include <vector>

#include "marlin/linear.h"
#include "marlin/pack.h"
#include "runtime/launch/kernel.h"
#include "runtime/launch/kernel_store.h"
#include "tests/bench/latency.h"
#include "tuner/measure/gpu.h"

namespace marlin {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kCalls = 20'000;
// The driver's queue takes some 1000 launches; a launch into a full one waits for the GPU.
constexpr int kCallsBetweenDrains = 128;
constexpr std::int64_t kRows[] = {1, 3, 16, 40, 128, 300};

// Of one call, in nanoseconds.
struct CallTime {
  double clock = 0, processor = 0;
};

// Clock time is taken inside processor time, whose two readings cost a system call each.
CallTime time_one(const std::function<void()>& call) {
  const double processor_start = processor_nanoseconds();
  const auto start = Clock::now();
  call();
  const auto end = Clock::now();
  return {std::chrono::duration<double, std::nano>(end - start).count(),
          processor_nanoseconds() - processor_start};
}

double percentile(std::vector<CallTime>& times, double CallTime::*which, double part) {
  const auto at = times.begin() + static_cast<std::ptrdiff_t>(part * (times.size() - 1));
  std::nth_element(times.begin(), at, times.end(),
                   [&](const CallTime& a, const CallTime& b) { return a.*which < b.*which; });
  return (*at).*which;
}

// Device memory of any content: only how long the calls take is looked at.
struct Memory {
  DeviceBuffer a, b, scales, c, workspace;

  Memory(const Shape& shape, std::size_t workspace_bytes)
      : a(static_cast<std::size_t>(shape.m * shape.k) * 2),
        b(packed_bytes(shape)),
        scales(scales_bytes(shape)),
        c(static_cast<std::size_t>(shape.m * shape.n) * 2),
        workspace(workspace_bytes) {
    for (const DeviceBuffer* buffer : {&a, &b, &scales, &c, &workspace}) {
      if (buffer->bytes() == 0) continue;
      check(driver().cuMemsetD8(buffer->address(), 0, buffer->bytes()), "cuMemsetD8");
    }
    check(driver().cuCtxSynchronize(), "cuCtxSynchronize");
  }
};

// A launch by the driver with everything worked out beforehand.
class RawLaunch {
 public:
  RawLaunch(const Kernel& kernel, const Memory& memory, CUstream stream, std::int64_t m)
      : handle_(reinterpret_cast<CUfunction>(kernel.handle())),
        pointers_{memory.a.pointer(), memory.b.pointer(), memory.scales.pointer(),
                  memory.c.pointer(), memory.workspace.pointer()},
        m_(static_cast<int>(m)) {
    const Plan& plan = kernel.plan();
    config_.gridDimX = static_cast<unsigned>(plan.grid_x);
    config_.gridDimY = static_cast<unsigned>(plan.grid_y);
    config_.gridDimZ = static_cast<unsigned>(plan.grid_z);
    config_.blockDimX = static_cast<unsigned>(plan.threads);
    config_.blockDimY = config_.blockDimZ = 1;
    config_.sharedMemBytes = static_cast<unsigned>(plan.shared_bytes);
    config_.hStream = stream;
  }

  void operator()() {
    void* parameters[] = {&pointers_[0], &pointers_[1], &pointers_[2],
                          &pointers_[3], &pointers_[4], &m_};
    check(driver().cuLaunchKernelEx(&config_, handle_, parameters, nullptr), "cuLaunchKernelEx");
  }

 private:
  CUfunction handle_;
  void* pointers_[5];
  int m_;
  CUlaunchConfig config_ = {};
};

using MakeCall = std::function<std::function<void()>(CUstream)>;

// Each thread has a stream of its own and begins when all are ready.
void report(const Gpu& gpu, const char* what, int threads, const MakeCall& make) {
  std::atomic<int> ready{0};
  std::vector<std::vector<CallTime>> took(static_cast<std::size_t>(threads));
  std::vector<std::thread> all;
  for (std::vector<CallTime>& mine : took) {
    all.emplace_back([&] {
      gpu.make_current();
      const Stream stream;
      const std::function<void()> call = make(stream.handle());
      for (int i = 0; i < kCallsBetweenDrains; ++i) call();
      stream.finish();
      mine.reserve(kCalls);
      ++ready;
      while (ready < threads) std::this_thread::yield();
      for (int i = 0; i < kCalls; ++i) {
        if (i % kCallsBetweenDrains == 0) stream.finish();
        mine.push_back(time_one(call));
      }
      stream.finish();
    });
  }
  for (std::thread& thread : all) thread.join();
  std::vector<CallTime> times;
  for (const std::vector<CallTime>& mine : took) {
    times.insert(times.end(), mine.begin(), mine.end());
  }
  fmt::print(
      "  {:<10} {:2} threads: clock {:6.2f} us median, {:6.2f} us p99; processor {:6.2f} us "
      "median, {:6.2f} us p99\n",
      what, threads, percentile(times, &CallTime::clock, 0.5) / 1e3,
      percentile(times, &CallTime::clock, 0.99) / 1e3,
      percentile(times, &CallTime::processor, 0.5) / 1e3,
      percentile(times, &CallTime::processor, 0.99) / 1e3);
}

void report_rows(const Gpu& gpu, const Linear& linear, Shape shape, int threads) {
  const Options options = {.cache_dir = "", .system_dirs = std::vector<std::string>{}};
  const Kernel* kernel = process_store().get(shape, options);
  const auto bytes = static_cast<std::size_t>(kernel->plan().workspace_bytes);
  fmt::print("{} [{}], {} bytes of workspace\n", to_string(shape), kernel->config(), bytes);
  // Threads write the same C, and without the Linear's workspaces share one: results are of no use.
  const Memory memory(shape, bytes);
  for (const int count : {1, threads}) {
    report(gpu, "nothing", count, [](CUstream) { return [] {}; });
    report(gpu, "cuLaunch", count,
           [&](CUstream stream) { return RawLaunch(*kernel, memory, stream, shape.m); });
    report(gpu, "Linear", count, [&](CUstream stream) {
      return [&, stream] { linear(stream, memory.a.pointer(), shape.m, memory.c.pointer()); };
    });
  }
}

int run(int threads) {
  const Gpu gpu;
  const Options options = {.cache_dir = "", .system_dirs = std::vector<std::string>{}};
  const Memory memory({.m = 1, .n = 512, .k = 4096}, 0);
  const Linear linear({.n = 512,
                       .k = 4096,
                       .group = 128,
                       .b = memory.b.pointer(),
                       .scales = memory.scales.pointer()},
                      options);
  linear.warm_up(kRows[std::size(kRows) - 1]);
  for (const std::int64_t m : kRows) {
    report_rows(gpu, linear, {.m = m, .n = 512, .k = 4096, .group = 128}, threads);
  }
  return 0;
}

}  // namespace
}  // namespace marlin

int main(int argc, char** argv) { return marlin::latency_main(argc, argv, marlin::run); }
