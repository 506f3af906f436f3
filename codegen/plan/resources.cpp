// Plan -> registers, blocks on an SM, and the rule that these break.
// Entry points: register_estimate, resident_blocks, resource_rule.
#include "codegen/plan/resources.h"

#include <fmt/format.h>

#include <algorithm>

namespace marlin {

namespace {

constexpr int kReservedShared = 1024;  // of an SM's shared memory, for each block

}  // namespace

int register_estimate(const Plan& plan, const WarpTile& warp) {
  const bool on_accumulators = scales_accumulators(plan);
  const int accumulators = 16 * warp.blocks64 * warp.n8_tiles * (on_accumulators ? 2 : 1);
  const int words = 2 * 4 * warp.blocks64;
  const int tokens = 2 * 2 * warp.n8_tiles;
  const int scales = plan.scales.grouped ? (on_accumulators ? 4 : 12) * warp.blocks64 : 2;
  constexpr int kAddressesAndTemporaries = 38;
  return accumulators + words + tokens + scales + kAddressesAndTemporaries;
}

int resident_blocks(const Plan& plan, const WarpTile& warp) {
  constexpr int kSpare = 8;  // registers that the compiler takes beyond the estimate
  const ArchLimits& limits = limits_of(plan.target);
  const int registers = std::min(255, register_estimate(plan, warp) + kSpare + 7) / 8 * 8;
  const int by_registers = limits.registers_per_sm / (registers * plan.launch.threads);
  const int by_shared = limits.shared_per_sm / (plan.launch.shared_bytes + kReservedShared);
  return std::max(1,
                  std::min({by_registers, by_shared, limits.threads_per_sm / plan.launch.threads}));
}

std::optional<std::string> shared_memory_rule(const Plan& plan) {
  const ArchLimits& limits = limits_of(plan.target);
  const int blocks = plan.config.blocks_per_sm;
  if (plan.launch.shared_bytes > limits.shared_per_block) {
    return fmt::format("{} bytes of shared memory exceed a block's {}", plan.launch.shared_bytes,
                       limits.shared_per_block);
  }
  if ((plan.launch.shared_bytes + kReservedShared) * blocks > limits.shared_per_sm) {
    return fmt::format("{} bytes of shared memory x {} blocks exceed an SM's {}",
                       plan.launch.shared_bytes, blocks, limits.shared_per_sm);
  }
  return std::nullopt;
}

std::optional<std::string> resource_rule(const Plan& plan, const WarpTile& warp) {
  const ArchLimits& limits = limits_of(plan.target);
  const int blocks = plan.config.blocks_per_sm;
  if (plan.launch.threads * blocks > limits.threads_per_sm) {
    return fmt::format("{} threads x {} blocks exceed the {} of an SM", plan.launch.threads, blocks,
                       limits.threads_per_sm);
  }
  if (auto rule = shared_memory_rule(plan)) return rule;
  const int registers =
      std::min(255, limits.registers_per_sm / (plan.launch.threads * blocks) / 8 * 8);
  if (register_estimate(plan, warp) > registers) {
    return fmt::format("about {} registers a thread exceed the {} there are",
                       register_estimate(plan, warp), registers);
  }
  return std::nullopt;
}

}  // namespace marlin
