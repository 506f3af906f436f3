// How long one call of a Linear takes the calling thread, beside the driver's launch alone.
// Entry point: main. Needs a GPU. Usage: linear_latency [--brief] [threads]
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "marlin/linear.h"
#include "marlin/pack.h"
#include "runtime/launch/kernel.h"
#include "runtime/launch/kernel_params.h"
#include "runtime/launch/kernel_store.h"
#include "tests/bench/latency.h"
#include "tuner/measure/gpu.h"

namespace marlin {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kCalls = 20'000;  // of each thread
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

void clear(const DeviceBuffer& buffer) {
  if (buffer.bytes() == 0) return;
  check(driver().cuMemsetD8(buffer.address(), 0, buffer.bytes()), "cuMemsetD8");
  check(driver().cuCtxSynchronize(), "cuCtxSynchronize");
}

// Device memory of any content: only how long the calls take is looked at.
struct Memory {
  DeviceBuffer a, b, scales, c;

  explicit Memory(const Problem& problem)
      : a(static_cast<std::size_t>(problem.shape.m * problem.shape.k) * 2),
        b(packed_bytes(problem)),
        scales(scales_bytes(problem)),
        c(static_cast<std::size_t>(problem.shape.m * problem.shape.n) * 2) {
    for (const DeviceBuffer* buffer : {&a, &b, &scales, &c}) clear(*buffer);
  }
};

// A launch by the driver with everything worked out beforehand, tensor maps included. Its workspace
// is its own, as a Linear's streams have one each: blocks that wait for one another count there.
class RawLaunch {
 public:
  RawLaunch(const Kernel& kernel, const Memory& memory, CUstream stream, std::int64_t m)
      : workspace_(static_cast<std::size_t>(kernel.plan().workspace.bytes)),
        handle_(reinterpret_cast<CUfunction>(kernel.handle())),
        params_(kernel.plan(),
                {.a = memory.a.pointer(),
                 .b = memory.b.pointer(),
                 .scales = memory.scales.pointer(),
                 .c = memory.c.pointer(),
                 .workspace = workspace_.pointer()},
                m) {
    clear(workspace_);
    const Plan& plan = kernel.plan();
    config_.gridDimX = static_cast<unsigned>(plan.launch.rows_on_x
                                                 ? (m + plan.config.tile_m - 1) / plan.config.tile_m
                                                 : plan.launch.grid_x);
    config_.gridDimY = static_cast<unsigned>(plan.launch.grid_y);
    config_.gridDimZ = static_cast<unsigned>(plan.launch.grid_z);
    config_.blockDimX = static_cast<unsigned>(plan.launch.threads);
    config_.blockDimY = config_.blockDimZ = 1;
    config_.sharedMemBytes = static_cast<unsigned>(plan.launch.shared_bytes);
    config_.hStream = stream;
    if (plan.launch.cooperative) {
      cooperative_.id = CU_LAUNCH_ATTRIBUTE_COOPERATIVE;
      cooperative_.value.cooperative = 1;
      config_.attrs = &cooperative_;
      config_.numAttrs = 1;
    }
  }
  RawLaunch(const RawLaunch&) = delete;
  RawLaunch& operator=(const RawLaunch&) = delete;

  void operator()() {
    check(driver().cuLaunchKernelEx(&config_, handle_, params_.get(), nullptr), "cuLaunchKernelEx");
  }

 private:
  DeviceBuffer workspace_;
  CUfunction handle_;
  KernelParams params_;
  CUlaunchAttribute cooperative_ = {};
  CUlaunchConfig config_ = {};
};

using MakeCall = std::function<std::function<void()>(CUstream)>;

// What one thread calls, and how long that took.
struct Caller {
  std::function<void()> call;
  std::vector<CallTime> took;
};

// Each thread has a stream of its own and begins when all are ready. What they call is freed when
// all are done: that waits for the GPU.
void report(const Gpu& gpu, const char* what, int threads, int calls, const MakeCall& make) {
  std::atomic<int> ready{0};
  std::vector<Caller> callers(static_cast<std::size_t>(threads));
  std::vector<std::thread> all;
  for (Caller& mine : callers) {
    all.emplace_back([&] {
      gpu.make_current();
      const Stream stream;
      mine.call = make(stream.handle());
      for (int i = 0; i < kCallsBetweenDrains; ++i) mine.call();
      stream.finish();
      mine.took.reserve(static_cast<std::size_t>(calls));
      ++ready;
      while (ready < threads) std::this_thread::yield();
      for (int i = 0; i < calls; ++i) {
        if (i % kCallsBetweenDrains == 0) stream.finish();
        mine.took.push_back(time_one(mine.call));
      }
      stream.finish();
    });
  }
  for (std::thread& thread : all) thread.join();
  std::vector<CallTime> times;
  for (const Caller& mine : callers) times.insert(times.end(), mine.took.begin(), mine.took.end());
  fmt::print(
      "  {:<10} {:2} threads: clock {:6.2f} us median, {:6.2f} us p99; processor {:6.2f} us "
      "median, {:6.2f} us p99\n",
      what, threads, percentile(times, &CallTime::clock, 0.5) / 1e3,
      percentile(times, &CallTime::clock, 0.99) / 1e3,
      percentile(times, &CallTime::processor, 0.5) / 1e3,
      percentile(times, &CallTime::processor, 0.99) / 1e3);
}

void report_rows(const Gpu& gpu, const Linear& linear, const Problem& problem,
                 const Extent& extent) {
  const Options options = {.cache_dir = "", .system_dirs = std::vector<std::string>{}};
  const Kernel* kernel = process_store().get(problem, options);
  fmt::print("{} [{}], {} bytes of workspace\n", to_string(problem), kernel->config(),
             kernel->plan().workspace.bytes);
  // Threads write the same C: results are of no use.
  const Memory memory(problem);
  const int calls = extent.calls(kCalls);
  for (const int count : {1, extent.threads}) {
    report(gpu, "nothing", count, calls, [](CUstream) { return [] {}; });
    report(gpu, "cuLaunch", count, calls, [&](CUstream stream) {
      return [launch = std::make_shared<RawLaunch>(*kernel, memory, stream, problem.shape.m)] {
        (*launch)();
      };
    });
    report(gpu, "Linear", count, calls, [&](CUstream stream) {
      return
          [&, stream] { linear(stream, memory.a.pointer(), problem.shape.m, memory.c.pointer()); };
    });
  }
}

int run(const Extent& extent) {
  const Gpu gpu;
  const Options options = {.cache_dir = "", .system_dirs = std::vector<std::string>{}};
  const Memory memory({.shape = {.m = 1, .n = 512, .k = 4096}});
  const Linear linear(
      {.n = 512, .k = 4096, .b = memory.b.pointer(), .scales = memory.scales.pointer()}, options);
  linear.warm_up(kRows[std::size(kRows) - 1]);
  for (const std::int64_t m : kRows) {
    report_rows(gpu, linear, {.shape = {.m = m, .n = 512, .k = 4096}, .scheme = {.group = 128}},
                extent);
  }
  return 0;
}

}  // namespace
}  // namespace marlin

int main(int argc, char** argv) { return marlin::latency_main(argc, argv, marlin::run); }
