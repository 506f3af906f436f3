// TuneBench: the GPU of this process as a TuneDevice.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "tuner/check/checker.h"
#include "tuner/measure/bench_layer.h"
#include "tuner/search/search.h"

namespace marlin {

// The GPU takes no more work, after an illegal address or a kernel that does not end: the process
// must go. `what()` says what the last config did.
class DeviceLost : public Error {
 public:
  explicit DeviceLost(const std::string& message) : Error(ErrorCode::driver_failed, message) {}
};

// Where a bench gets its kernels. An Error but DeviceFailure says why there is none, and is the
// config's failure.
using KernelSource = std::function<Compiled(const Problem&, const Config&)>;

// Beside what TuneDevice promises, all members throw DeviceLost.
class TuneBench : public TuneDevice {
 public:
  // Kernels come from Compiled::get unless they are given; `stream` as for Timer, null: its own.
  TuneBench(const Gpu& gpu, std::uint64_t seed, bool chained = false, KernelSource kernels = {},
            CUstream stream = nullptr);

  Trial try_out(const Problem& problem, const Config& config) override;
  std::optional<std::vector<RaceTiming>> race(const Problem& problem,
                                              const std::vector<Config>& configs,
                                              int rounds) override;

 private:
  template <class Work>
  void guarded(const Work& work);
  CheckedProduct& problem_for(const Problem& problem);
  LayerBench& bench_for(const Problem& problem);
  std::string findings(const Compiled& kernel, const Problem& problem);

  std::uint64_t seed_;
  KernelSource kernels_;
  BenchTools tools_;
  Checker checker_;
  // Of the last shape and the last layer; a search works on one after the other.
  Problem problem_shape_, bench_shape_;
  std::unique_ptr<CheckedProduct> problem_;
  std::unique_ptr<LayerBench> bench_;
};

}  // namespace marlin
