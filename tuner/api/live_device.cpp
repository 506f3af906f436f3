// The current context and what to compile -> measurements of kernels that are then unloaded.
// Entry points: live_bench, LazyDevice.
#include "tuner/api/live_device.h"

#include <random>
#include <utility>

#include "codegen/base/error.h"
#include "tuner/search/tune_bench.h"

namespace marlin {
namespace {

// The kernels of one problem at a time, in a store of their own.
class Candidates {
 public:
  Candidates(std::shared_ptr<CompileAhead> compiler, Options options)
      : compiler_(std::move(compiler)), options_(std::move(options)) {}

  // The kernels of the problem before are unloaded. Throws DeviceFailure during a capture, which is
  // no fault of the config.
  Compiled get(const Problem& problem, const Config& config) {
    if (!store_ || problem_ != problem) {
      store_ = std::make_unique<KernelStore>(
          [this](const KernelText& text, const std::string& failed_dir) {
            return compiler_->kernel(text, failed_dir);
          });
      problem_ = problem;
    }
    const std::string failure = compiler_->wait(problem, config);
    if (!failure.empty()) throw Error(ErrorCode::compile_failed, failure);
    options_.config = to_string(config);
    try {
      return store_->compiled(problem, options_);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::capturing) throw DeviceFailure(error.what());
      throw;
    }
  }

 private:
  std::shared_ptr<CompileAhead> compiler_;
  Options options_;
  Problem problem_;
  std::unique_ptr<KernelStore> store_;
};

// The candidates outlive the bench that measures them.
class LiveDevice : public TuneDevice {
 public:
  LiveDevice(const LiveSetup& setup, std::shared_ptr<CompileAhead> compiler)
      : candidates_(std::move(compiler), setup.options),
        bench_(
            Gpu::current(), std::random_device{}(), setup.chained,
            [this](const Problem& problem, const Config& config) {
              return candidates_.get(problem, config);
            },
            setup.stream) {}

  Trial try_out(const Problem& problem, const Config& config) override {
    return bench_.try_out(problem, config);
  }
  std::optional<std::vector<RaceTiming>> race(const Problem& problem,
                                              const std::vector<Config>& configs,
                                              int rounds) override {
    return bench_.race(problem, configs, rounds);
  }

 private:
  Candidates candidates_;
  TuneBench bench_;
};

}  // namespace

LiveBench live_bench(const LiveSetup& setup) {
  const auto compiler = std::make_shared<CompileAhead>(Gpu::current().target(), setup.jobs,
                                                       setup.threads, setup.settings);
  return {.device = std::make_unique<LiveDevice>(setup, compiler),
          .compile = [compiler](const KernelText& text, const std::string& failed_dir) {
            return compiler->kernel(text, failed_dir);
          }};
}

// What the driver refuses while the bench is made, memory for one, is the cell's failure.
TuneDevice& LazyDevice::device() {
  if (lost()) throw DeviceFailure(why_lost_);
  if (bench_.device) return *bench_.device;
  try {
    bench_ = make_(setup_);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::driver_failed) throw;
    throw DeviceFailure(error.what());
  }
  return *bench_.device;
}

Trial LazyDevice::try_out(const Problem& problem, const Config& config) {
  try {
    return device().try_out(problem, config);
  } catch (const DeviceLost& lost) {
    why_lost_ = lost.what();
    return {.timing = {}, .failure = why_lost_};
  }
}

std::optional<std::vector<RaceTiming>> LazyDevice::race(const Problem& problem,
                                                        const std::vector<Config>& configs,
                                                        int rounds) {
  try {
    return device().race(problem, configs, rounds);
  } catch (const DeviceLost& lost) {
    why_lost_ = lost.what();
    return std::nullopt;
  }
}

}  // namespace marlin
