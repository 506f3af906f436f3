// Shape + Target + Config -> the plan of a decode kernel. Entry points: decode_plan,
// decode_shared_map.
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <tuple>

#include "codegen/base/integers.h"
#include "codegen/families/decode/decode.h"
#include "codegen/formats/elements.h"

namespace marlin {

namespace {

void set_splits(Plan& plan) {
  const auto& [problem, config] = std::tie(plan.problem, plan.config);
  const int units = static_cast<int>(problem.shape.k / config.warp_k);
  Launch& launch = plan.launch;
  launch.cluster = config.partition.count;
  launch.grid_x = launch.cluster;
  launch.grid_y = plan.tiles.n_tiles;
  launch.grid_z = 1;
  launch.dependent = true;
  KSplits& splits = plan.decode().splits;
  splits.count = launch.cluster * config.warps_k;
  splits.k_tiles = units / splits.count;
  splits.longer = units % splits.count;
  plan.decode().step.packed = splits.count * plan.global.packed.unit;
  plan.decode().step.activations = splits.count * kHalfBytes * config.warp_k;
}

// What one unit brings: packed weights and scales of each warp; activations once for all warps that
// share them, in swizzled lines of 128 bytes, so that the eight rows of an ldmatrix matrix lie in
// different banks.
void set_unit(Plan& plan) {
  DecodePlan& own = plan.decode();
  own.packed.row = own.warp.blocks64 * kPackTileBytes;
  own.packed.unit = plan.tiles.k_steps * own.packed.row;
  ActivationRows& rows = own.activations;
  rows.pitch = kLineBytes;
  rows.line = own.warp.n8_tiles * 8 * rows.pitch;
  rows.unit = plan.config.warp_k / kLineK * rows.line;
  rows.swizzle_shift = log2_of(kLineBytes);
  rows.swizzle_mask = 7;
  own.scales.unit = plan.scales.rows * kHalfBytes * own.warp.columns;
  own.scales.offset = own.packed.unit;
  own.scales.chunks = kHalfBytes * own.warp.columns / kChunkBytes;
}

void set_reduction(Plan& plan) {
  DecodePlan& own = plan.decode();
  own.reduction.fragments = own.warp.blocks64 * 4 * own.warp.n8_tiles;
  own.reduction.row_lanes = std::min(4, (plan.tiles.rows + 1) / 2);
  own.reduction.reducers = even_reducers(own.reduction.fragments, plan.launch.cluster);
  own.reduction.most = most_of(own.reduction.reducers);
  // Of every split and warp_n, 16 bytes a lane, from lanes whose rows are in the matrix.
  own.reduction.fragment_bytes =
      own.splits.count * plan.config.warps_n * own.reduction.row_lanes * 8 * kChunkBytes;
  own.reduction.pairs = plan.config.warps_n * own.reduction.most * (kFragmentBytes / kPairBytes);
}

void set_shared_memory(Plan& plan) {
  const Config& config = plan.config;
  DecodePlan& own = plan.decode();
  DecodePlan::SharedMap& shared = own.shared;
  shared.activations_ring = config.stages * own.activations.unit;
  shared.packed = config.warps_k * shared.activations_ring;
  shared.packed_stage = round_up(own.packed.unit + own.scales.unit, kLineBytes);
  shared.packed_ring = config.stages * shared.packed_stage;
  shared.received = shared.packed + config.warps() * shared.packed_ring;
  shared.received_split = config.warps_n * own.reduction.most * kFragmentBytes;
  int end = shared.received + own.splits.count * shared.received_split;
  shared.barrier = end;
  if (plan.launch.cluster > 1) end += kBarrierBytes;
  plan.launch.shared_bytes = round_up(end, 16);
}

}  // namespace

Plan decode_plan(const Problem& problem, const Target& target, const Config& config) {
  Plan plan = start_plan(problem, target, config);
  DecodePlan& own = plan.own.emplace<DecodePlan>();
  own.private_rings = config.warps_n == 1;
  own.warp = warp_tile(plan);
  set_splits(plan);
  set_unit(plan);
  // By all lanes of the warps that read them.
  own.copies = activation_copies(plan.tiles.rows, 32 * config.warps_n, kHalfBytes * config.warp_k);
  set_reduction(plan);
  set_shared_memory(plan);
  return plan;
}

SharedMap decode_shared_map(const Plan& plan) {
  const DecodePlan& own = plan.decode();
  const DecodePlan::SharedMap& at = own.shared;
  SharedMap map = {
      {"kActivations", 0, plan.config.warps_k, at.activations_ring,
       fmt::format("rings of activations, {} stages", plan.config.stages)},
      {"kPacked", at.packed, plan.config.warps(), at.packed_ring,
       fmt::format("rings of a warp's packed weights and scales, {} stages", plan.config.stages)},
      {"kReceived", at.received, own.splits.count, at.received_split, "FP32 sums of a split"}};
  if (plan.launch.cluster > 1) {
    map.push_back({"kReduceBarrier", at.barrier, 1, kBarrierBytes, "mbarrier of these sums"});
  }
  return map;
}

}  // namespace marlin
