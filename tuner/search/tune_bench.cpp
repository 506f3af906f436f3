// A shape and configs -> checked results and times on this process's GPU.
// Entry points: TuneBench::try_out, TuneBench::race.
#include "tuner/search/tune_bench.h"

#include <fmt/format.h>

namespace marlin {
namespace {

constexpr double kTolerance = 1e-3;  // of the relative error

Compiled kernel_for(const Shape& shape, const Config& config) {
  Options options;
  options.config = to_string(config);
  return Compiled::get(shape, options);
}

// All its rows, and the fewest its rung is chosen for, unless they fill tiles by the thousand.
std::vector<std::int64_t> checked_rows(const Shape& shape) {
  constexpr std::int64_t kManyRows = 4096;
  const std::int64_t fewest = fewest_rows(shape);
  if (shape.m > kManyRows || fewest == shape.m) return {shape.m};
  return {shape.m, fewest};
}

}  // namespace

TuneBench::TuneBench(const Gpu& gpu, std::uint64_t seed, bool chained)
    : seed_(seed), tools_(gpu, false, chained), checker_(gpu) {}

// Runs work whose errors are the device's own, unless it still works afterwards.
template <class Work>
void TuneBench::guarded(const Work& work) {
  try {
    work();
  } catch (const GpuStuck& error) {
    throw DeviceLost(error.what());
  } catch (const Error& error) {
    if (!tools_.timer.stream().usable()) throw DeviceLost(error.what());
    if (error.code() == ErrorCode::driver_failed) throw DeviceFailure(error.what());
    throw;
  }
}

Problem& TuneBench::problem_for(const Shape& shape) {
  if (!problem_ || problem_shape_ != shape) {
    problem_.reset();
    problem_ = std::make_unique<Problem>(checker_, shape, seed_, Problem::kFewRows);
    problem_shape_ = shape;
  }
  return *problem_;
}

LayerBench& TuneBench::bench_for(const Shape& shape) {
  Shape layer = shape;
  layer.m = 1;
  layer.exact_m = false;
  if (!bench_ || bench_shape_ != layer) {
    bench_.reset();
    bench_ = std::make_unique<LayerBench>(tools_, layer, seed_);
    bench_shape_ = layer;
  }
  return *bench_;
}

std::string TuneBench::findings(const Compiled& kernel, const Shape& shape) {
  for (const std::int64_t m : checked_rows(shape)) {
    const Check check = problem_for(shape).run(kernel, m, tools_.chained);
    const std::string found = check.findings(kTolerance);
    if (!found.empty()) return fmt::format("m = {}: {}", m, found);
  }
  return "";
}

Trial TuneBench::try_out(const Shape& shape, const Config& config) {
  Trial trial;
  std::optional<Compiled> kernel;
  try {
    kernel = kernel_for(shape, config);
  } catch (const Error& error) {
    trial.failure = error.what();
    return trial;
  }
  guarded([&] {
    trial.failure = findings(*kernel, shape);
    if (trial.failure.empty()) trial.timing = bench_for(shape).screen(*kernel, shape.m);
  });
  return trial;
}

std::optional<std::vector<RaceTiming>> TuneBench::race(const Shape& shape,
                                                       const std::vector<Config>& configs,
                                                       int rounds) {
  std::vector<RaceTiming> times;
  guarded([&] {
    std::vector<Compiled> kernels;
    kernels.reserve(configs.size());
    for (const Config& config : configs) kernels.push_back(kernel_for(shape, config));
    times = bench_for(shape).race(kernels, shape.m, rounds);
  });
  return times;
}

}  // namespace marlin
