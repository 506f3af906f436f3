// A shape and configs -> checked results and times on this process's GPU.
// Entry points: TuneBench::try_out, TuneBench::race.
#include "tuner/search/tune_bench.h"

#include <fmt/format.h>

#include <utility>

namespace marlin {
namespace {

constexpr double kTolerance = 1e-3;  // of the relative error

Compiled kernel_of_process(const Problem& problem, const Config& config) {
  Options options;
  options.config = to_string(config);
  return Compiled::get(problem, options);
}

// All its rows, and the fewest its rung is chosen for, unless they fill tiles by the thousand.
std::vector<std::int64_t> checked_rows(const Problem& problem) {
  constexpr std::int64_t kManyRows = 4096;
  const std::int64_t fewest = fewest_rows(problem);
  if (problem.shape.m > kManyRows || fewest == problem.shape.m) return {problem.shape.m};
  return {problem.shape.m, fewest};
}

}  // namespace

TuneBench::TuneBench(const Gpu& gpu, std::uint64_t seed, bool chained, KernelSource kernels,
                     CUstream stream)
    : seed_(seed),
      kernels_(kernels ? std::move(kernels) : kernel_of_process),
      tools_(gpu, false, chained, stream),
      checker_(gpu, stream) {}

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

CheckedProduct& TuneBench::problem_for(const Problem& problem) {
  if (!problem_ || problem_shape_ != problem) {
    problem_.reset();
    problem_ = std::make_unique<CheckedProduct>(checker_, problem, seed_, CheckedProduct::kFewRows);
    problem_shape_ = problem;
  }
  return *problem_;
}

LayerBench& TuneBench::bench_for(const Problem& problem) {
  Problem layer = problem;
  layer.shape.m = 1;
  layer.shape.exact_m = false;
  if (!bench_ || bench_shape_ != layer) {
    bench_.reset();
    bench_ = std::make_unique<LayerBench>(tools_, layer, seed_);
    bench_shape_ = layer;
  }
  return *bench_;
}

std::string TuneBench::findings(const Compiled& kernel, const Problem& problem) {
  for (const std::int64_t m : checked_rows(problem)) {
    const Check check = problem_for(problem).run(kernel, m, tools_.chained);
    const std::string found = check.findings(kTolerance);
    if (!found.empty()) return fmt::format("m = {}: {}", m, found);
  }
  return "";
}

Trial TuneBench::try_out(const Problem& problem, const Config& config) {
  Trial trial;
  std::optional<Compiled> kernel;
  try {
    kernel = kernels_(problem, config);
  } catch (const DeviceFailure&) {
    throw;
  } catch (const Error& error) {
    trial.failure = error.what();
    return trial;
  }
  guarded([&] {
    trial.failure = findings(*kernel, problem);
    if (trial.failure.empty()) trial.timing = bench_for(problem).screen(*kernel, problem.shape.m);
  });
  return trial;
}

std::optional<std::vector<RaceTiming>> TuneBench::race(const Problem& problem,
                                                       const std::vector<Config>& configs,
                                                       int rounds) {
  std::vector<RaceTiming> times;
  guarded([&] {
    std::vector<Compiled> kernels;
    kernels.reserve(configs.size());
    for (const Config& config : configs) kernels.push_back(kernels_(problem, config));
    times = bench_for(problem).race(kernels, problem.shape.m, rounds);
  });
  return times;
}

}  // namespace marlin
