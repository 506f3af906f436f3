// Config of the wgmma family -> the rule that forbids it here; and the list of all worth
// considering. Entry points: wgmma_rule, wgmma_configs.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "codegen/base/integers.h"
#include "codegen/families/wgmma/wgmma.h"
#include "codegen/plan/resources.h"
#include "codegen/plan/tile_rows.h"

namespace marlin {

namespace {

using Rule = std::optional<std::string>;

bool one_of(int value, std::initializer_list<int> all) {
  return std::find(all.begin(), all.end(), value) != all.end();
}

Rule tile_rule(const Config& config) {
  if (config.tile_m < 8 || config.tile_m > 256 || config.tile_m % 8 != 0) {
    return fmt::format("tile_m = {} is not a multiple of 8 in 8..256", config.tile_m);
  }
  if (!one_of(config.warps_n, {4, 8, 12, 16}) || config.warps_k != 1) {
    return fmt::format("warps = {}x{} are none of 4x1, 8x1, 12x1, 16x1: one to four warpgroups",
                       config.warps_n, config.warps_k);
  }
  const int quarter = config.warps_n * 16;
  if (config.tile_n > 512 || !one_of(config.tile_n, {quarter, 2 * quarter, 4 * quarter})) {
    return fmt::format(
        "tile_n = {} does not give each warpgroup 64, 128 or 256 of at most 512 columns",
        config.tile_n);
  }
  if (!one_of(config.warp_k, {64, 128})) {
    return fmt::format("warp_k = {} is none of 64, 128", config.warp_k);
  }
  if (config.stages < 2 || config.stages > 8) {
    return fmt::format("stages = {} is not in 2..8", config.stages);
  }
  if (!one_of(config.wgmma().k_steps_per_commit, {1, 2, 4}) ||
      config.warp_k / 16 / config.wgmma().k_steps_per_commit < 2) {
    return fmt::format("burst = {} is none of 1, 2, 4 or more than half of the {} k16 steps",
                       config.wgmma().k_steps_per_commit, config.warp_k / 16);
  }
  if (config.wgmma().whole_stage && config.wgmma().k_steps_per_commit != 1) {
    return fmt::format("a whole stage's fragments are a commit group each, not burst = {}",
                       config.wgmma().k_steps_per_commit);
  }
  if (!one_of(config.wgmma().sum_sets, {1, 2})) {
    return fmt::format("sets = {} is none of 1, 2", config.wgmma().sum_sets);
  }
  const auto [kind, count] = config.partition;
  if (count < 1) return fmt::format("the partition's count, {}, is not positive", count);
  if (splits_k(config) && (count < 2 || count > 8)) {
    return fmt::format("{}{} is not in 2..8", kPartitionNames[static_cast<std::size_t>(kind)],
                       count);
  }
  if (config.blocks_per_sm < 1 || config.blocks_per_sm > 4) {
    return fmt::format("blocks_per_sm = {} is not in 1..4", config.blocks_per_sm);
  }
  if (!one_of(config.wgmma().multicast, {1, 2}) ||
      config.tile_m % (8 * config.wgmma().multicast) != 0) {
    return fmt::format("multicast = {} is none of 1, 2 or does not cut tile_m = {} into n8 tiles",
                       config.wgmma().multicast, config.tile_m);
  }
  return std::nullopt;
}

Rule shape_rule(const Problem& problem, const Config& config) {
  // Where K is split alike for all m, each block of a cluster has an n8 tile to add up.
  const int least = problem.batch_invariant && splits_k(config) ? 8 * config.partition.count : 8;
  if (config.tile_m >= problem.shape.m + 8 && config.tile_m > least) {
    return fmt::format("tile_m = {} has eight tokens beyond m = {}", config.tile_m,
                       problem.shape.m);
  }
  if (config.tile_n >= problem.shape.n + 64) {
    return fmt::format("tile_n = {} has 64 columns beyond n = {}", config.tile_n, problem.shape.n);
  }
  if ((problem.shape.n + config.tile_n - 1) / config.tile_n % config.wgmma().multicast != 0) {
    return fmt::format("multicast = {} does not pair the tiles of {} columns",
                       config.wgmma().multicast, config.tile_n);
  }
  if (problem.shape.k % config.warp_k != 0) {
    return fmt::format("k = {} is not a multiple of warp_k = {}", problem.shape.k, config.warp_k);
  }
  if (one_group(problem) && config.scale_on != ScaleOn::accumulators) {
    return "one scale for the whole k goes on accumulators, not on weights";
  }
  if (!one_group(problem) && config.scale_on == ScaleOn::accumulators &&
      config.wgmma().k_steps_per_commit * 16 > problem.scheme.group) {
    return fmt::format("burst = {} exceeds the group, {}", config.wgmma().k_steps_per_commit,
                       problem.scheme.group);
  }
  const std::int64_t m_tiles = (problem.shape.m + config.tile_m - 1) / config.tile_m;
  if (config.wgmma().raster < 1 || config.wgmma().raster > m_tiles) {
    return fmt::format("raster = {} is not in 1..{}, the rows of tiles", config.wgmma().raster,
                       m_tiles);
  }
  return std::nullopt;
}

// Of blocks that split K and then reduce some of the tile's `shares` each.
Rule splits_rule(const Plan& plan, std::string_view kind, int shares, std::string_view share) {
  const int count = plan.config.partition.count;
  if (plan.config.wgmma().multicast != 1) return "blocks split k or share activations, not both";
  if (count > shares) return fmt::format("{}{} exceeds the {} {}", kind, count, shares, share);
  if (plan.wgmma().splits.k_tiles < 1) {
    return fmt::format("{}{} exceeds the {} k tiles", kind, count, plan.tiles.k_tiles);
  }
  return std::nullopt;
}

Rule partition_rule(const Plan& plan) {
  const auto [kind, count] = plan.config.partition;
  const int resident_blocks = plan.target.sms * plan.config.blocks_per_sm;
  if (resident_blocks < plan.config.wgmma().multicast) {
    return fmt::format("multicast = {} exceeds the {} blocks that fit",
                       plan.config.wgmma().multicast, resident_blocks);
  }
  switch (kind) {
    case Partition::Kind::split:
      if (count == 1) return std::nullopt;
      if (count >= 1 && plan.launch.grid_x > resident_blocks) {
        return fmt::format("split{} of {} tiles exceeds the {} blocks that fit", count,
                           plan.wgmma().work.tiles, resident_blocks);
      }
      return splits_rule(plan, "split", plan.wgmma().reduction.boxes,
                         "boxes of 64 columns and eight tokens");
    case Partition::Kind::cluster:
      return splits_rule(plan, "cluster", plan.wgmma().reduction.n8_tiles, "n8 tiles of a tile");
    case Partition::Kind::stripes:
      if (count > resident_blocks) {
        return fmt::format("stripes{} exceeds the {} blocks that fit", count, resident_blocks);
      }
      if (count % plan.config.wgmma().multicast != 0) {
        return fmt::format("stripes{} is not whole clusters of {}", count,
                           plan.config.wgmma().multicast);
      }
      if (plan.wgmma().work.striped_k_tiles == 0) {
        return fmt::format("{} tiles are whole waves of {} blocks", plan.wgmma().work.tiles,
                           plan.wgmma().work.workers);
      }
      if (plan.wgmma().work.striped_k_tiles < plan.wgmma().work.workers) {
        return fmt::format("stripes{} exceeds the {} k tiles to cut", count,
                           plan.wgmma().work.striped_k_tiles);
      }
      return std::nullopt;
    default: return "spans are for the stripe family";
  }
}

// Where a stage's sums are not added up at its end, its products go on beside the next one's, and
// ptxas runs products one by one when fragments of all steps are written beside them (C7513).
Rule loop_rule(const Plan& plan) {
  const WgmmaOptions& options = plan.config.wgmma();
  if (options.sum_sets == 1 && !options.whole_stage) return std::nullopt;
  if (scales_accumulators(plan) && plan.scales.rows == 1) return std::nullopt;
  return "two sets of sums and a whole stage's fragments are for accumulators that are scaled once "
         "a stage";
}

// A consumer's sums, its fragments, a stage's packed weights, scales and addresses.
Rule register_rule(const Plan& plan) {
  constexpr int kAddressesAndTemporaries = 36;
  const Config& config = plan.config;
  const bool totals = plan.scales.grouped && config.scale_on == ScaleOn::accumulators;
  const int scales = plan.scales.grouped ? plan.scales.rows + (totals ? 0 : 2) : 2;
  const int sums = totals ? 1 + config.wgmma().sum_sets : 1;
  const int fragments =
      4 * (config.wgmma().whole_stage ? plan.tiles.k_steps : 2 * config.wgmma().k_steps_per_commit);
  const int tile = plan.wgmma().roles.accumulators * sums + fragments + plan.tiles.k_steps + scales;
  const int registers = plan.wgmma().roles.m64_tiles * tile + kAddressesAndTemporaries;
  if (registers > plan.wgmma().roles.consumer_registers) {
    return fmt::format("about {} registers a thread exceed the {} there are", registers,
                       plan.wgmma().roles.consumer_registers);
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> wgmma_rule(const Problem& problem, const Target& target,
                                      const Config& config) {
  if (target.arch != "sm_90a") {
    return fmt::format("{} has no warpgroup products; the wgmma family is for sm_90a", target.arch);
  }
  if (Rule rule = tile_rule(config)) return rule;
  if (Rule rule = shape_rule(problem, config)) return rule;
  const Plan plan = wgmma_plan(problem, target, config);
  if (Rule rule = partition_rule(plan)) return rule;
  if (Rule rule = loop_rule(plan)) return rule;
  if (Rule rule = register_rule(plan)) return rule;
  return shared_memory_rule(plan);
}

namespace {

// The ways to cut a tile among warpgroups that are worth having, and where: narrow tiles for the
// narrow products, wide ones for few rows, of which they read fewer copies. Tiles of 192 columns
// pay where 192 divides n, as that n is seldom whole waves of wider ones.
struct Tiling {
  int tile_n, warps_n, warp_k;
  int most_m = 256;  // rows of the tile
  std::int64_t least_n = 0, most_n = kMaxN;
  bool divides = false;  // whether tile_n has to divide n
};
constexpr Tiling kTilings[] = {
    {256, 8, 128},
    {256, 16, 128},
    {128, 8, 128},
    {128, 4, 128},
    {256, 8, 64},
    {128, 8, 64},
    {256, 16, 64},
    {128, 4, 64},
    {.tile_n = 192, .warps_n = 12, .warp_k = 128, .divides = true},
    {.tile_n = 192, .warps_n = 12, .warp_k = 64, .divides = true},
    {.tile_n = 64, .warps_n = 4, .warp_k = 128, .most_m = 64, .most_n = 8192},
    {.tile_n = 384, .warps_n = 12, .warp_k = 128, .most_m = 32, .least_n = 32768},
    {.tile_n = 512, .warps_n = 8, .warp_k = 64, .most_m = 16, .least_n = 32768}};

bool suits(const Tiling& tiling, const Problem& problem, int tile_m) {
  const std::int64_t n = problem.shape.n;
  return tile_m <= tiling.most_m && n >= tiling.least_n && n <= tiling.most_n &&
         (!tiling.divides || n % tiling.tile_n == 0);
}

// The orders of a consumer's loop that are worth having.
struct Loop {
  int k_steps_per_commit;
  bool whole_stage = false;
  int sum_sets = 1;
  bool late_packed = false;
  int most_m = 256;  // rows of the tile
};
constexpr Loop kLoops[] = {
    {1},
    {2},
    {4},
    {.k_steps_per_commit = 4, .late_packed = true, .most_m = 32},
    {.k_steps_per_commit = 2, .sum_sets = 2, .late_packed = true, .most_m = 64},
    {.k_steps_per_commit = 1, .whole_stage = true, .most_m = 128},
    {.k_steps_per_commit = 1, .whole_stage = true, .sum_sets = 2, .most_m = 96},
    {.k_steps_per_commit = 1,
     .whole_stage = true,
     .sum_sets = 2,
     .late_packed = true,
     .most_m = 64}};

// All rows at once or in tiles of nearly equal height; of more rows than a few tiles hold the
// heights that lose little.
std::vector<int> tile_ms(const Problem& problem) {
  constexpr std::int64_t kOneTile = 64, kFewTiles = 256, kManyTiles = 1024;
  const Shape& shape = problem.shape;
  if (problem.batch_invariant && shape.m <= 24) {  // and those of clusters of two to four
    std::vector<int> heights;
    for (int rows = round_up(static_cast<int>(shape.m), 8); rows <= 32; rows += 8) {
      heights.push_back(rows);
    }
    return heights;
  }
  if (shape.m <= kOneTile) return {round_up(static_cast<int>(shape.m), 8)};
  if (shape.m > kManyTiles && !shape.exact_m) return {64, 96, 128, 192, 256};
  return tile_heights(shape, shape.m <= kFewTiles ? 32 : 64, 256);
}

// With as many stages as fit.
void add_deepest(const Problem& problem, const Target& target, Config config,
                 std::vector<Config>& configs) {
  for (int stages : {8, 6, 5, 4, 3, 2}) {
    config.stages = stages;
    if (wgmma_rule(problem, target, config)) continue;
    configs.push_back(config);
    return;
  }
}

// Whole tiles, or clusters that add up alike whatever the tile, also where there are many tiles.
void add_invariant_partitions(const Problem& problem, const Target& target, Config config,
                              std::vector<Config>& configs) {
  config.partition = {Partition::Kind::split, 1};
  add_deepest(problem, target, config, configs);
  for (int count : {2, 3, 4}) {
    config.partition = {Partition::Kind::cluster, count};
    add_deepest(problem, target, config, configs);
  }
  config.partition = {Partition::Kind::split, 2};  // the same order, where all blocks fit
  add_deepest(problem, target, config, configs);
}

void add_partitions(const Problem& problem, const Target& target, Config config,
                    std::vector<Config>& configs) {
  if (problem.batch_invariant) {
    return add_invariant_partitions(problem, target, config, configs);
  }
  constexpr double kFewBusy = 0.4;  // of the places for blocks
  const int resident_blocks = target.sms * config.blocks_per_sm;
  const double load = std::ceil(double(problem.shape.m) / config.tile_m) *
                      std::ceil(double(problem.shape.n) / config.tile_n) / resident_blocks;
  config.partition = {Partition::Kind::split, 1};
  if (load > kFewBusy) add_deepest(problem, target, config, configs);
  for (int count : {2, 3, 4, 5, 6, 8}) {
    const bool most = count == 8;
    if (load * count > 1 || (load * count <= kFewBusy && !most)) continue;
    for (auto kind : {Partition::Kind::cluster, Partition::Kind::split}) {
      config.partition = {kind, count};
      add_deepest(problem, target, config, configs);
    }
  }
  config.partition = {Partition::Kind::stripes, resident_blocks};
  add_deepest(problem, target, config, configs);
}

// Two blocks on an SM hide more of each other's waits, where the registers suffice; pairs of blocks
// share activations where these are many.
void add_blocks(const Problem& problem, const Target& target, Config config,
                std::vector<Config>& configs) {
  constexpr int kFewTokens = 64, kFewest = 24;  // for two blocks, for three
  config.wgmma().multicast = 1;
  for (int blocks : {1, 2, 3}) {
    if (blocks == 3 && config.wgmma().sum_sets == 2) break;  // which spills
    config.blocks_per_sm = blocks;
    if (blocks == 1 || config.tile_m <= (blocks == 2 ? kFewTokens : kFewest)) {
      add_partitions(problem, target, config, configs);
    }
  }
  config.blocks_per_sm = 1;
  config.wgmma().multicast = 2;
  if (config.tile_m >= kFewTokens) add_partitions(problem, target, config, configs);
}

// All orders of the loop for one tile.
void add_loops(const Problem& problem, const Target& target, Config config,
               std::vector<Config>& configs) {
  constexpr int kMostEarly = 64;  // of more rows the products take longer than the weights
  for (const Loop& loop : kLoops) {
    if (config.tile_m > loop.most_m) continue;
    WgmmaOptions& options = config.wgmma();
    options.k_steps_per_commit = loop.k_steps_per_commit;
    options.whole_stage = loop.whole_stage;
    options.sum_sets = loop.sum_sets;
    options.late_packed = loop.late_packed;
    for (ScaleOn scale_on : {ScaleOn::weights, ScaleOn::accumulators}) {
      config.scale_on = scale_on;
      for (bool early : {false, true}) {
        options.early_weights = early;
        if (!early || config.tile_m <= kMostEarly) add_blocks(problem, target, config, configs);
      }
    }
  }
}

}  // namespace

std::vector<Config> wgmma_configs(const Problem& problem, const Target& target) {
  constexpr int kFewest = 9;  // rows; below, the other families are faster
  constexpr int kRaster = 8;  // rows of tiles
  std::vector<Config> configs;
  if (target.arch != "sm_90a") return configs;
  if (problem.shape.m < kFewest && !problem.batch_invariant) return configs;
  Config config;
  config.options = WgmmaOptions{};
  config.warps_k = 1;
  for (int tile_m : tile_ms(problem)) {
    config.tile_m = tile_m;
    config.wgmma().raster = std::min(ceil_div(problem.shape.m, tile_m), kRaster);
    for (const Tiling& tiling : kTilings) {
      if (!suits(tiling, problem, tile_m)) continue;
      config.tile_n = tiling.tile_n;
      config.warps_n = tiling.warps_n;
      config.warp_k = tiling.warp_k;
      add_loops(problem, target, config, configs);
    }
  }
  return configs;
}

// Products of one accumulator run in the order of their issue. A cluster's blocks add up the parts
// in the order of their ranks; blocks that meet in L2 begin with their own, which is the same of
// two parts only. Stripes are cut by the tile.
std::optional<SumOrder> wgmma_sum_order(const Plan& plan) {
  using Kind = Partition::Kind;
  const auto [kind, count] = plan.config.partition;
  if (kind == Kind::stripes || (kind == Kind::split && count > 2)) return std::nullopt;
  SumOrder order = {.family = Family::wgmma, .scale_on = plan.config.scale_on};
  if (scales_accumulators(plan)) order.scaled_k = plan.scales.steps * kPackTileK;
  if (count > 1) {
    order.splits = count;
    order.split_k = plan.wgmma().splits.k_tiles * plan.config.warp_k;
    order.longer = plan.wgmma().splits.longer;
    order.warp_k = order.longer > 0 ? plan.config.warp_k : 0;
  }
  return order;
}

}  // namespace marlin
