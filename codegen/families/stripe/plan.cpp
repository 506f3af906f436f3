// Shape + Target + Config -> the plan of a stripe kernel. Entry point: stripe_plan.
#include <algorithm>
#include <bit>
#include <cstdint>

#include "codegen/families/stripe/stripe.h"

namespace marlin {

namespace {

constexpr int kHalf = 2;                 // bytes of an FP16
constexpr int kBlock64Bytes = 512;       // packed bytes of 64 columns in one k16 row
constexpr int kChunk = 16;               // bytes of one asynchronous copy
constexpr int kReduceBudget = 48 << 10;  // shared memory for one pass of the reduction

int ceil_div(int a, int b) { return (a + b - 1) / b; }
int round_up(int value, int step) { return ceil_div(value, step) * step; }
int log2_of(int power) { return std::countr_zero(static_cast<unsigned>(power)); }

void set_grid(Plan& plan) {
  const Partition& partition = plan.config.partition;
  switch (partition.kind) {
    case Partition::Kind::split:
      plan.rows_on_x = true;
      plan.grid_x = plan.m_tiles;
      plan.grid_y = plan.n_slices;
      plan.grid_z = partition.count;
      plan.block_k_tiles = plan.k_tiles / partition.count;
      break;
    case Partition::Kind::span:
      plan.rows_on_x = true;
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
    case Partition::Kind::cluster: break;  // of another family, and never legal here
  }
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

}  // namespace

Plan stripe_plan(const Shape& shape, const Target& target, const Config& config) {
  Plan plan = start_plan(shape, target, config);
  plan.private_rings = config.warps_n == 1;
  set_grid(plan);
  set_stage(plan);
  set_copies(plan);
  set_reduction(plan);
  set_workspace(plan);
  return plan;
}

}  // namespace marlin
