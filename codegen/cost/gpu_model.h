// GpuModel: a GPU as it is sold, reduced to what the cost model asks of it.
#pragma once

#include <string_view>
#include <vector>

#include "codegen/problem/target.h"

namespace marlin {

struct GpuModel {
  std::string_view name;  // part of the name its driver reports: "H200" of "NVIDIA H200"
  std::string_view arch;
  int sms;
  double memory_gb_s;  // of plain reads: nine tenths of the data sheet's figure unless measured
  double clock_mhz;    // sustained under load
  double tensor_rate;  // FP16 mma.sync with FP32 accumulation, relative to an H200's SM and clock
};

// The GPUs with figures of their own.
const std::vector<GpuModel>& known_gpu_models();

// The model of this architecture and SM count; where several share both, the one whose name is part
// of `gpu`, else the first. A target that is no known GPU gets the figures of its architecture's
// nearest one, memory scaled by the SM count. Throws Error{invalid_target}.
GpuModel gpu_model_of(const Target& target, std::string_view gpu = {});

}  // namespace marlin
