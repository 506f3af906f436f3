// Architecture name or compute capability -> what one SM of it offers. Entry points: limits_of,
// arch_for.
#include "codegen/problem/target.h"

#include <fmt/format.h>

#include <algorithm>

#include "codegen/base/error.h"

namespace marlin {

// CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".
const std::vector<ArchLimits>& known_archs() {
  static const std::vector<ArchLimits> archs = {
      {"sm_80", 80, 163 << 10, 164 << 10, 65536, 2048},
      {"sm_86", 86, 99 << 10, 100 << 10, 65536, 1536},
      {"sm_87", 87, 163 << 10, 164 << 10, 65536, 1536},
      {"sm_89", 89, 99 << 10, 100 << 10, 65536, 1536},
      {"sm_90", 90, 227 << 10, 228 << 10, 65536, 2048},
      {"sm_90a", 90, 227 << 10, 228 << 10, 65536, 2048},
      {"sm_100", 100, 227 << 10, 228 << 10, 65536, 2048},
      {"sm_120", 120, 99 << 10, 100 << 10, 65536, 1536},
  };
  return archs;
}

namespace {

std::string known_names() {
  std::string names;
  for (const ArchLimits& arch : known_archs()) {
    if (!names.empty()) names += ", ";
    names += arch.name;
  }
  return names;
}

}  // namespace

const ArchLimits& limits_of(const Target& target) {
  for (const ArchLimits& arch : known_archs()) {
    if (arch.name == target.arch) return arch;
  }
  throw Error(ErrorCode::invalid_target,
              fmt::format("arch = {} is none of {}", target.arch, known_names()));
}

void require_valid(const Target& target) {
  limits_of(target);
  if (target.sms < 1 || target.sms > 1024) {
    throw Error(ErrorCode::invalid_target, fmt::format("sms = {} is not in 1..1024", target.sms));
  }
}

std::string arch_for(int cc_major, int cc_minor) {
  const int wanted = cc_major * 10 + cc_minor;
  const ArchLimits* best = nullptr;
  for (const ArchLimits& arch : known_archs()) {
    // Later entries win ties, so that 9.0 gets sm_90a.
    if (arch.compute_capability / 10 == cc_major && arch.compute_capability <= wanted) best = &arch;
  }
  if (best == nullptr) {
    throw Error(ErrorCode::invalid_target,
                fmt::format("compute capability {}.{} has no kernels; known are {}", cc_major,
                            cc_minor, known_names()));
  }
  return std::string(best->name);
}

std::string to_string(const Target& target) {
  return fmt::format("{}, {} SMs", target.arch, target.sms);
}

}  // namespace marlin
