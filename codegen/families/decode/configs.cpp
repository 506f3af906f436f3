// Config of the decode family -> the rule that forbids it here; and the list of all worth
// considering. Entry points: decode_rule, decode_configs.
#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "codegen/base/integers.h"
#include "codegen/families/decode/decode.h"
#include "codegen/plan/resources.h"

namespace marlin {

namespace {

using Rule = std::optional<std::string>;

constexpr int kMostTokens = 32;
constexpr int kMostCluster = 8;  // every GPU with clusters can place these

Rule tile_rule(const Config& config) {
  if (config.tile_m < 8 || config.tile_m > kMostTokens || config.tile_m % 8 != 0) {
    return fmt::format("tile_m = {} is not a multiple of 8 in 8..{}", config.tile_m, kMostTokens);
  }
  if (!power_of_two(config.warps_n) || config.warps_n > 4 || !power_of_two(config.warps_k) ||
      config.warps_k > 16 || config.warps() > 16) {
    return fmt::format(
        "warps = {}x{} are not powers of two, the first up to 4, with a product up to 16",
        config.warps_n, config.warps_k);
  }
  if (config.tile_n != config.warps_n * 64 && config.tile_n != config.warps_n * 128) {
    return fmt::format("tile_n = {} does not give each of {} warps 64 or 128 columns",
                       config.tile_n, config.warps_n);
  }
  if (config.warp_k != 64 && config.warp_k != 128) {
    return fmt::format("warp_k = {} is none of 64, 128", config.warp_k);
  }
  if (config.stages < 2 || config.stages > 8) {
    return fmt::format("stages = {} is not in 2..8", config.stages);
  }
  if (config.scale_on != ScaleOn::accumulators) return "decode kernels scale accumulators";
  if (config.blocks_per_sm < 1 || config.blocks_per_sm > 8) {
    return fmt::format("blocks_per_sm = {} is not in 1..8", config.blocks_per_sm);
  }
  return std::nullopt;
}

Rule shape_rule(const Problem& problem, const Config& config) {
  if (config.tile_m < problem.shape.m || config.tile_m >= problem.shape.m + 8) {
    return fmt::format("tile_m = {} is not m = {} rounded up to 8", config.tile_m, problem.shape.m);
  }
  if (problem.shape.n % config.tile_n != 0) {
    return fmt::format("n = {} is not a multiple of tile_n = {}", problem.shape.n, config.tile_n);
  }
  if (problem.shape.n / config.tile_n > 65535) {
    return fmt::format("{} tiles exceed the 65535 of a grid", problem.shape.n / config.tile_n);
  }
  if (problem.shape.k % config.warp_k != 0) {
    return fmt::format("k = {} is not a multiple of warp_k = {}", problem.shape.k, config.warp_k);
  }
  return std::nullopt;
}

Rule cluster_rule(const Problem& problem, const Config& config) {
  const auto [kind, count] = config.partition;
  if (kind != Partition::Kind::cluster || count < 1 || count > kMostCluster) {
    return fmt::format("decode kernels split over a cluster of 1..{} blocks", kMostCluster);
  }
  const int fragments = config.tile_n / config.warps_n / 16 * (config.tile_m / 8);
  if (count > fragments) {
    return fmt::format("cluster{} exceeds the {} fragments of a warp", count, fragments);
  }
  const std::int64_t units =
      problem.shape.k / config.warp_k / (std::int64_t{count} * config.warps_k);
  if (units < config.stages) {
    return fmt::format("{} stages exceed the {} units of a part of k", config.stages, units);
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> decode_rule(const Problem& problem, const Target& target,
                                       const Config& config) {
  if (limits_of(target).compute_capability < 90) {
    return fmt::format("{} has no thread block clusters; the decode family begins with sm_90",
                       target.arch);
  }
  if (Rule rule = tile_rule(config)) return rule;
  if (Rule rule = shape_rule(problem, config)) return rule;
  if (Rule rule = cluster_rule(problem, config)) return rule;
  const Plan plan = decode_plan(problem, target, config);
  return resource_rule(plan, plan.decode().warp);
}

namespace {

// The ways to cut a tile among warps that are worth having: each was within 1 % of the best
// somewhere on the H200, alone or in a chain, for 1, 8 or 16 tokens.
struct Tiling {
  int tile_n, warps_n, warps_k, warp_k;
  std::vector<int> stages;
};

const std::vector<Tiling>& tilings() {
  static const std::vector<Tiling> all = {
      {64, 1, 4, 64, {2, 3, 4}},  {64, 1, 8, 64, {2, 3, 4}},  {64, 1, 2, 64, {3, 4, 6}},
      {64, 1, 16, 64, {2, 3}},    {64, 1, 4, 128, {2, 3}},    {64, 1, 8, 128, {2, 3}},
      {128, 1, 2, 64, {2, 3}},    {128, 1, 8, 64, {2, 3}},    {128, 2, 2, 64, {3, 4}},
      {128, 2, 4, 64, {2, 3, 4}}, {128, 2, 8, 64, {2, 3, 4}}, {256, 4, 2, 64, {2, 3, 4}},
  };
  return all;
}

}  // namespace

std::vector<Config> decode_configs(const Problem& problem, const Target& target) {
  std::vector<Config> configs;
  if (problem.shape.m > kMostTokens) return configs;
  Config config;
  config.options = DecodeOptions{};
  config.scale_on = ScaleOn::accumulators;
  config.tile_m = static_cast<int>((problem.shape.m + 7) / 8 * 8);
  for (const Tiling& tiling : tilings()) {
    config.tile_n = tiling.tile_n;
    config.warps_n = tiling.warps_n;
    config.warps_k = tiling.warps_k;
    config.warp_k = tiling.warp_k;
    for (int cluster : {1, 2, 3, 4}) {
      config.partition = {Partition::Kind::cluster, cluster};
      const double load = double(problem.shape.n) / tiling.tile_n * cluster / target.sms;
      if (load < 0.6 && cluster < 4) continue;
      for (int stages : tiling.stages) {
        config.stages = stages;
        for (bool early : {false, true}) {
          config.decode().early_weights = early;
          if (!decode_rule(problem, target, config)) configs.push_back(config);
        }
      }
    }
  }
  return configs;
}

// No tile of this family has many rows, so that no order of it serves every m.
std::optional<SumOrder> decode_sum_order(const Plan&) { return std::nullopt; }

}  // namespace marlin
