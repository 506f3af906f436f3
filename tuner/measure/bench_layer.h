// Times kernels on one layer: cold weights, scales, activations and everything else they need.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "marlin/compiled.h"
#include "tuner/measure/cublas.h"
#include "tuner/measure/measure.h"
#include "tuner/measure/sm_clock.h"

namespace marlin {

// What is set up once for all layers.
struct BenchTools {
  // `chained`: kernels and read floors are launched so; cuBLAS never is. Throws
  // Error{invalid_target} on a GPU that cannot chain. `stream` as for Timer; null: its own.
  explicit BenchTools(const Gpu& on, bool with_cublas, bool chained = false,
                      CUstream stream = nullptr);

  Gpu gpu;
  bool chained;
  Timer timer;
  Filler filler;
  std::string cublas_name;  // or why there is none
  std::unique_ptr<Cublas> cublas;

  // Compiled when they are first asked for: who only tunes needs neither.
  ReadFloor& floor();
  SmClock& clock();
  // TFLOP/s of the fastest FP16 cuBLAS product of 8192^3; 0 without cuBLAS.
  double measure_peak();

 private:
  std::unique_ptr<ReadFloor> floor_;
  std::unique_ptr<SmClock> clock_;
};

class LayerBench {
 public:
  // Takes n, k and group from the shape, and its m as the rows there is room for at first: every
  // measurement makes room for its own m, in any order.
  LayerBench(BenchTools& tools, const Problem& problem, std::uint64_t seed);

  Timing floor() {
    return tools_.floor().measure(tools_.timer, weights_, weight_bytes_, tools_.chained);
  }
  Timing time(const Compiled& kernel, std::int64_t m);
  Timing screen(const Compiled& kernel, std::int64_t m);
  // See Timer::race.
  std::vector<RaceTiming> race(const std::vector<Compiled>& kernels, std::int64_t m, int rounds);

  bool usable() const noexcept { return tools_.timer.stream().usable(); }

  struct Fp16 {
    Timing timing;
    std::string layout;  // "NN" or "TN", the faster one
  };
  // Nothing without cuBLAS.
  std::optional<Fp16> cublas(std::int64_t m);

  // The kernel and cuBLAS, where there is one, in turns; with the SMs' clocks in MHz.
  struct Paced {
    Timing ours;
    double ours_mhz = 0;
    std::optional<Fp16> cublas;
    double cublas_mhz = 0;
  };
  Paced pace(Pace pace, const Compiled& kernel, std::int64_t m);

 private:
  void ensure_rows(std::int64_t m);
  Timer::Launch launcher(const Compiled& kernel, std::int64_t m);
  Timer::Launch cublas_launcher(Cublas::Layout layout, std::int64_t m);

  BenchTools& tools_;
  Problem shape_;
  std::uint64_t seed_;
  std::size_t weight_bytes_;
  Rotation weights_, scales_;
  std::int64_t rows_ = 0;  // of a_ and c_
  DeviceBuffer a_, c_, workspace_;
  std::optional<Rotation> fp16_weights_;
};

// Runs a measurement of the kernel named so. Gives its error, or nothing when there was none; an
// error that leaves the GPU unusable is thrown on (GpuStuck, Error{driver_failed}) with the name.
std::string attempt(const LayerBench& bench, const std::string& name,
                    const std::function<void()>& measure);

}  // namespace marlin
