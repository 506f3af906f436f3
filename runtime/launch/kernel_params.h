// KernelParams: the arguments of one launch as the driver takes them.
#pragma once

#include <cuda.h>

#include <array>
#include <cstdint>

#include "codegen/plan/plan.h"
#include "marlin/compiled.h"

namespace marlin {

// Holds everything itself: nothing is allocated, and the driver copies all of it with the launch,
// so that a captured one stays valid.
class KernelParams {
 public:
  // Encodes the plan's tensor maps for these pointers and rows. Throws Error{driver_failed}.
  KernelParams(const Plan& plan, const LaunchArgs& args, std::int64_t rows);
  KernelParams(const KernelParams&) = delete;
  KernelParams& operator=(const KernelParams&) = delete;

  void** get() { return params_.data(); }

 private:
  static constexpr std::size_t kMostMaps = 3, kMost = 8;

  void encode(CUtensorMap& map, const TensorBox& box);

  LaunchArgs args_;
  int m_;
  std::array<CUtensorMap, kMostMaps> maps_;
  std::array<const void*, kMost> pointers_{};
  std::array<void*, kMost> params_{};
};

}  // namespace marlin
