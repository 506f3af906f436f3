// Shape + Target + Config -> the integers of an emitted kernel that all families share.
// Entry points: start_plan, resource_rule.
#include "codegen/plan/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

namespace marlin {

namespace {

constexpr int kHalf = 2;               // bytes of an FP16
constexpr int kReservedShared = 1024;  // of an SM's shared memory, for each block
constexpr int kWordRowBytes = 8;       // packed bytes of one column in one k16 row

int ceil_div(std::int64_t a, std::int64_t b) { return static_cast<int>((a + b - 1) / b); }

void set_tiles(Plan& plan) {
  const auto& [shape, config] = std::tie(plan.shape, plan.config);
  plan.m_tiles = ceil_div(shape.m, config.tile_m);
  plan.n_slices = static_cast<int>(shape.n / config.tile_n);
  plan.k_tiles = static_cast<int>(shape.k / config.tile_k());
  plan.rows = static_cast<int>(std::min<std::int64_t>(config.tile_m, shape.m));
  plan.dynamic_m = !shape.exact_m && shape.m > 1;
  plan.guard_rows = plan.dynamic_m || shape.m % plan.rows != 0;
  plan.group_scales = !one_group(shape);
}

void set_strides(Plan& plan) {
  const auto [m, n, k, group, exact] = plan.shape;
  const Config& config = plan.config;
  const int tile_k = config.tile_k();
  plan.weights_row = kWordRowBytes * n;
  plan.weights_k_tile = tile_k / 16 * plan.weights_row;
  plan.weights_slice = std::int64_t{kWordRowBytes} * config.tile_n;
  plan.weights_column = k / 16 * plan.weights_row;
  plan.tokens_row = kHalf * k;
  plan.tokens_k_tile = std::int64_t{kHalf} * tile_k;
  plan.tokens_m_tile = config.tile_m * plan.tokens_row;
  plan.tokens_column = kHalf * k;
  plan.scales_row = kHalf * n;
  plan.scales_slice = std::int64_t{kHalf} * config.tile_n;
  if (plan.group_scales) {
    plan.scales_k_tile = tile_k / group * plan.scales_row;
    plan.scales_column = k / group * plan.scales_row;
  }
  plan.output_row = kHalf * n;
  plan.output_slice = std::int64_t{kHalf} * config.tile_n;
  plan.output_m_tile = config.tile_m * plan.output_row;
}

}  // namespace

Plan start_plan(const Shape& shape, const Target& target, const Config& config) {
  Plan plan;
  plan.shape = shape;
  plan.target = target;
  plan.config = config;
  plan.threads = config.threads();
  set_tiles(plan);
  set_strides(plan);
  plan.warp_columns = config.tile_n / config.warps_n;
  plan.blocks64 = plan.warp_columns / 64;
  plan.k_steps = config.warp_k / 16;
  plan.token_tiles = ceil_div(plan.rows, 8);
  return plan;
}

bool scales_accumulators(const Plan& plan) {
  return plan.group_scales && plan.config.scale_on == ScaleOn::accumulators;
}
bool scales_weights(const Plan& plan) {
  return plan.group_scales && plan.config.scale_on == ScaleOn::weights;
}

int register_estimate(const Plan& plan) {
  const bool on_accumulators = scales_accumulators(plan);
  const int accumulators = 16 * plan.blocks64 * plan.token_tiles * (on_accumulators ? 2 : 1);
  const int words = 2 * 4 * plan.blocks64;
  const int tokens = 2 * 2 * plan.token_tiles;
  const int scales = plan.group_scales ? (on_accumulators ? 4 : 12) * plan.blocks64 : 2;
  constexpr int kAddressesAndTemporaries = 38;
  return accumulators + words + tokens + scales + kAddressesAndTemporaries;
}

int resident_blocks(const Plan& plan) {
  constexpr int kSpare = 8;  // registers that the compiler takes beyond the estimate
  const ArchLimits& limits = limits_of(plan.target);
  const int registers = std::min(255, register_estimate(plan) + kSpare + 7) / 8 * 8;
  const int by_registers = limits.registers_per_sm / (registers * plan.threads);
  const int by_shared = limits.shared_per_sm / (plan.shared_bytes + kReservedShared);
  return std::max(1, std::min({by_registers, by_shared, limits.threads_per_sm / plan.threads}));
}

std::optional<std::string> resource_rule(const Plan& plan) {
  const ArchLimits& limits = limits_of(plan.target);
  const int blocks = plan.config.blocks_per_sm;
  if (plan.threads * blocks > limits.threads_per_sm) {
    return fmt::format("{} threads x {} blocks exceed the {} of an SM", plan.threads, blocks,
                       limits.threads_per_sm);
  }
  if (plan.shared_bytes > limits.shared_per_block) {
    return fmt::format("{} bytes of shared memory exceed a block's {}", plan.shared_bytes,
                       limits.shared_per_block);
  }
  if ((plan.shared_bytes + kReservedShared) * blocks > limits.shared_per_sm) {
    return fmt::format("{} bytes of shared memory x {} blocks exceed an SM's {}", plan.shared_bytes,
                       blocks, limits.shared_per_sm);
  }
  const int registers = std::min(255, limits.registers_per_sm / (plan.threads * blocks) / 8 * 8);
  if (register_estimate(plan) > registers) {
    return fmt::format("about {} registers a thread exceed the {} there are",
                       register_estimate(plan), registers);
  }
  return std::nullopt;
}

std::vector<std::pair<std::string, std::int64_t>> named_values(const Plan& plan) {
#define MARLIN_FIELD(name) \
  { #name, static_cast < std::int64_t>(plan.name) }
  return {
      MARLIN_FIELD(threads),
      MARLIN_FIELD(grid_x),
      MARLIN_FIELD(grid_y),
      MARLIN_FIELD(grid_z),
      MARLIN_FIELD(rows_on_x),
      MARLIN_FIELD(cooperative),
      MARLIN_FIELD(shared_bytes),
      MARLIN_FIELD(workspace_bytes),
      MARLIN_FIELD(m_tiles),
      MARLIN_FIELD(n_slices),
      MARLIN_FIELD(k_tiles),
      MARLIN_FIELD(block_k_tiles),
      MARLIN_FIELD(rows),
      MARLIN_FIELD(dynamic_m),
      MARLIN_FIELD(guard_rows),
      MARLIN_FIELD(weights_row),
      MARLIN_FIELD(weights_k_tile),
      MARLIN_FIELD(weights_slice),
      MARLIN_FIELD(weights_column),
      MARLIN_FIELD(tokens_row),
      MARLIN_FIELD(tokens_k_tile),
      MARLIN_FIELD(tokens_m_tile),
      MARLIN_FIELD(tokens_column),
      MARLIN_FIELD(scales_row),
      MARLIN_FIELD(scales_k_tile),
      MARLIN_FIELD(scales_slice),
      MARLIN_FIELD(scales_column),
      MARLIN_FIELD(output_row),
      MARLIN_FIELD(output_slice),
      MARLIN_FIELD(output_m_tile),
      MARLIN_FIELD(private_rings),
      MARLIN_FIELD(warp_columns),
      MARLIN_FIELD(blocks64),
      MARLIN_FIELD(k_steps),
      MARLIN_FIELD(token_tiles),
      MARLIN_FIELD(group_scales),
      MARLIN_FIELD(weights_unit),
      MARLIN_FIELD(weights_unit_row),
      MARLIN_FIELD(tokens_offset),
      MARLIN_FIELD(tokens_pitch),
      MARLIN_FIELD(tokens_unit),
      MARLIN_FIELD(tokens_warp_k),
      MARLIN_FIELD(swizzle_shift),
      MARLIN_FIELD(swizzle_mask),
      MARLIN_FIELD(scales_offset),
      MARLIN_FIELD(scales_unit),
      MARLIN_FIELD(stage_bytes),
      MARLIN_FIELD(ring_bytes),
      MARLIN_FIELD(token_copiers),
      MARLIN_FIELD(token_chunks_row),
      MARLIN_FIELD(token_rows_pass),
      MARLIN_FIELD(token_passes),
      MARLIN_FIELD(token_last_copiers),
      MARLIN_FIELD(scale_chunks),
      MARLIN_FIELD(reduce_offset),
      MARLIN_FIELD(reduce_tokens),
      MARLIN_FIELD(reduce_passes),
      MARLIN_FIELD(reduce_pitch),
      MARLIN_FIELD(reduce_warp_k),
      MARLIN_FIELD(quads),
      MARLIN_FIELD(reduce_rows),
      MARLIN_FIELD(shares_slices),
      MARLIN_FIELD(ticket_offset),
      MARLIN_FIELD(counters),
      MARLIN_FIELD(partials_offset),
      MARLIN_FIELD(partial_tile),
      MARLIN_FIELD(partial_quads),
      MARLIN_FIELD(partial_chunks),
      MARLIN_FIELD(exchanges),
      MARLIN_FIELD(boxes),
      MARLIN_FIELD(least_owned),
      MARLIN_FIELD(dependent_launch),
      MARLIN_FIELD(cluster),
      MARLIN_FIELD(parts),
      MARLIN_FIELD(part_units),
      MARLIN_FIELD(long_parts),
      MARLIN_FIELD(unit_groups),
      MARLIN_FIELD(group_steps),
      MARLIN_FIELD(tokens_line),
      MARLIN_FIELD(words_offset),
      MARLIN_FIELD(words_bytes),
      MARLIN_FIELD(received_offset),
      MARLIN_FIELD(receive_offset),
      MARLIN_FIELD(receive_part),
      MARLIN_FIELD(fragments),
      MARLIN_FIELD(most_owned),
      MARLIN_FIELD(quad_lanes),
      MARLIN_FIELD(consumers),
      MARLIN_FIELD(m64_tiles),
      MARLIN_FIELD(tile_sums),
      MARLIN_FIELD(bursts),
      MARLIN_FIELD(consumer_registers),
      MARLIN_FIELD(producer_registers),
      MARLIN_FIELD(tokens_stage),
      MARLIN_FIELD(words_stage),
      MARLIN_FIELD(scales_stage),
      MARLIN_FIELD(token_lines),
      MARLIN_FIELD(words_row),
      MARLIN_FIELD(full_offset),
      MARLIN_FIELD(empty_offset),
      MARLIN_FIELD(staging_offset),
      MARLIN_FIELD(staging_tokens),
      MARLIN_FIELD(staging_box),
      MARLIN_FIELD(staging_buffer),
      MARLIN_FIELD(staging_consumer),
      MARLIN_FIELD(staging_buffers),
      MARLIN_FIELD(tail_columns),
      MARLIN_FIELD(tail_scales_unit),
      MARLIN_FIELD(tail_stage_bytes),
      MARLIN_FIELD(workers),
      MARLIN_FIELD(tiles),
      MARLIN_FIELD(whole_tiles),
      MARLIN_FIELD(striped_units),
      MARLIN_FIELD(token_box),
  };
#undef MARLIN_FIELD
}

}  // namespace marlin
