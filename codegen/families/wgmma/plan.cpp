// Shape + Target + Config -> the plan of a wgmma kernel. Entry points: wgmma_plan,
// wgmma_shared_map.
#include <algorithm>
#include <cstdint>
#include <tuple>

#include "codegen/base/integers.h"
#include "codegen/families/wgmma/wgmma.h"
#include "codegen/formats/elements.h"

namespace marlin {

namespace {

constexpr int kAlign = 1024;       // of what is swizzled by 128 bytes
constexpr int kWarpgroup = 128;    // threads
constexpr int kSwapRegisters = 8;  // setmaxnreg counts in these

void set_roles(Plan& plan) {
  const Config& config = plan.config;
  WgmmaPlan& own = plan.wgmma();
  WgmmaPlan::Roles& roles = own.roles;
  constexpr int kMost = 240;
  const int producer = own.work.striped_k_tiles > 0 ? 40 : 24;  // stripes take more arithmetic
  roles.consumers = config.warps() / 4;
  plan.launch.threads = config.threads() + kWarpgroup;
  roles.m64_tiles = config.tile_n / 64 / std::max(1, roles.consumers);
  roles.accumulators = config.tile_m / 2;
  roles.commits = plan.tiles.k_steps / config.wgmma().k_steps_per_commit;
  const int pool = limits_of(plan.target).registers_per_sm / config.blocks_per_sm;
  const int threads = plan.launch.threads;
  const int at_launch = std::min(255, pool / threads) / kSwapRegisters * kSwapRegisters;
  const int shared = at_launch * threads - producer * kWarpgroup;
  const int each = shared / std::max(1, config.threads()) / kSwapRegisters * kSwapRegisters;
  const bool swap = std::min(kMost, each) > at_launch;
  roles.producer_registers = swap ? producer : at_launch;
  roles.consumer_registers = swap ? std::min(kMost, each) : at_launch;
}

void set_splits(Plan& plan) {
  WgmmaPlan& own = plan.wgmma();
  const auto [kind, count] = plan.config.partition;
  own.splits.count = count;
  own.splits.k_tiles = plan.tiles.k_tiles / count;
  own.splits.longer = plan.tiles.k_tiles % count;
  own.work.workers = own.work.tiles;
  own.reduction.cluster = kind == Partition::Kind::cluster ? count : 1;
  plan.launch.cooperative = own.reduction.exchanges = kind == Partition::Kind::split;
}

// Whole waves of tiles first. Cutting only the last partial wave into stripes would split a tile
// over many blocks; cutting one more wave bounds it to three.
void set_stripes(Plan& plan) {
  WgmmaPlan::Work& work = plan.wgmma().work;
  work.workers = std::max(1, plan.config.partition.count / plan.config.wgmma().multicast);
  const int last_wave = work.tiles % work.workers;
  const bool two_waves = 2 * last_wave < work.workers && work.tiles > work.workers;
  work.whole_tiles =
      last_wave == 0 ? work.tiles : work.tiles - last_wave - (two_waves ? work.workers : 0);
  work.striped_k_tiles = std::int64_t{work.tiles - work.whole_tiles} * plan.tiles.k_tiles;
}

// Tiles may reach beyond n: copies bring zeros there or are shorter, and C is clipped.
void set_work(Plan& plan) {
  const auto& [problem, config] = std::tie(plan.problem, plan.config);
  WgmmaPlan& own = plan.wgmma();
  const int multicast = config.wgmma().multicast;
  plan.tiles.n_tiles = ceil_div(problem.shape.n, config.tile_n);
  plan.tiles.k_tiles = static_cast<int>(problem.shape.k / config.warp_k);
  own.tail.columns = static_cast<int>(problem.shape.n % config.tile_n);
  own.work.tiles = own.work.whole_tiles = plan.tiles.m_tiles * (plan.tiles.n_tiles / multicast);
  own.stage.activation_box = config.tile_m / multicast;
  if (splits_k(config)) {
    set_splits(plan);
  } else if (config.partition.kind == Partition::Kind::stripes) {
    set_stripes(plan);
  } else {
    const int resident = plan.target.sms * config.blocks_per_sm;
    own.work.workers = std::clamp(resident / multicast, 1, std::max(1, own.work.tiles));
  }
  plan.launch.grid_x = own.work.workers * own.splits.count * multicast;
  plan.launch.grid_y = plan.launch.grid_z = 1;
  plan.launch.cluster = own.reduction.cluster * multicast;
}

void set_stage(Plan& plan) {
  const Config& config = plan.config;
  WgmmaPlan& own = plan.wgmma();
  WgmmaPlan::Stage& stage = own.stage;
  stage.lines = config.warp_k / kLineK;
  stage.line = config.tile_m * kLineBytes;
  stage.activations = stage.lines * stage.line;
  constexpr int kBoxColumns = 256;  // what a tensor copy's box may have along a dimension
  stage.packed_boxes = ceil_div(config.tile_n, kBoxColumns);
  stage.packed_columns = config.tile_n / stage.packed_boxes;
  stage.packed_row = kPackedStepBytes * stage.packed_columns;
  stage.packed_box = plan.tiles.k_steps * stage.packed_row;
  stage.packed = stage.packed_boxes * stage.packed_box;
  if (plan.scales.grouped) stage.scales_row = kHalfBytes * config.tile_n;
  stage.scales = plan.scales.rows * stage.scales_row;
  stage.bytes = stage.activations + stage.packed + stage.scales;
  own.tail.scales_row = plan.scales.grouped ? kHalfBytes * own.tail.columns : 0;
  own.tail.stage_bytes = stage.bytes - plan.scales.rows * (stage.scales_row - own.tail.scales_row);
}

// The blocks that exchange sums share the tile out as boxes of 64 columns and eight rows, the
// columns going fastest: how many n8 tiles of its columns a warp adds up at most and at least.
void set_boxes(Plan& plan) {
  WgmmaPlan& own = plan.wgmma();
  WgmmaPlan::Reduction& reduction = own.reduction;
  const int columns64 = own.roles.consumers * own.roles.m64_tiles;
  reduction.boxes = reduction.n8_tiles * columns64;
  const auto first = [&](int rank, int column) {
    return (rank * reduction.boxes / own.splits.count + columns64 - 1 - column) / columns64;
  };
  reduction.least = reduction.n8_tiles;
  for (int rank = 0; rank < own.splits.count; ++rank) {
    for (int column = 0; column < columns64; ++column) {
      const int count = first(rank + 1, column) - first(rank, column);
      reduction.most = std::max(reduction.most, count);
      reduction.least = std::min(reduction.least, count);
    }
  }
}

void set_reduction(Plan& plan) {
  WgmmaPlan::Reduction& reduction = plan.wgmma().reduction;
  reduction.n8_tiles = plan.config.tile_m / 8;
  reduction.float4_bytes = 4 * kFloatBytes * plan.config.threads();
  if (reduction.exchanges) return set_boxes(plan);
  reduction.reducers = even_reducers(reduction.n8_tiles, reduction.cluster);
  reduction.most = most_of(reduction.reducers);
}

// C goes out in chunks of rows, as many at once as a quarter of the SM's memory holds; two buffers
// take turns where there are more chunks.
void set_staging(Plan& plan) {
  constexpr int kBudget = 32 << 10;
  const Config& config = plan.config;
  WgmmaPlan& own = plan.wgmma();
  WgmmaPlan::Staging& staging = own.staging;
  const int columns64 = own.roles.consumers * own.roles.m64_tiles;
  if (own.splits.count > 1) {
    staging.rows = own.reduction.most * 8;
    staging.buffers = 1;
  } else {
    int rows = std::min(config.tile_m, std::max(8, kBudget / (columns64 * kLineBytes) / 8 * 8));
    while (config.tile_m % rows != 0) rows -= 8;
    staging.rows = rows;
    staging.buffers = rows < config.tile_m || own.work.tiles > own.work.workers ? 2 : 1;
  }
  staging.box = staging.rows * kLineBytes;
  staging.buffer = own.roles.m64_tiles * staging.box;
  staging.consumer = staging.buffers * staging.buffer;
}

void set_shared_memory(Plan& plan) {
  const Config& config = plan.config;
  WgmmaPlan& own = plan.wgmma();
  WgmmaPlan::SharedMap& shared = own.shared;
  shared.packed = config.stages * own.stage.activations;
  shared.scales = shared.packed + config.stages * own.stage.packed;
  shared.staging = round_up(shared.scales + config.stages * own.stage.scales, kAlign);
  int end = shared.staging + own.roles.consumers * own.staging.consumer;
  if (own.reduction.cluster > 1) {
    shared.received = end;
    shared.received_split = own.reduction.most * own.roles.m64_tiles * own.reduction.float4_bytes;
    end += own.splits.count * shared.received_split;
  }
  shared.full = end;
  shared.empty = shared.full + config.stages * kBarrierBytes;
  shared.barrier = shared.empty + config.stages * kBarrierBytes;
  plan.launch.shared_bytes = round_up(shared.barrier + kBarrierBytes, 16);
}

// A block stores the partial sums of at most one tile. Each warpgroup has a flag (fixup) or a pair
// of counters, arrived and left (reduce-scatter).
void set_workspace(Plan& plan) {
  const Config& config = plan.config;
  WgmmaPlan& own = plan.wgmma();
  Workspace& workspace = plan.workspace;
  const bool exchanges = own.reduction.exchanges;
  if (own.work.striped_k_tiles == 0 && !exchanges) return;
  workspace.shared = true;
  workspace.counters =
      std::int64_t{exchanges ? 2 * own.work.tiles : plan.launch.grid_x} * own.roles.consumers;
  workspace.partials_offset = kCounterBytes;
  workspace.partial_tile = std::int64_t{kFloatBytes} * config.tile_m * config.tile_n;
  workspace.bytes = workspace.partials_offset + plan.launch.grid_x * workspace.partial_tile;
  if (exchanges) return;
  WgmmaPlan::Fixup& fixup = own.fixup;
  fixup.float4s = own.stage.packed / own.reduction.float4_bytes;
  fixup.chunks = ceil_div(own.roles.m64_tiles * own.reduction.n8_tiles, fixup.float4s);
  fixup.chunk_bytes = std::int64_t{own.reduction.float4_bytes} * fixup.float4s;
  fixup.last_chunk_bytes = workspace.partial_tile - (fixup.chunks - 1) * fixup.chunk_bytes;
}

void set_tensor_maps(Plan& plan) {
  const auto& [problem, config] = std::tie(plan.problem, plan.config);
  const WgmmaPlan& own = plan.wgmma();
  const GlobalMemory& global = plan.global;
  const int stored_rows = own.splits.count > 1 ? 8 : own.staging.rows;
  using Element = TensorBox::Element;
  plan.launch.tensor_maps = {
      {Operand::a, Element::f16, problem.shape.k, 0, global.activations.row, kLineK,
       own.stage.activation_box, true},
      {Operand::b, Element::packed, problem.shape.n, problem.shape.k / kPackTileK,
       global.packed.row, own.stage.packed_columns, plan.tiles.k_steps, false},
      {Operand::c, Element::f16, problem.shape.n, 0, global.output.row, kLineBytes / kHalfBytes,
       stored_rows, true}};
  plan.launch.parameters = {{Operand::a, true},
                            {Operand::b, true},
                            {Operand::c, true},
                            {Operand::scales},
                            {Operand::workspace}};
}

}  // namespace

bool splits_k(const Config& config) {
  return config.partition.kind == Partition::Kind::cluster ||
         (config.partition.kind == Partition::Kind::split && config.partition.count > 1);
}

Plan wgmma_plan(const Problem& problem, const Target& target, const Config& config) {
  Plan plan = start_plan(problem, target, config);
  plan.own.emplace<WgmmaPlan>();
  plan.launch.dependent = true;
  set_work(plan);
  set_roles(plan);
  set_stage(plan);
  set_reduction(plan);
  set_staging(plan);
  set_shared_memory(plan);
  set_workspace(plan);
  set_tensor_maps(plan);
  return plan;
}

SharedMap wgmma_shared_map(const Plan& plan) {
  const WgmmaPlan& own = plan.wgmma();
  const WgmmaPlan::SharedMap& at = own.shared;
  const int stages = plan.config.stages;
  SharedMap map = {{"kActivations", 0, stages, own.stage.activations, "activations of a stage"},
                   {"kPacked", at.packed, stages, own.stage.packed, "packed weights of a stage"}};
  if (plan.scales.grouped) {
    map.push_back({"kScales", at.scales, stages, own.stage.scales, "scales of a stage"});
  }
  map.push_back({"kStaging", at.staging, own.roles.consumers, own.staging.consumer,
                 "C of a warpgroup on its way out"});
  if (own.reduction.cluster > 1) {
    map.push_back(
        {"kReceived", at.received, own.splits.count, at.received_split, "FP32 sums of a split"});
  }
  map.push_back({"kFull", at.full, stages, kBarrierBytes, "mbarriers: a stage has arrived"});
  map.push_back({"kEmpty", at.empty, stages, kBarrierBytes, "mbarriers: it may be filled again"});
  if (own.reduction.cluster > 1) {
    map.push_back({"kReduceBarrier", at.barrier, 1, kBarrierBytes, "mbarrier of these sums"});
  }
  return map;
}

}  // namespace marlin
