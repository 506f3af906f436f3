// One layer's operands and a kernel -> microseconds by the protocol. Entry points: LayerBench,
// attempt.
#include "tuner/measure/bench_layer.h"

#include <algorithm>

#include "marlin/pack.h"

namespace marlin {
namespace {

std::size_t half_bytes(std::int64_t rows, std::int64_t columns) {
  return static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns) * 2;
}

constexpr int kRounds = 5;
constexpr int kMostContestants = 3;  // a kernel and cuBLAS in two layouts
constexpr int kReadings = 2 * kMostContestants * kRounds;

}  // namespace

BenchTools::BenchTools(const Gpu& on, bool with_cublas, bool chained, CUstream stream)
    : gpu(on), chained(chained), timer(stream), filler(on), cublas_name("not asked for") {
  if (chained) require_can_chain(gpu.target());
  if (!with_cublas) return;
  cublas = Cublas::open(timer.stream(), &cublas_name);
  if (cublas) cublas_name = cublas->name();
}

ReadFloor& BenchTools::floor() {
  if (!floor_) floor_ = std::make_unique<ReadFloor>(gpu);
  return *floor_;
}

SmClock& BenchTools::clock() {
  if (!clock_) clock_ = std::make_unique<SmClock>(gpu, kReadings);
  return *clock_;
}

double BenchTools::measure_peak() {
  constexpr std::int64_t kSize = 8192;
  if (!cublas) return 0;
  const DeviceBuffer a(half_bytes(kSize, kSize)), b(a.bytes()), c(a.bytes());
  filler.normal(timer.stream(), a.address(), a.bytes() / 2, 1, 1.0F);
  filler.normal(timer.stream(), b.address(), b.bytes() / 2, 2, 0.02F);
  double best_us = 1e30;
  for (const Cublas::Layout layout : {Cublas::Layout::nn, Cublas::Layout::tn}) {
    const Timing timing = timer.time(1, [&](int) {
      cublas->multiply(layout, kSize, kSize, kSize, a.address(), b.address(), c.address());
    });
    best_us = std::min(best_us, timing.median_us);
  }
  return 2.0 * kSize * kSize * kSize / best_us / 1e6;
}

LayerBench::LayerBench(BenchTools& tools, const Problem& problem, std::uint64_t seed)
    : tools_(tools),
      shape_(problem),
      seed_(seed),
      weight_bytes_(packed_bytes(problem)),
      weights_(weight_bytes_, distinct_buffers(weight_bytes_),
               [&](CUdeviceptr out, std::size_t bytes) {
                 tools.filler.bytes(tools.timer.stream(), out, bytes, 4 * seed);
               }),
      scales_(scales_bytes(problem), weights_.count(), [&](CUdeviceptr out, std::size_t bytes) {
        tools.filler.uniform(tools.timer.stream(), out, bytes / 2, 4 * seed + 1, 0.002F, 0.005F);
      }) {
  const Stream& stream = tools.timer.stream();
  ensure_rows(problem.shape.m);
  if (tools.cublas) {
    const std::size_t bytes = half_bytes(problem.shape.k, problem.shape.n);
    fp16_weights_.emplace(bytes, distinct_buffers(bytes), [&](CUdeviceptr out, std::size_t size) {
      tools.filler.normal(stream, out, size / 2, 4 * seed + 3, 0.02F);
    });
  }
  stream.finish();
}

// The old buffers go first, as both may not fit. The launches of an m that came before are over.
void LayerBench::ensure_rows(std::int64_t m) {
  if (m <= rows_) return;
  rows_ = 0;
  a_ = DeviceBuffer();
  c_ = DeviceBuffer();
  a_ = DeviceBuffer(half_bytes(m, shape_.shape.k));
  c_ = DeviceBuffer(half_bytes(m, shape_.shape.n));
  tools_.filler.normal(tools_.timer.stream(), a_.address(), a_.bytes() / 2, 4 * seed_ + 2, 1.0F);
  rows_ = m;
}

// Ready to launch: operands and workspace are large enough and the workspace is zeroed. It may move
// until the last launcher of a measurement is made.
Timer::Launch LayerBench::launcher(const Compiled& kernel, std::int64_t m) {
  ensure_rows(m);
  if (workspace_.bytes() < kernel.workspace_bytes()) {
    workspace_ = DeviceBuffer(kernel.workspace_bytes());
  }
  if (workspace_.bytes() > 0) {
    check(driver().cuMemsetD8Async(workspace_.address(), 0, workspace_.bytes(),
                                   tools_.timer.stream().handle()),
          "cuMemsetD8Async");
  }
  return [this, kernel, m](int i) {
    kernel.launch(tools_.timer.stream().handle(), {.a = a_.pointer(),
                                                   .b = weights_.pointer(i),
                                                   .scales = scales_.pointer(i),
                                                   .c = c_.pointer(),
                                                   .workspace = workspace_.pointer(),
                                                   .m = m,
                                                   .dependent = tools_.chained});
  };
}

Timing LayerBench::time(const Compiled& kernel, std::int64_t m) {
  return tools_.timer.time(weights_.count(), launcher(kernel, m));
}

Timing LayerBench::screen(const Compiled& kernel, std::int64_t m) {
  return tools_.timer.screen(weights_.count(), launcher(kernel, m));
}

std::vector<RaceTiming> LayerBench::race(const std::vector<Compiled>& kernels, std::int64_t m,
                                         int rounds) {
  std::vector<Timer::Launch> contestants;
  contestants.reserve(kernels.size());
  for (const Compiled& kernel : kernels) contestants.push_back(launcher(kernel, m));
  return tools_.timer.race(weights_.count(), contestants, rounds);
}

Timer::Launch LayerBench::cublas_launcher(Cublas::Layout layout, std::int64_t m) {
  return [this, layout, m](int i) {
    tools_.cublas->multiply(layout, m, shape_.shape.n, shape_.shape.k, a_.address(),
                            fp16_weights_->address(i), c_.address());
  };
}

std::optional<LayerBench::Fp16> LayerBench::cublas(std::int64_t m) {
  if (!fp16_weights_) return std::nullopt;
  ensure_rows(m);
  const auto time_layout = [&](Cublas::Layout layout) {
    return tools_.timer.time(fp16_weights_->count(), cublas_launcher(layout, m));
  };
  const Timing nn = time_layout(Cublas::Layout::nn), tn = time_layout(Cublas::Layout::tn);
  if (nn.median_us <= tn.median_us) return Fp16{nn, "NN"};
  return Fp16{tn, "TN"};
}

LayerBench::Paced LayerBench::pace(Pace pace, const Compiled& kernel, std::int64_t m) {
  std::vector<Timer::Contestant> contestants{{weights_.count(), launcher(kernel, m)}};
  if (fp16_weights_) {
    for (const Cublas::Layout layout : {Cublas::Layout::nn, Cublas::Layout::tn}) {
      contestants.push_back({fp16_weights_->count(), cublas_launcher(layout, m)});
    }
  }
  const SmClock& clock = tools_.clock();
  const std::vector<PacedTiming> timings = tools_.timer.pace(
      pace, contestants, kRounds, [&](int reading) { clock.read(tools_.timer.stream(), reading); });
  const auto mhz = [&](const PacedTiming& timing) {
    std::vector<double> all;
    for (const int begin : timing.readings) all.push_back(clock.mhz(begin, begin + 1));
    return median(std::move(all));
  };
  Paced paced{.ours = timings[0].timing, .ours_mhz = mhz(timings[0]), .cublas = {}};
  if (fp16_weights_) {
    const bool nn = timings[1].timing.median_us <= timings[2].timing.median_us;
    const PacedTiming& faster = timings[nn ? 1 : 2];
    paced.cublas = Fp16{faster.timing, nn ? "NN" : "TN"};
    paced.cublas_mhz = mhz(faster);
  }
  return paced;
}

std::string attempt(const LayerBench& bench, const std::string& name,
                    const std::function<void()>& measure) {
  try {
    measure();
    return "";
  } catch (const GpuStuck& error) {
    throw GpuStuck(name + ": " + error.what());
  } catch (const Error& error) {
    if (!bench.usable()) throw Error(error.code(), name + ": " + error.what());
    return error.what();
  }
}

}  // namespace marlin
