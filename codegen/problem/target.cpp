// Architecture name or compute capability -> what one SM of it offers. Entry points: limits_of,
// arch_for.
#include "codegen/problem/target.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>

#include "codegen/base/error.h"

namespace marlin {

// CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".
const std::vector<ArchLimits>& known_archs() {
  static const std::vector<ArchLimits> archs = {
      {"sm_80", 80, 163 << 10, 164 << 10, 65536, 2048, 12000},
      {"sm_86", 86, 99 << 10, 100 << 10, 65536, 1536, 12000},
      {"sm_87", 87, 163 << 10, 164 << 10, 65536, 1536, 12000},
      {"sm_89", 89, 99 << 10, 100 << 10, 65536, 1536, 12000},
      {"sm_90", 90, 227 << 10, 228 << 10, 65536, 2048, 12000},
      {"sm_90a", 90, 227 << 10, 228 << 10, 65536, 2048, 12000},
      {"sm_100", 100, 227 << 10, 228 << 10, 65536, 2048, 12080},
      {"sm_120", 120, 99 << 10, 100 << 10, 65536, 1536, 12080},
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

struct Products {
  int compute_capability;
  std::string_view names;
};

// Of another kind than the data centre GPUs whose major number it had; no kernels of ours were ever
// run on it.
constexpr std::string_view kThor = "Jetson Thor";

// developer.nvidia.com/cuda-gpus.
constexpr Products kProducts[] = {
    {80, "A100, A30"},
    {86, "A10, A40, RTX A6000, RTX 30"},
    {87, "Jetson Orin"},
    {89, "L4, L40S, RTX 6000 Ada, RTX 40"},
    {90, "H100, H200, GH200"},
    {100, "B200, GB200"},
    {101, kThor},  // as CUDA 12 numbers it
    {103, "B300, GB300"},
    {110, kThor},
    {120, "RTX 50, RTX PRO 6000 Blackwell"},
    {121, "GB10 (DGX Spark)"},
};

std::string_view products_of(int compute_capability) {
  for (const Products& products : kProducts) {
    if (products.compute_capability == compute_capability) return products.names;
  }
  return {};
}

// Whose code a device of this compute capability runs best; null when none of ours.
const ArchLimits* nearest_arch(int compute_capability) {
  if (products_of(compute_capability) == kThor) return nullptr;
  const ArchLimits* best = nullptr;
  for (const ArchLimits& arch : known_archs()) {
    const bool runs = arch.compute_capability / 10 == compute_capability / 10 &&
                      arch.compute_capability <= compute_capability;
    if (runs) best = &arch;  // later entries win ties, so that 9.0 gets sm_90a
  }
  return best;
}

// "sm_103" or "sm_103a" -> 103.
std::optional<int> capability_in(std::string_view name) {
  constexpr std::string_view kPrefix = "sm_";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  if (name.ends_with('a') || name.ends_with('f')) name.remove_suffix(1);
  int number = 0;
  const auto [rest, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  const bool whole = error == std::errc() && rest == name.data() + name.size();
  return whole && number >= 10 && number < 1000 ? std::optional(number) : std::nullopt;
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
  const ArchLimits* best = nearest_arch(wanted);
  if (best == nullptr) {
    const std::string_view products = products_of(wanted);
    throw Error(
        ErrorCode::invalid_target,
        fmt::format("compute capability {}.{}{} has no kernels; known are {}", cc_major, cc_minor,
                    products.empty() ? "" : fmt::format(", {},", products), known_names()));
  }
  return std::string(best->name);
}

std::string arch_named(std::string_view name) {
  for (const ArchLimits& arch : known_archs()) {
    if (arch.name == name) return std::string(name);
  }
  if (const auto capability = capability_in(name)) {
    try {
      return arch_for(*capability / 10, *capability % 10);
    } catch (const Error& error) {
      throw Error(error.code(), fmt::format("arch = {}: {}", name, error.what()));
    }
  }
  throw Error(ErrorCode::invalid_target,
              fmt::format("arch = {} is none of {}", name, known_names()));
}

std::string products_served_by(std::string_view arch) {
  std::string names;
  for (const Products& products : kProducts) {
    const ArchLimits* serving = nearest_arch(products.compute_capability);
    if (serving == nullptr || serving->name != arch) continue;
    names += fmt::format("{}{}", names.empty() ? "" : ", ", products.names);
  }
  return names;
}

std::string to_string(const Target& target) {
  return fmt::format("{}, {} SMs", target.arch, target.sms);
}

}  // namespace marlin
