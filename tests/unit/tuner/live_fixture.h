// Ladders on a make-believe driver, with a device whose true times are known.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/choose/tuning_db.h"
#include "runtime/launch/kernel.h"
#include "runtime/launch/kernel_store.h"
#include "runtime/launch/ladder.h"
#include "runtime/launch/workspaces.h"
#include "tests/stubs/fake_cuda.h"
#include "tests/unit/refusal.h"
#include "tests/unit/runtime/cubin_cache_fixture.h"
#include "tests/unit/runtime/stand_in_entry.h"
#include "tests/unit/tuner/simulated_device.h"
#include "tuner/api/live_tuning.h"

namespace marlin::test {

// Another's device, as each run is given one of its own.
class BorrowedDevice : public TuneDevice {
 public:
  explicit BorrowedDevice(TuneDevice& device) : device_(device) {}
  Trial try_out(const Problem& problem, const Config& config) override {
    return device_.try_out(problem, config);
  }
  std::optional<std::vector<RaceTiming>> race(const Problem& problem,
                                              const std::vector<Config>& configs,
                                              int rounds) override {
    return device_.race(problem, configs, rounds);
  }

 private:
  TuneDevice& device_;
};

class LiveTuningTest : public testing::Test {
 protected:
  LiveTuningTest() { device_.spread = 0.5; }  // so that the model's choice hardly ever is the best
  void TearDown() override {
    fake_cuda()->blocking_capture = false;
    fake_cuda()->captured_stream = nullptr;
    EXPECT_EQ(fake_cuda()->spoilt, 0);
    EXPECT_EQ(fake_cuda()->unrelaxed, 0);
  }

  static void* device_pointer(std::uintptr_t address) { return reinterpret_cast<void*>(address); }
  // Of a shape that no data is shipped for, nor for a neighbour.
  static DeviceWeights weights_of(std::int64_t n = 3072, std::int64_t k = 3072) {
    return {.n = n,
            .k = k,
            .scheme = {},
            .b = device_pointer(0x2000),
            .scales = device_pointer(0x3000)};
  }

  Options options() const {
    return {.cache_dir = "",
            .system_dirs = std::vector<std::string>{},
            .disable_jit = false,
            .tuning_db = db_};
  }
  Ladder ladder(const DeviceWeights& weights = weights_of()) { return ladder(weights, options()); }
  Ladder ladder(const DeviceWeights& weights, const Options& options) {
    return {weights, options, store_, workspaces_};
  }

  std::vector<TunedCell> tune(const std::vector<const Ladder*>& ladders,
                              const TuneOptions& options) {
    return tune_ladders(ladders, options, [this](const LiveSetup& setup) {
      setups_.push_back(setup);
      return LiveBench{.device = std::make_unique<BorrowedDevice>(device_), .compile = nullptr};
    });
  }
  std::vector<TunedCell> tune(const Ladder& ladder, const TuneOptions& options) {
    return tune({&ladder}, options);
  }
  std::string refused(const Ladder& ladder, const TuneOptions& options) {
    return refusal([&] { tune(ladder, options); });
  }

  void call(const Ladder& ladder, std::int64_t m) const {
    ladder.launch(reinterpret_cast<CUstream>(0x10100), device_pointer(0x1000), m,
                  device_pointer(0x4000));
  }
  static const Config& config_at(const Ladder& ladder, std::int64_t m) {
    return ladder.kernel_at(rung_index(m))->plan().config;
  }
  static const void* launched() {
    const std::lock_guard lock(fake_cuda()->mutex);
    return fake_cuda()->last.kernel;
  }

  // The choices that the database has for the rung of m.
  std::vector<TuningRecord> choices(const Ladder& ladder, std::int64_t m) const {
    const auto file = TuningFile::read(db_);
    return file ? file->choices(ladder.problem_at(rung_index(m)), {"sm_90a", 132}, {m, m})
                : std::vector<TuningRecord>();
  }
  int trials() const {
    int sum = 0;
    for (const auto& [name, times] : device_.tried) sum += times;
    return sum;
  }

  CompileStep stand_in() {
    return [this](const KernelText& kernel, const std::string&) {
      ++compiles_;
      return stand_in_entry(kernel);
    };
  }

  ScratchDir scratch_;
  std::string db_ = scratch_ / "tuning.jsonl";
  std::atomic<int> compiles_{0};
  KernelStore store_{stand_in()};
  Workspaces workspaces_;
  SimulatedDevice device_;
  std::vector<LiveSetup> setups_;
};

}  // namespace marlin::test
