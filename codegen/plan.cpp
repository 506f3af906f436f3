// Shape + Target + Config -> every integer of the emitted kernel. Entry point: make_plan.
#include "codegen/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <tuple>

#include "codegen/error.h"

namespace marlin {

namespace {

constexpr int kHalf = 2;                 // bytes of an FP16
constexpr int kWordRowBytes = 8;         // packed bytes of one column in one k16 row
constexpr int kBlock64Bytes = 512;       // packed bytes of 64 columns in one k16 row
constexpr int kChunk = 16;               // bytes of one asynchronous copy
constexpr int kReduceBudget = 48 << 10;  // shared memory for one pass of the reduction

int ceil_div(std::int64_t a, std::int64_t b) { return static_cast<int>((a + b - 1) / b); }
int round_up(int value, int step) { return (value + step - 1) / step * step; }
int log2_of(int power) { return std::countr_zero(static_cast<unsigned>(power)); }

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

void set_grid(Plan& plan) {
  const Partition& partition = plan.config.partition;
  switch (partition.kind) {
    case Partition::Kind::split:
      plan.grid_x = plan.m_tiles;
      plan.grid_y = plan.n_slices;
      plan.grid_z = partition.count;
      plan.block_k_tiles = plan.k_tiles / partition.count;
      break;
    case Partition::Kind::span:
      plan.grid_x = plan.m_tiles;
      plan.grid_y = plan.n_slices / partition.count;
      plan.grid_z = 1;
      plan.block_k_tiles = plan.k_tiles * partition.count;
      break;
    case Partition::Kind::stripes:
      plan.grid_x = partition.count;
      plan.grid_y = plan.grid_z = 1;
      plan.striped = true;
      break;
  }
  plan.threads = plan.config.threads();
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

void set_warp(Plan& plan) {
  const Config& config = plan.config;
  plan.private_rings = config.warps_n == 1;
  plan.warp_columns = config.tile_n / config.warps_n;
  plan.blocks64 = plan.warp_columns / 64;
  plan.k_steps = config.warp_k / 16;
  plan.token_tiles = ceil_div(plan.rows, 8);
}

// One stage: words, tokens, scales; each warp's words and scales stand apart, because it copies
// what it reads. Rows of tokens are swizzled in 128-byte lines, so that the eight rows of an
// ldmatrix matrix lie in different banks.
void set_stage(Plan& plan) {
  const Config& config = plan.config;
  const int warps = config.warps();
  plan.weights_unit_row = plan.blocks64 * kBlock64Bytes;
  plan.weights_unit = plan.k_steps * plan.weights_unit_row;
  plan.tokens_offset = warps * plan.weights_unit;
  plan.tokens_pitch = kHalf * (plan.private_rings ? config.warp_k : config.tile_k());
  const int token_bytes = plan.token_tiles * 8 * plan.tokens_pitch;
  plan.tokens_unit = plan.private_rings ? token_bytes : 0;
  plan.tokens_warp_k = plan.private_rings ? 0 : kHalf * config.warp_k;
  plan.swizzle_shift = std::max(7, log2_of(plan.tokens_pitch));
  plan.swizzle_mask = plan.tokens_pitch < 128 ? 3 : 7;
  plan.scales_offset = plan.tokens_offset + (plan.private_rings ? warps : 1) * token_bytes;
  plan.scales_unit = plan.group_scales ? kHalf * plan.warp_columns : 0;
  plan.stage_bytes = round_up(plan.scales_offset + warps * plan.scales_unit, 128);
  plan.ring_bytes = config.stages * plan.stage_bytes;
}

void set_copies(Plan& plan) {
  plan.token_copiers = plan.private_rings ? 32 : plan.threads;
  plan.token_chunks_row = plan.tokens_pitch / kChunk;
  plan.token_rows_pass = std::max(1, plan.token_copiers / plan.token_chunks_row);
  plan.token_passes = ceil_div(plan.rows, plan.token_rows_pass);
  const int last_rows = plan.rows - (plan.token_passes - 1) * plan.token_rows_pass;
  plan.token_last_copiers = last_rows * plan.token_chunks_row;
  plan.scale_chunks = plan.scales_unit / kChunk;
}

// A block that still has copies in flight when a slice ends reduces beside the ring, else over it.
// The pitch of four more columns spreads a fragment's stores over all banks.
void set_reduction(Plan& plan) {
  const Config& config = plan.config;
  const bool over_ring = config.partition.kind == Partition::Kind::split;
  plan.reduce_pitch = 4 * (config.tile_n + 4);
  const int token_bytes = config.warps_k * plan.reduce_pitch;
  const int all_tokens = plan.token_tiles * 8;
  const int budget = over_ring ? std::max(plan.ring_bytes, kReduceBudget) : kReduceBudget;
  plan.reduce_tokens = std::clamp(budget / token_bytes / 8 * 8, 8, all_tokens);
  plan.reduce_passes = ceil_div(all_tokens, plan.reduce_tokens);
  plan.reduce_warp_k = plan.reduce_tokens * plan.reduce_pitch;
  plan.quads = config.tile_n / 4;
  plan.reduce_rows = std::max(1, plan.threads / plan.quads);
  plan.reduce_offset = over_ring ? 0 : plan.ring_bytes;
  plan.shared_bytes =
      std::max(plan.ring_bytes, plan.reduce_offset + plan.reduce_tokens * token_bytes);
}

void set_workspace(Plan& plan) {
  const Partition& partition = plan.config.partition;
  SharedSlices shared;
  if (partition.kind == Partition::Kind::stripes) {
    shared = count_shared(plan.m_tiles * plan.n_slices, plan.k_tiles, partition.count);
  } else if (partition.kind == Partition::Kind::split && partition.count > 1) {
    shared.counters = std::int64_t{plan.m_tiles} * plan.n_slices;
    shared.slots = shared.counters * partition.count;
  }
  plan.shares_slices = shared.counters > 0;
  if (plan.shares_slices) {
    plan.ticket_offset = plan.shared_bytes;
    plan.shared_bytes += 16;
  }
  plan.partial_tile = std::int64_t{4} * plan.rows * plan.config.tile_n;
  plan.counters = shared.counters;
  plan.partials_offset = kCounterBytes;
  plan.workspace_bytes =
      plan.shares_slices ? plan.partials_offset + shared.slots * plan.partial_tile : 0;
}

std::string entry_name(const Plan& plan) {
  const Shape& shape = plan.shape;
  return fmt::format("marlin_stripe_{}x{}x{}_g{}", shape.m, shape.n, shape.k,
                     shape.group > 0 ? std::to_string(shape.group) : "all");
}

}  // namespace

Plan lay_out(const Shape& shape, const Target& target, const Config& config) {
  Plan plan;
  plan.shape = shape;
  plan.target = target;
  plan.config = config;
  set_tiles(plan);
  set_grid(plan);
  set_strides(plan);
  set_warp(plan);
  set_stage(plan);
  set_copies(plan);
  set_reduction(plan);
  set_workspace(plan);
  return plan;
}

Plan make_plan(const Shape& shape, const Target& target, const Config& config) {
  if (auto rule = why_illegal(shape, target, config)) {
    require_valid(shape);
    require_valid(target);
    throw Error(ErrorCode::invalid_config, fmt::format("config {}: {}", to_string(config), *rule));
  }
  Plan plan = lay_out(shape, target, config);
  plan.entry = entry_name(plan);
  if (plan.striped) {
    plan.stripes = cut_stripes(plan.m_tiles * plan.n_slices, plan.k_tiles, config.partition.count);
  }
  return plan;
}

int register_estimate(const Plan& plan) {
  const bool on_accumulators = plan.group_scales && plan.config.scale_on == ScaleOn::accumulators;
  const int accumulators = 16 * plan.blocks64 * plan.token_tiles * (on_accumulators ? 2 : 1);
  const int words = 2 * 4 * plan.blocks64;
  const int tokens = 2 * 2 * plan.token_tiles;
  const int scales = plan.group_scales ? (on_accumulators ? 4 : 12) * plan.blocks64 : 2;
  constexpr int kAddressesAndTemporaries = 38;
  return accumulators + words + tokens + scales + kAddressesAndTemporaries;
}

std::vector<std::pair<std::string, std::int64_t>> named_values(const Plan& plan) {
#define MARLIN_FIELD(name) \
  { #name, static_cast < std::int64_t>(plan.name) }
  return {
      MARLIN_FIELD(threads),         MARLIN_FIELD(grid_x),         MARLIN_FIELD(grid_y),
      MARLIN_FIELD(grid_z),          MARLIN_FIELD(shared_bytes),   MARLIN_FIELD(workspace_bytes),
      MARLIN_FIELD(m_tiles),         MARLIN_FIELD(n_slices),       MARLIN_FIELD(k_tiles),
      MARLIN_FIELD(block_k_tiles),   MARLIN_FIELD(rows),           MARLIN_FIELD(dynamic_m),
      MARLIN_FIELD(guard_rows),      MARLIN_FIELD(weights_row),    MARLIN_FIELD(weights_k_tile),
      MARLIN_FIELD(weights_slice),   MARLIN_FIELD(weights_column), MARLIN_FIELD(tokens_row),
      MARLIN_FIELD(tokens_k_tile),   MARLIN_FIELD(tokens_m_tile),  MARLIN_FIELD(tokens_column),
      MARLIN_FIELD(scales_row),      MARLIN_FIELD(scales_k_tile),  MARLIN_FIELD(scales_slice),
      MARLIN_FIELD(scales_column),   MARLIN_FIELD(output_row),     MARLIN_FIELD(output_slice),
      MARLIN_FIELD(output_m_tile),   MARLIN_FIELD(private_rings),  MARLIN_FIELD(warp_columns),
      MARLIN_FIELD(blocks64),        MARLIN_FIELD(k_steps),        MARLIN_FIELD(token_tiles),
      MARLIN_FIELD(group_scales),    MARLIN_FIELD(weights_unit),   MARLIN_FIELD(weights_unit_row),
      MARLIN_FIELD(tokens_offset),   MARLIN_FIELD(tokens_pitch),   MARLIN_FIELD(tokens_unit),
      MARLIN_FIELD(tokens_warp_k),   MARLIN_FIELD(swizzle_shift),  MARLIN_FIELD(swizzle_mask),
      MARLIN_FIELD(scales_offset),   MARLIN_FIELD(scales_unit),    MARLIN_FIELD(stage_bytes),
      MARLIN_FIELD(ring_bytes),      MARLIN_FIELD(token_copiers),  MARLIN_FIELD(token_chunks_row),
      MARLIN_FIELD(token_rows_pass), MARLIN_FIELD(token_passes),   MARLIN_FIELD(token_last_copiers),
      MARLIN_FIELD(scale_chunks),    MARLIN_FIELD(reduce_offset),  MARLIN_FIELD(reduce_tokens),
      MARLIN_FIELD(reduce_passes),   MARLIN_FIELD(reduce_pitch),   MARLIN_FIELD(reduce_warp_k),
      MARLIN_FIELD(quads),           MARLIN_FIELD(reduce_rows),    MARLIN_FIELD(shares_slices),
      MARLIN_FIELD(ticket_offset),   MARLIN_FIELD(counters),       MARLIN_FIELD(partials_offset),
      MARLIN_FIELD(partial_tile),
  };
#undef MARLIN_FIELD
}

}  // namespace marlin
