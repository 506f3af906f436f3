// Shape + Target + Config -> the plan of a decode kernel. Entry point: decode_plan.
#include <algorithm>
#include <cstdint>
#include <tuple>

#include "codegen/families/decode/decode.h"

namespace marlin {

namespace {

constexpr int kHalf = 2;            // bytes of an FP16
constexpr int kBlock64Bytes = 512;  // packed bytes of 64 columns in one k16 row
constexpr int kTokenLine = 64;      // k of a 128-byte line of tokens
constexpr int kBarrierBytes = 8;
constexpr int kFragmentBytes = 512;  // FP32 sums of 16 columns x 8 tokens

int round_up(int value, int step) { return (value + step - 1) / step * step; }

void set_parts(Plan& plan) {
  const auto& [shape, config] = std::tie(plan.shape, plan.config);
  const int units = static_cast<int>(shape.k / config.warp_k);
  plan.cluster = config.partition.count;
  plan.parts = plan.cluster * config.warps_k;
  plan.part_units = units / plan.parts;
  plan.long_parts = units % plan.parts;
  plan.grid_x = plan.cluster;
  plan.grid_y = plan.n_slices;
  plan.grid_z = 1;
  plan.dependent_launch = true;
  plan.private_rings = config.warps_n == 1;
  if (!plan.group_scales) return;
  plan.unit_groups = std::max(1, config.warp_k / shape.group);
  plan.group_steps = plan.k_steps / plan.unit_groups;
}

// What one unit brings: words and scales of each warp; tokens once for all warps that share them,
// in swizzled lines of 128 bytes, so that the eight rows of an ldmatrix matrix lie in different
// banks.
void set_unit(Plan& plan) {
  plan.weights_unit_row = plan.blocks64 * kBlock64Bytes;
  plan.weights_unit = plan.k_steps * plan.weights_unit_row;
  plan.tokens_pitch = kHalf * kTokenLine;
  plan.tokens_line = plan.token_tiles * 8 * plan.tokens_pitch;
  plan.tokens_unit = plan.config.warp_k / kTokenLine * plan.tokens_line;
  plan.scales_unit = plan.unit_groups * kHalf * plan.warp_columns;
  plan.scales_offset = plan.weights_unit;
  plan.words_bytes = round_up(plan.weights_unit + plan.scales_unit, 128);
}

// Tokens are copied by all lanes of the warps that read them.
void set_token_copies(Plan& plan) {
  constexpr int kChunk = 16;
  plan.swizzle_shift = 7;
  plan.swizzle_mask = 7;
  plan.token_copiers = 32 * plan.config.warps_n;
  plan.token_chunks_row = kHalf * plan.config.warp_k / kChunk;
  plan.token_rows_pass = plan.token_copiers / plan.token_chunks_row;
  plan.token_passes = (plan.rows + plan.token_rows_pass - 1) / plan.token_rows_pass;
  const int last_rows = plan.rows - (plan.token_passes - 1) * plan.token_rows_pass;
  plan.token_last_copiers = last_rows * plan.token_chunks_row;
}

// Fragments in equal runs as far as they go, so that which block owns one is a literal.
void set_owners(Plan& plan) {
  plan.fragments = plan.blocks64 * 4 * plan.token_tiles;
  plan.quad_lanes = std::min(4, (plan.rows + 1) / 2);
  const auto first = [&](int rank) {
    return (rank * plan.fragments + plan.cluster - 1) / plan.cluster;
  };
  for (int rank = 0; rank < plan.cluster; ++rank) {
    plan.owners.push_back({first(rank), first(rank + 1) - first(rank)});
    plan.most_owned = std::max(plan.most_owned, plan.owners.back().count);
  }
}

void set_shared_memory(Plan& plan) {
  const Config& config = plan.config;
  const int stages = config.stages;
  plan.tokens_offset = 0;
  plan.words_offset = config.warps_k * stages * plan.tokens_unit;
  plan.receive_offset = plan.words_offset + config.warps() * stages * plan.words_bytes;
  plan.receive_part = config.warps_n * plan.most_owned * kFragmentBytes;
  int end = plan.receive_offset + plan.parts * plan.receive_part;
  plan.received_offset = end;
  if (plan.cluster > 1) end += kBarrierBytes;
  plan.shared_bytes = round_up(end, 16);
}

}  // namespace

Plan decode_plan(const Shape& shape, const Target& target, const Config& config) {
  Plan plan = start_plan(shape, target, config);
  set_parts(plan);
  set_unit(plan);
  set_token_copies(plan);
  set_owners(plan);
  set_shared_memory(plan);
  return plan;
}

}  // namespace marlin
