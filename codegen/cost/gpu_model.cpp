// Target and GPU name -> the model's figures. Entry point: gpu_model_of.
#include "codegen/cost/gpu_model.h"

#include <cstdlib>

namespace marlin {
namespace {

// An H200's SM does 1068 products of FP16 a clock by mma.sync with FP32 accumulation (measured,
// half of what wgmma does); the others do 1024, 512 or 256 by their data sheets.
constexpr double kFull = 0.96, kHalf = 0.48, kQuarter = 0.24;

// Nine tenths of what a data sheet says is what plain reads reach; on the H200 4550 of 4800.
constexpr double kReach = 0.9;

}  // namespace

// Memory bandwidth and tensor throughput of NVIDIA's data sheets and architecture white papers. The
// clock, meant to be the sustained one, is 1755 MHz for all of Hopper and as a rule their boost
// clock for the others. Where models share architecture and SM count the common one stands first.
const std::vector<GpuModel>& known_gpu_models() {
  static const std::vector<GpuModel> models = {
      {"H200", "sm_90a", 132, 4550, 1755, 1.0},
      {"H100 80GB HBM3", "sm_90a", 132, 3350 * kReach, 1755, 1.0},
      {"GH200", "sm_90a", 132, 4000 * kReach, 1755, 1.0},
      {"H100 PCIe", "sm_90a", 114, 2000 * kReach, 1755, 1.0},
      {"H20", "sm_90a", 78, 4000 * kReach, 1755, 1.0},
      {"A100-SXM4-80GB", "sm_80", 108, 2039 * kReach, 1410, kFull},
      {"A100-SXM4-40GB", "sm_80", 108, 1555 * kReach, 1410, kFull},
      {"A100 80GB PCIe", "sm_80", 108, 1935 * kReach, 1410, kFull},
      {"A30", "sm_80", 56, 933 * kReach, 1440, kFull},
      {"A10", "sm_86", 72, 600 * kReach, 1695, kHalf},
      {"A40", "sm_86", 84, 696 * kReach, 1740, kHalf},
      {"RTX A6000", "sm_86", 84, 768 * kReach, 1800, kHalf},
      {"RTX 3090", "sm_86", 82, 936 * kReach, 1695, kQuarter},
      {"Orin", "sm_87", 16, 205 * kReach, 1300, kHalf},
      {"L40S", "sm_89", 142, 864 * kReach, 2520, kHalf},
      {"L4", "sm_89", 58, 300 * kReach, 2040, kHalf},
      {"RTX 4090", "sm_89", 128, 1008 * kReach, 2520, kQuarter},
      {"B200", "sm_100", 148, 8000 * kReach, 1965, kFull},
      {"RTX 5090", "sm_120", 170, 1792 * kReach, 2407, kQuarter},
      {"RTX PRO 6000 Blackwell", "sm_120", 188, 1792 * kReach, 2430, kHalf},
      {"RTX 5080", "sm_120", 84, 960 * kReach, 2617, kQuarter},
  };
  return models;
}

GpuModel gpu_model_of(const Target& target, std::string_view gpu) {
  const int capability = limits_of(target).compute_capability;
  const GpuModel* nearest = nullptr;
  int least = 0;
  for (const GpuModel& model : known_gpu_models()) {
    if (limits_of({std::string(model.arch), model.sms}).compute_capability != capability) continue;
    const int distance = std::abs(model.sms - target.sms);
    const bool named = distance == 0 && !gpu.empty() && gpu.find(model.name) != gpu.npos;
    if (nearest == nullptr || distance < least || named) {
      nearest = &model;
      least = distance;
    }
    if (named) break;
  }
  GpuModel model = *nearest;
  model.arch = limits_of(target).name;
  model.memory_gb_s *= double(target.sms) / model.sms;
  model.sms = target.sms;
  return model;
}

}  // namespace marlin
