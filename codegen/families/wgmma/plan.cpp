// Shape + Target + Config -> the plan of a wgmma kernel. Entry point: wgmma_plan.
#include <algorithm>
#include <cstdint>
#include <tuple>

#include "codegen/families/wgmma/wgmma.h"

namespace marlin {

namespace {

constexpr int kHalf = 2;       // bytes of an FP16
constexpr int kWordBytes = 8;  // packed bytes of one column in one k16 row
constexpr int kLine = 128;     // bytes of a swizzled line: 64 k of a token, 64 columns of C
constexpr int kLineK = 64;
constexpr int kAlign = 1024;  // of what is swizzled by 128 bytes
constexpr int kBarrier = 8;
constexpr int kWarpgroup = 128;    // threads
constexpr int kSwapRegisters = 8;  // setmaxnreg counts in these

int ceil_div(std::int64_t a, std::int64_t b) { return static_cast<int>((a + b - 1) / b); }
int round_up(int value, int step) { return ceil_div(value, step) * step; }

// Whether the blocks of one tile have a part of its K each.
bool splits_k(const Config& config) {
  return config.partition.kind == Partition::Kind::cluster ||
         (config.partition.kind == Partition::Kind::split && config.partition.count > 1);
}

void set_roles(Plan& plan) {
  const Config& config = plan.config;
  constexpr int kMost = 240;
  const int producer = plan.striped_units > 0 ? 40 : 24;  // stripes take more arithmetic
  plan.consumers = config.warps() / 4;
  plan.threads = config.threads() + kWarpgroup;
  plan.m64_tiles = config.tile_n / 64 / std::max(1, plan.consumers);
  plan.tile_sums = config.tile_m / 2;
  plan.bursts = plan.k_steps / config.burst;
  const int pool = limits_of(plan.target).registers_per_sm / config.blocks_per_sm;
  const int at_launch = std::min(255, pool / plan.threads) / kSwapRegisters * kSwapRegisters;
  const int shared = at_launch * plan.threads - producer * kWarpgroup;
  const int each = shared / std::max(1, config.threads()) / kSwapRegisters * kSwapRegisters;
  const bool swap = std::min(kMost, each) > at_launch;
  plan.producer_registers = swap ? producer : at_launch;
  plan.consumer_registers = swap ? std::min(kMost, each) : at_launch;
}

// Slices may reach beyond n: copies bring zeros there or are shorter, and C is clipped.
void set_work(Plan& plan) {
  const auto& [shape, config] = std::tie(plan.shape, plan.config);
  const auto [kind, count] = config.partition;
  const int places = plan.target.sms * config.blocks_per_sm;
  plan.n_slices = ceil_div(shape.n, config.tile_n);
  plan.tail_columns = static_cast<int>(shape.n % config.tile_n);
  plan.k_tiles = static_cast<int>(shape.k / config.warp_k);
  plan.tiles = plan.whole_tiles = plan.m_tiles * (plan.n_slices / config.multicast);
  plan.token_box = config.tile_m / config.multicast;
  plan.grid_y = plan.grid_z = 1;
  if (splits_k(config)) {
    plan.parts = count;
    plan.part_units = plan.k_tiles / plan.parts;
    plan.long_parts = plan.k_tiles % plan.parts;
    plan.workers = plan.tiles;
    plan.cluster = kind == Partition::Kind::cluster ? count : 1;
    plan.cooperative = plan.exchanges = kind == Partition::Kind::split;
  } else if (kind == Partition::Kind::stripes) {
    plan.workers = std::max(1, count / config.multicast);
    const int last_wave = plan.tiles % plan.workers;
    // Few tiles over many workers would make each of many parts; with one more wave none has more
    // than three.
    const bool two_waves = 2 * last_wave < plan.workers && plan.tiles > plan.workers;
    plan.whole_tiles =
        last_wave == 0 ? plan.tiles : plan.tiles - last_wave - (two_waves ? plan.workers : 0);
    plan.striped_units = std::int64_t{plan.tiles - plan.whole_tiles} * plan.k_tiles;
  } else {
    plan.workers = std::clamp(places / config.multicast, 1, std::max(1, plan.tiles));
  }
  plan.grid_x = plan.workers * std::max(1, plan.parts) * config.multicast;
}

void set_stage(Plan& plan) {
  const auto& [shape, config] = std::tie(plan.shape, plan.config);
  plan.token_lines = config.warp_k / kLineK;
  plan.tokens_pitch = kLine;
  plan.tokens_line = config.tile_m * kLine;
  plan.tokens_stage = plan.token_lines * plan.tokens_line;
  plan.words_row = kWordBytes * config.tile_n;
  plan.words_stage = plan.k_steps * plan.words_row;
  if (plan.group_scales) {
    plan.unit_groups = std::max(1, config.warp_k / shape.group);
    plan.group_steps = plan.k_steps / plan.unit_groups;
    plan.scales_unit = kHalf * config.tile_n;
    plan.scales_stage = plan.unit_groups * plan.scales_unit;
  }
  plan.stage_bytes = plan.tokens_stage + plan.words_stage + plan.scales_stage;
  plan.tail_scales_unit = plan.group_scales ? kHalf * plan.tail_columns : 0;
  const int missing_scales = plan.unit_groups * (plan.scales_unit - plan.tail_scales_unit);
  plan.tail_stage_bytes = plan.stage_bytes - missing_scales;
}

// The blocks that exchange sums share the tile out as boxes of 64 columns and eight tokens, the
// columns going fastest: how many tokens' eights of its columns a warp has at most.
void set_boxes(Plan& plan) {
  const int columns64 = plan.consumers * plan.m64_tiles;
  plan.boxes = plan.fragments * columns64;
  const auto first = [&](int rank, int column) {
    return (rank * plan.boxes / plan.parts + columns64 - 1 - column) / columns64;
  };
  plan.least_owned = plan.fragments;
  for (int rank = 0; rank < plan.parts; ++rank) {
    for (int column = 0; column < columns64; ++column) {
      const int count = first(rank + 1, column) - first(rank, column);
      plan.most_owned = std::max(plan.most_owned, count);
      plan.least_owned = std::min(plan.least_owned, count);
    }
  }
}

// Which blocks of a cluster add up which eights of a tile's tokens.
void set_owners(Plan& plan) {
  plan.fragments = plan.config.tile_m / 8;
  if (plan.exchanges) return set_boxes(plan);
  const auto first = [&](int rank) {
    return (rank * plan.fragments + plan.cluster - 1) / plan.cluster;
  };
  for (int rank = 0; rank < plan.cluster; ++rank) {
    plan.owners.push_back({first(rank), first(rank + 1) - first(rank)});
    plan.most_owned = std::max(plan.most_owned, plan.owners.back().count);
  }
}

// C goes out in chunks of tokens, as many at once as a quarter of the SM's memory holds; two
// buffers take turns where there are more chunks.
void set_staging(Plan& plan) {
  constexpr int kBudget = 32 << 10;
  const Config& config = plan.config;
  const int columns64 = plan.consumers * plan.m64_tiles;
  if (plan.parts > 1) {
    plan.staging_tokens = plan.most_owned * 8;
    plan.staging_buffers = 1;
  } else {
    int tokens = std::min(config.tile_m, std::max(8, kBudget / (columns64 * kLine) / 8 * 8));
    while (config.tile_m % tokens != 0) tokens -= 8;
    plan.staging_tokens = tokens;
    plan.staging_buffers = tokens < config.tile_m || plan.tiles > plan.workers ? 2 : 1;
  }
  plan.staging_box = plan.staging_tokens * kLine;
  plan.staging_buffer = plan.m64_tiles * plan.staging_box;
  plan.staging_consumer = plan.staging_buffers * plan.staging_buffer;
}

void set_shared_memory(Plan& plan) {
  const Config& config = plan.config;
  plan.tokens_offset = 0;
  plan.words_offset = config.stages * plan.tokens_stage;
  plan.scales_offset = plan.words_offset + config.stages * plan.words_stage;
  plan.staging_offset = round_up(plan.scales_offset + config.stages * plan.scales_stage, kAlign);
  int end = plan.staging_offset + plan.consumers * plan.staging_consumer;
  if (plan.cluster > 1) {
    plan.receive_offset = end;
    plan.receive_part = plan.most_owned * plan.m64_tiles * config.threads() * 16;
    end += plan.parts * plan.receive_part;
  }
  plan.full_offset = end;
  plan.empty_offset = plan.full_offset + config.stages * kBarrier;
  plan.received_offset = plan.empty_offset + config.stages * kBarrier;
  plan.shared_bytes = round_up(plan.received_offset + kBarrier, 16);
}

// Each block gives at most one tile away half done. Warpgroups raise a flag, or count those that
// have given theirs and those that have what they need.
void set_workspace(Plan& plan) {
  if (plan.striped_units == 0 && !plan.exchanges) return;
  plan.shares_slices = true;
  plan.counters = std::int64_t{plan.exchanges ? 2 * plan.tiles : plan.grid_x} * plan.consumers;
  plan.partials_offset = kCounterBytes;
  plan.partial_tile = std::int64_t{4} * plan.config.tile_m * plan.config.tile_n;
  plan.workspace_bytes = plan.partials_offset + plan.grid_x * plan.partial_tile;
  if (plan.exchanges) return;
  // They come back through the words of the stages, as many quads of every thread as these hold.
  plan.partial_quads = plan.words_stage / (16 * plan.config.threads());
  plan.partial_chunks = ceil_div(plan.m64_tiles * plan.fragments, plan.partial_quads);
}

void set_tensor_maps(Plan& plan) {
  const auto& [shape, config] = std::tie(plan.shape, plan.config);
  using Of = TensorBox::Of;
  plan.tensor_maps = {
      {Of::tokens, kHalf, shape.k, 0, kHalf * shape.k, kLineK, plan.token_box, true},
      {Of::words, kWordBytes, shape.n, shape.k / 16, kWordBytes * shape.n, config.tile_n,
       plan.k_steps, false},
      {Of::output, kHalf, shape.n, 0, kHalf * shape.n, kLine / kHalf,
       plan.parts > 1 ? 8 : plan.staging_tokens, true}};
}

}  // namespace

Plan wgmma_plan(const Shape& shape, const Target& target, const Config& config) {
  Plan plan = start_plan(shape, target, config);
  plan.dependent_launch = true;
  set_work(plan);
  set_roles(plan);
  set_stage(plan);
  set_owners(plan);
  set_staging(plan);
  set_shared_memory(plan);
  set_workspace(plan);
  set_tensor_maps(plan);
  return plan;
}

}  // namespace marlin
