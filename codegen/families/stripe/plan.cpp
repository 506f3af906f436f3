// Shape + Target + Config -> the plan of a stripe kernel. Entry points: stripe_plan,
// stripe_shared_map.
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

#include "codegen/base/integers.h"
#include "codegen/families/stripe/stripe.h"
#include "codegen/formats/elements.h"
#include "codegen/plan/stripes.h"

namespace marlin {

namespace {

constexpr int kReduceBudget = 48 << 10;  // shared memory for one pass of the reduction

void set_grid(Plan& plan) {
  const Partition& partition = plan.config.partition;
  switch (partition.kind) {
    case Partition::Kind::split:
      plan.launch.rows_on_x = true;
      plan.launch.grid_x = plan.tiles.m_tiles;
      plan.launch.grid_y = plan.tiles.n_tiles;
      plan.launch.grid_z = partition.count;
      plan.stripe().work.k_tiles = plan.tiles.k_tiles / partition.count;
      break;
    case Partition::Kind::span:
      plan.launch.rows_on_x = true;
      plan.launch.grid_x = plan.tiles.m_tiles;
      plan.launch.grid_y = plan.tiles.n_tiles / partition.count;
      plan.launch.grid_z = 1;
      plan.stripe().work.k_tiles = plan.tiles.k_tiles * partition.count;
      break;
    case Partition::Kind::stripes:
      plan.launch.grid_x = partition.count;
      plan.launch.grid_y = plan.launch.grid_z = 1;
      plan.stripe().work.striped = true;
      break;
    case Partition::Kind::cluster: break;  // of another family, and never legal here
  }
}

// One stage: packed weights, activations, scales; each warp's packed weights and scales stand
// apart, because it copies what it reads. Rows of activations are swizzled in 128-byte lines, so
// that the eight rows of an ldmatrix matrix lie in different banks.
void set_stage(Plan& plan) {
  const Config& config = plan.config;
  StripePlan& own = plan.stripe();
  const int warps = config.warps();
  own.packed.row = own.warp.blocks64 * kPackTileBytes;
  own.packed.unit = plan.tiles.k_steps * own.packed.row;
  ActivationRows& rows = own.activations;
  rows.pitch = kHalfBytes * (own.private_rings ? config.warp_k : config.tile_k());
  const int row_bytes = own.warp.n8_tiles * 8 * rows.pitch;
  rows.unit = own.private_rings ? row_bytes : 0;
  rows.swizzle_shift = std::max(log2_of(kLineBytes), log2_of(rows.pitch));
  rows.swizzle_mask = rows.pitch < kLineBytes ? 3 : 7;
  own.stage.activations_offset = warps * own.packed.unit;
  own.stage.activations_warp_k = own.private_rings ? 0 : kHalfBytes * config.warp_k;
  own.scales.offset = own.stage.activations_offset + (own.private_rings ? warps : 1) * row_bytes;
  own.scales.unit = plan.scales.grouped ? kHalfBytes * own.warp.columns : 0;
  own.scales.chunks = own.scales.unit / kChunkBytes;
  own.stage.bytes = round_up(own.scales.offset + warps * own.scales.unit, kLineBytes);
  own.stage.ring_bytes = config.stages * own.stage.bytes;
}

// A block that still has copies in flight when a tile ends reduces beside the ring, else over it.
// The pitch of four more columns spreads a fragment's stores over all banks.
void set_reduction(Plan& plan) {
  const Config& config = plan.config;
  StripePlan& own = plan.stripe();
  StripePlan::Reduction& reduction = own.reduction;
  const bool over_ring = config.partition.kind == Partition::Kind::split;
  reduction.pitch = kFloatBytes * (config.tile_n + 4);
  const int row_bytes = config.warps_k * reduction.pitch;
  const int all_rows = own.warp.n8_tiles * 8;
  const int budget = over_ring ? std::max(own.stage.ring_bytes, kReduceBudget) : kReduceBudget;
  reduction.pass_rows = std::clamp(budget / row_bytes / 8 * 8, 8, all_rows);
  reduction.passes = ceil_div(all_rows, reduction.pass_rows);
  reduction.warp_k = reduction.pass_rows * reduction.pitch;
  reduction.float4s = config.tile_n / 4;
  reduction.round_rows = std::max(1, plan.launch.threads / reduction.float4s);
  reduction.offset = over_ring ? 0 : own.stage.ring_bytes;
  plan.launch.shared_bytes =
      std::max(own.stage.ring_bytes, reduction.offset + reduction.pass_rows * row_bytes);
}

void set_workspace(Plan& plan) {
  const Partition& partition = plan.config.partition;
  SharedTiles shared;
  if (partition.kind == Partition::Kind::stripes) {
    shared =
        count_shared(plan.tiles.m_tiles * plan.tiles.n_tiles, plan.tiles.k_tiles, partition.count);
  } else if (partition.kind == Partition::Kind::split && partition.count > 1) {
    shared.counters = std::int64_t{plan.tiles.m_tiles} * plan.tiles.n_tiles;
    shared.slots = shared.counters * partition.count;
  }
  plan.workspace.shared = shared.counters > 0;
  if (plan.workspace.shared) {
    plan.stripe().reduction.ticket = plan.launch.shared_bytes;
    plan.launch.shared_bytes += 16;
  }
  plan.workspace.partial_row = std::int64_t{kFloatBytes} * plan.config.tile_n;
  plan.workspace.partial_tile = plan.tiles.rows * plan.workspace.partial_row;
  plan.workspace.counters = shared.counters;
  plan.workspace.partials_offset = kCounterBytes;
  plan.workspace.bytes = plan.workspace.shared ? plan.workspace.partials_offset +
                                                     shared.slots * plan.workspace.partial_tile
                                               : 0;
}

}  // namespace

Plan stripe_plan(const Problem& problem, const Target& target, const Config& config) {
  Plan plan = start_plan(problem, target, config);
  StripePlan& own = plan.own.emplace<StripePlan>();
  own.private_rings = config.warps_n == 1;
  own.warp = warp_tile(plan);
  set_grid(plan);
  set_stage(plan);
  own.copies = activation_copies(plan.tiles.rows, own.private_rings ? 32 : plan.launch.threads,
                                 own.activations.pitch);
  set_reduction(plan);
  set_workspace(plan);
  return plan;
}

SharedMap stripe_shared_map(const Plan& plan) {
  const StripePlan& own = plan.stripe();
  const int warps = plan.config.warps(), rings = own.private_rings ? warps : 1;
  const int rows = own.warp.n8_tiles * 8;
  SharedMap map = {{"kStages", 0, plan.config.stages, own.stage.bytes, "the ring of stages, each:"},
                   {"kPacked", 0, warps, own.packed.unit, "packed weights of a warp"},
                   {"kActivations", own.stage.activations_offset, rings,
                    rows * own.activations.pitch, fmt::format("activations, {} rows", rows)}};
  if (plan.scales.grouped) {
    map.push_back({"kScales", own.scales.offset, warps, own.scales.unit, "scales of a warp"});
  }
  map.push_back({"kSums", own.reduction.offset, plan.config.warps_k, own.reduction.warp_k,
                 fmt::format("FP32 sums of a pass, {} rows", own.reduction.pass_rows)});
  if (plan.workspace.shared) {
    map.push_back({"kArrival", own.reduction.ticket, 1, 4, "whether this block came last"});
  }
  return map;
}

}  // namespace marlin
