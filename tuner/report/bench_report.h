// What one run of `marlin bench` measured, and the figures derived from it.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "codegen/problem/problem.h"
#include "tuner/measure/measure.h"
#include "tuner/report/plot.h"

namespace marlin {

// The layer's name in a report: "KxN" where it has none of its own.
std::string layer_name(const std::string& layer, const Problem& problem);

// One layer at one M.
struct BenchCell {
  std::string layer;      // layer_name()
  Problem problem;        // as asked
  std::int64_t rung = 0;  // the m its kernel is written for
  std::string config;
  Timing ours;
  Timing floor;
  std::optional<Timing> cublas;
  std::string cublas_layout;                 // "NN" or "TN", the faster one
  double ours_mhz = 0, cublas_mhz = 0;       // the SMs' clocks meanwhile; 0: not measured
  std::optional<double> published_us;        // the published kernel, as it was measured
  std::optional<double> published_floor_us;  // the read floor of that measurement

  double flops() const;     // 2 m n k
  double bytes() const;     // weights, scales and activations read, results written
  double gb_per_s() const;  // bytes() over our time
  double tflop_per_s() const;
  double roof_us(double peak_tflops) const;  // max(floor, flops at the peak); the floor for peak 0
  double over_roof(double peak_tflops) const { return ours.median_us / roof_us(peak_tflops); }
  std::optional<double> over_cublas() const;  // speed-up
  // The published kernel's time re-scaled by our floor over its floor.
  std::optional<double> published_scaled_us() const;
  std::optional<double> over_published() const;  // speed-up over published_scaled_us()
};

// Geometric means over the layers at one M. A mean is 0 when no cell has that figure.
struct BenchSummary {
  std::int64_t m = 0;
  int layers = 0;
  double over_floor = 0;            // time / read floor
  double over_roof = 0;             // time / roof
  double over_cublas = 0;           // speed-up
  double over_published = 0;        // speed-up over the re-scaled published kernel
  double over_published_plain = 0;  // and over its time as it was measured
};

struct BenchReport {
  std::string gpu, target;
  double peak_tflops = 0;  // 0: unknown, the roof is the read floor alone
  std::string cublas;      // the library, or why there is none
  std::string anchors_gpu;
  std::vector<BenchCell> cells;
  // Times and floors are of chained launches, and stand beside no others: nobody measured cuBLAS or
  // the published kernel so.
  bool chained = false;
  Pace pace = Pace::plain;

  std::vector<BenchSummary> summaries() const;  // in ascending M
  std::string text() const;
  nlohmann::ordered_json json() const;
  // Speed-up over cuBLAS against M, geometric means over the layers: ours, the published kernel's
  // where there are anchors, and what the roof allows. Without cuBLAS it has no points.
  Plot plot() const;
};

}  // namespace marlin
