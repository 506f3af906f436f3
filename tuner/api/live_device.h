// LiveDevice: the GPU of a program that goes on, as a TuneDevice.
#pragma once

#include <cuda.h>

#include <memory>
#include <vector>

#include "marlin/options.h"
#include "runtime/choose/settings.h"
#include "runtime/launch/kernel_store.h"
#include "tuner/search/compile_ahead.h"
#include "tuner/search/search.h"

namespace marlin {

// What a run of measurements needs.
struct LiveSetup {
  bool chained = false;
  CUstream stream = nullptr;  // null: one of its own
  Options options;            // by which the candidates' kernels are found
  Settings settings;          // the same, with what comes from the environment
  std::vector<CompileAhead::Job> jobs;
  unsigned threads = 1;  // to compile on
};

struct LiveBench {
  std::unique_ptr<TuneDevice> device;
  CompileStep compile;  // gives a kernel that the device had compiled; null: there is none such
};

// On the current context. Kernels are compiled ahead on other threads, and unloaded when the next
// problem's turn comes. Throws Error{no_nvrtc}, Error{driver_failed}, Error{compile_failed}.
LiveBench live_bench(const LiveSetup& setup);

// A device that is made when it is first needed. The end of the one behind it, a DeviceLost, is the
// failure of the config that was tried, or a race without a result; from then on it is lost.
class LazyDevice : public TuneDevice {
 public:
  using Make = std::function<LiveBench(const LiveSetup&)>;
  LazyDevice(Make make, LiveSetup setup) : make_(std::move(make)), setup_(std::move(setup)) {}

  Trial try_out(const Problem& problem, const Config& config) override;
  std::optional<std::vector<RaceTiming>> race(const Problem& problem,
                                              const std::vector<Config>& configs,
                                              int rounds) override;

  const CompileStep& compile() const { return bench_.compile; }
  bool lost() const { return !why_lost_.empty(); }
  const std::string& why_lost() const { return why_lost_; }

 private:
  TuneDevice& device();

  Make make_;
  LiveSetup setup_;
  LiveBench bench_;
  std::string why_lost_;
};

}  // namespace marlin
