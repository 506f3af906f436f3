// Config of the stripe family -> the rule that forbids it here; and the list of all worth
// considering. Entry points: stripe_rule, stripe_configs.
#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "codegen/base/integers.h"
#include "codegen/families/stripe/stripe.h"
#include "codegen/plan/resources.h"
#include "codegen/plan/tile_rows.h"

namespace marlin {

namespace {

using Rule = std::optional<std::string>;

Rule tile_rule(const Config& config) {
  if (config.tile_m < 8 || config.tile_m > 64 || config.tile_m % 8 != 0) {
    return fmt::format("tile_m = {} is not a multiple of 8 in 8..64", config.tile_m);
  }
  if (!power_of_two(config.tile_n) || config.tile_n < 64 || config.tile_n > 256) {
    return fmt::format("tile_n = {} is none of 64, 128, 256", config.tile_n);
  }
  if (!power_of_two(config.warps_n) || !power_of_two(config.warps_k) || config.warps_n > 16 ||
      config.warps_k > 16 || config.warps() > 16) {
    return fmt::format("warps = {}x{} are not powers of two with a product up to 16",
                       config.warps_n, config.warps_k);
  }
  if (config.warps_n * 64 > config.tile_n) {
    return fmt::format("warps_n = {} leaves a warp fewer than 64 of the {} columns", config.warps_n,
                       config.tile_n);
  }
  if (config.warp_k != 32 && config.warp_k != 64 && config.warp_k != 128) {
    return fmt::format("warp_k = {} is none of 32, 64, 128", config.warp_k);
  }
  if (config.stages < 2 || config.stages > 8) {
    return fmt::format("stages = {} is not in 2..8", config.stages);
  }
  if (config.partition.count < 1) {
    return fmt::format("the partition's count, {}, is not positive", config.partition.count);
  }
  if (config.blocks_per_sm < 1 || config.blocks_per_sm > 4) {
    return fmt::format("blocks_per_sm = {} is not in 1..4", config.blocks_per_sm);
  }
  return std::nullopt;
}

Rule shape_rule(const Problem& problem, const Config& config) {
  if (problem.shape.n % config.tile_n != 0) {
    return fmt::format("n = {} is not a multiple of tile_n = {}", problem.shape.n, config.tile_n);
  }
  if (problem.shape.k % config.tile_k() != 0) {
    return fmt::format("k = {} is not a multiple of warps_k x warp_k = {}", problem.shape.k,
                       config.tile_k());
  }
  if (!one_group(problem) && config.tile_k() % problem.scheme.group != 0) {
    return fmt::format("warps_k x warp_k = {} is not a multiple of the group, {}", config.tile_k(),
                       problem.scheme.group);
  }
  if (!one_group(problem) && config.warp_k > problem.scheme.group) {
    return fmt::format("warp_k = {} exceeds the group, {}", config.warp_k, problem.scheme.group);
  }
  if (config.tile_m > 8 && config.tile_m >= problem.shape.m + 8) {
    return fmt::format("tile_m = {} has a whole MMA tile beyond m = {}", config.tile_m,
                       problem.shape.m);
  }
  if (one_group(problem) && config.scale_on != ScaleOn::accumulators) {
    return "one scale for the whole k goes on accumulators, not on weights";
  }
  return std::nullopt;
}

Rule partition_rule(const Problem& problem, const Target& target, const Config& config) {
  const std::int64_t m_tiles = (problem.shape.m + config.tile_m - 1) / config.tile_m;
  const std::int64_t n_tiles = problem.shape.n / config.tile_n,
                     k_tiles = problem.shape.k / config.tile_k();
  const auto [kind, count] = config.partition;
  if (kind == Partition::Kind::cluster) return "clusters are for the families of sm_90";
  if (kind == Partition::Kind::split && (k_tiles % count != 0 || count > 16)) {
    return fmt::format("split{} does not cut {} k tiles into at most 16 equal parts", count,
                       k_tiles);
  }
  if (kind == Partition::Kind::span && (count < 2 || n_tiles % count != 0)) {
    return fmt::format("span{} does not group {} tiles evenly by two or more", count, n_tiles);
  }
  if (kind == Partition::Kind::stripes) {
    constexpr int kMostTiles = 1 << 16, kMostStripes = 1024;  // a table in constant memory
    const int room = std::min(target.sms * config.blocks_per_sm, kMostStripes);
    if (m_tiles * n_tiles > kMostTiles) {
      return fmt::format("stripes over {} tiles exceed {}", m_tiles * n_tiles, kMostTiles);
    }
    if (count > room) return fmt::format("stripes{} exceeds the {} blocks that fit", count, room);
    if (count > m_tiles * n_tiles * k_tiles) {
      return fmt::format("stripes{} exceeds the {} tiles there are", count,
                         m_tiles * n_tiles * k_tiles);
    }
  }
  return std::nullopt;
}

Rule threads_rule(const Plan& plan) {
  if (plan.launch.threads < plan.stripe().reduction.float4s) {
    return fmt::format("{} threads are fewer than the {} float4s of a tile row",
                       plan.launch.threads, plan.stripe().reduction.float4s);
  }
  if (plan.stripe().copies.copiers < plan.stripe().copies.row_chunks) {
    return fmt::format("a token row of {} chunks exceeds its {} copying threads",
                       plan.stripe().copies.row_chunks, plan.stripe().copies.copiers);
  }
  return std::nullopt;
}

Rule workspace_rule(const Plan& plan) {
  constexpr std::int64_t kMostWorkspace = std::int64_t{1} << 30;
  if (plan.workspace.counters > kMostCounters) {
    return fmt::format("{} tiles with several contributors exceed the {} counters",
                       plan.workspace.counters, kMostCounters);
  }
  if (plan.workspace.bytes > kMostWorkspace) {
    return fmt::format("{} bytes of workspace exceed {}", plan.workspace.bytes, kMostWorkspace);
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> stripe_rule(const Problem& problem, const Target& target,
                                       const Config& config) {
  if (Rule rule = tile_rule(config)) return rule;
  if (Rule rule = shape_rule(problem, config)) return rule;
  if (Rule rule = partition_rule(problem, target, config)) return rule;
  const Plan plan = stripe_plan(problem, target, config);
  if (Rule rule = threads_rule(plan)) return rule;
  if (Rule rule = workspace_rule(plan)) return rule;
  return resource_rule(plan, plan.stripe().warp);
}

namespace {

// The ways to cut a tile among warps that are worth having. One warp along n means private rings,
// which win where memory is the limit; several share the activations, which pays where activations
// are many. Each of these was within 3 % of the best somewhere on the H200, but the last one, which
// is there for a k that is no multiple of 128.
struct Tiling {
  int tile_n, warps_n, warps_k, warp_k;
  std::vector<int> stages;
};

const std::vector<Tiling>& tilings() {
  static const std::vector<Tiling> all = {
      {64, 1, 8, 128, {2}},       {64, 1, 8, 64, {2, 3, 4}}, {64, 1, 4, 64, {2, 3, 4}},
      {64, 1, 2, 64, {3, 4}},     {128, 1, 4, 64, {2, 3}},   {128, 2, 4, 32, {2, 3, 4}},
      {256, 4, 2, 64, {2, 3, 4}}, {64, 1, 2, 32, {4}},
  };
  return all;
}

// Every MMA tile up to 64 tokens; above, 64, or what pads less.
std::vector<int> tile_ms(const Shape& shape) {
  constexpr int kMost = 64, kLeast = 40;
  if (shape.m <= kMost) return {round_up(static_cast<int>(shape.m), 8)};
  std::vector<int> heights = tile_heights(shape, kLeast, kMost);
  if (shape.exact_m) return heights;
  std::vector<int> all = {kMost};
  for (int rows : heights) {
    if (rows_beyond(shape, rows) < rows_beyond(shape, all.back())) all.push_back(rows);
  }
  return all;
}

std::vector<ScaleOn> scale_places(const Problem& problem, int tile_m) {
  if (problem.batch_invariant) {
    return {one_group(problem) ? ScaleOn::accumulators : ScaleOn::weights};
  }
  if (one_group(problem) || tile_m <= 16) return {ScaleOn::accumulators};
  if (tile_m <= 32) return {ScaleOn::accumulators, ScaleOn::weights};
  return {ScaleOn::weights};
}

// Splits and spans that give between three quarters of a wave and some waves of blocks, and one
// stripe for each place that one or two blocks an SM have.
std::vector<Partition> partitions(const Problem& problem, const Target& target,
                                  const Config& config) {
  using Kind = Partition::Kind;
  const std::int64_t m_tiles = (problem.shape.m + config.tile_m - 1) / config.tile_m;
  const std::int64_t n_tiles = problem.shape.n / config.tile_n, tiles = m_tiles * n_tiles;
  const std::int64_t resident_blocks = std::int64_t{target.sms} * config.blocks_per_sm;
  if (config.blocks_per_sm > 1) return {{Kind::stripes, static_cast<int>(resident_blocks)}};
  std::vector<Partition> found = {{Kind::split, 1}};
  for (int split : {2, 4, 7, 8}) {
    const std::int64_t blocks = tiles * split;
    if (blocks * 4 >= resident_blocks * 3 && blocks <= resident_blocks * 4)
      found.push_back({Kind::split, split});
  }
  for (int span = 2; span <= 16; ++span) {
    const std::int64_t blocks = n_tiles / span * m_tiles;
    if (blocks <= resident_blocks && blocks * 8 >= resident_blocks * 7)
      found.push_back({Kind::span, span});
  }
  found.push_back({Kind::stripes, static_cast<int>(resident_blocks)});
  return found;
}

void add_legal(const Problem& problem, const Target& target, Config config,
               std::vector<Config>& configs) {
  for (int blocks : {1, 2}) {
    config.blocks_per_sm = blocks;
    for (const Partition& partition : partitions(problem, target, config)) {
      config.partition = partition;
      if (!stripe_rule(problem, target, config)) configs.push_back(config);
    }
  }
}

void add_tiling(const Problem& problem, const Target& target, const Tiling& tiling,
                std::vector<Config>& configs) {
  Config config;
  config.tile_n = tiling.tile_n;
  config.warps_n = tiling.warps_n;
  config.warps_k = tiling.warps_k;
  config.warp_k = tiling.warp_k;
  for (int tile_m : tile_ms(problem.shape)) {
    config.tile_m = tile_m;
    for (ScaleOn scale_on : scale_places(problem, tile_m)) {
      config.scale_on = scale_on;
      for (int stages : tiling.stages) {
        config.stages = stages;
        add_legal(problem, target, config, configs);
      }
    }
  }
}

}  // namespace

std::vector<Config> stripe_configs(const Problem& problem, const Target& target) {
  std::vector<Config> configs;
  for (const Tiling& tiling : tilings()) {
    // The smallest tiling is for shapes that no other fits.
    if (&tiling == &tilings().back() && !configs.empty()) break;
    add_tiling(problem, target, tiling, configs);
  }
  return configs;
}

// Warps that share columns are added in their order, each with its part of every stage. Stripes cut
// a tile by its place. Splits are added in the order of their K, but no workspace holds the partial
// sums of tens of thousands of rows, so that not every m could have them.
std::optional<SumOrder> stripe_sum_order(const Plan& plan) {
  const Config& config = plan.config;
  if (plan.workspace.shared || config.partition.kind == Partition::Kind::stripes) {
    return std::nullopt;
  }
  SumOrder order = {.family = Family::stripe, .scale_on = config.scale_on};
  if (scales_accumulators(plan)) order.scaled_k = plan.scales.steps * kPackTileK;
  order.warps_k = config.warps_k;
  if (config.warps_k > 1) order.warp_k = config.warp_k;
  return order;
}

}  // namespace marlin
