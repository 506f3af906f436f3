// Shape + Target -> the config that an estimate of its time ranks first. Entry point:
// choose_config.
#include "runtime/select.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "codegen/error.h"
#include "codegen/plan.h"

namespace marlin {

namespace {

// What the parts of a kernel cost, in clocks of one SM, fitted to about 7000 kernels timed on an
// H200 (tuner/NOTES.md). Only the order of the estimates matters.
constexpr double kDequantise = 7.694;   // one word a lane: 16 columns of a k16 step, of a scheduler
constexpr double kTensor = 3.384;       // its product with eight tokens
constexpr double kScaleWeights = 8.7;   // scaling the weights of one word
constexpr double kScaleSums = 141;      // scaling the sums of 16 columns x 8 tokens after a unit
constexpr double kWarpStall = 0.38;     // part of the work that one warp a scheduler cannot hide
constexpr double kBlockBarrier = 12.2;  // each stage, where warps share tokens
constexpr double kWarpBarrier = 3;      // each stage, where they do not
constexpr double kCopyBytes = 73.5;     // bytes a clock that copies into shared memory take away
constexpr double kLatency = 1521;       // from a request to device memory to its data
constexpr double kOverlapLoss =
    0.202;                             // part of the lesser of memory and compute time that adds up
constexpr double kStart = 1890;        // launch until the first data
constexpr double kLaterWave = 0.3;     // of kStart, for each wave after the first
constexpr double kReduce = 253;        // over the warps of a block, for each 64 columns x 8 tokens
constexpr double kShare = 4520;        // over the blocks of a slice
constexpr double kShareColumn = 5.1;   // and for each 64 columns x 1 token of its partial sums
constexpr double kStripeTable = 6240;  // stripes: finding one's work and cursors, in and out
constexpr double kNextSlice = 90;      // turning to another slice
constexpr double kIdleStage = 0.814;   // part of a stage that is not in flight: the one being read

// Device memory bytes a clock and SM, from public figures of the usual board of each architecture.
double memory_rate(const Target& target) {
  switch (limits_of(target).compute_capability) {
    case 80: return 13;
    case 86: return 6.5;
    case 87: return 10;
    case 89: return 3;
    case 120: return 4.4;
    default: return 26;
  }
}

// Blocks of this plan that really share an SM.
double resident_blocks(const Plan& plan, const ArchLimits& limits) {
  const int registers = std::min(255, register_estimate(plan) + 8 + 7) / 8 * 8;
  const int by_registers = limits.registers_per_sm / (registers * plan.threads);
  const int by_shared = limits.shared_per_sm / (plan.shared_bytes + 1024);
  return std::max(1, std::min({by_registers, by_shared, limits.threads_per_sm / plan.threads}));
}

// How the blocks fall on the SM that gets most of them.
struct Load {
  double blocks, together, k_tiles, slices;
};

Load busiest_sm(const Plan& plan, const Target& target) {
  const double blocks = double(plan.grid_x) * plan.grid_y * plan.grid_z;
  const double tiles = double(plan.m_tiles) * plan.n_slices * plan.k_tiles / blocks;
  Load load;
  load.blocks = std::ceil(blocks / target.sms);
  load.together = std::min(resident_blocks(plan, limits_of(target)), load.blocks);
  load.k_tiles = (plan.striped ? std::ceil(tiles) : tiles) * load.blocks;
  load.slices = std::max(1.0, tiles / plan.k_tiles) * load.blocks;
  return load;
}

double words_of_tile(const Plan& plan) {
  const Config& config = plan.config;
  return config.tile_k() * config.tile_n / 2.0 + config.tile_n * 2.0 * config.tile_k() / 128;
}

double compute_clocks(const Plan& plan, const Load& load) {
  const Config& config = plan.config;
  double word = kDequantise + kTensor * plan.token_tiles;
  if (config.scale_on == ScaleOn::weights) word += kScaleWeights;
  if (config.scale_on == ScaleOn::accumulators)
    word += kScaleSums * plan.token_tiles / config.warp_k;
  const double words = config.tile_k() / 16.0 * config.tile_n / 16.0 / 4;  // of one scheduler
  const double warps = load.together * plan.threads / 128;
  const double stage = plan.private_rings ? kWarpBarrier : kBlockBarrier;
  const double copied =
      plan.rows * config.tile_k() * 2.0 + words_of_tile(plan) * (1 - 1.0 / plan.m_tiles);
  return load.k_tiles * (words * word * (1 + kWarpStall / warps) + stage + copied / kCopyBytes);
}

double memory_clocks(const Plan& plan, const Target& target, const Load& load) {
  const double blocks = double(plan.grid_x) * plan.grid_y * plan.grid_z;
  const double words = words_of_tile(plan);
  const double in_flight = load.together * (plan.config.stages - kIdleStage) * words;
  const double share = memory_rate(target) * target.sms / std::min<double>(blocks, target.sms);
  return load.k_tiles * words / plan.m_tiles / std::min(share, in_flight / kLatency);
}

double estimate(const Plan& plan, const Target& target) {
  const Load load = busiest_sm(plan, target);
  const double compute = compute_clocks(plan, load);
  const double memory = memory_clocks(plan, target, load);
  const double waves = std::ceil(load.blocks / load.together);
  const double tile = plan.config.tile_n / 64.0;
  double finish = load.slices * kReduce * tile * plan.token_tiles / load.together;
  if (plan.striped) finish += kStripeTable;
  if (plan.config.partition.kind != Partition::Kind::split) finish += load.slices * kNextSlice;
  if (plan.shares_slices) {
    const int owners = plan.striped ? 2 : plan.config.partition.count;
    finish += kShare + kShareColumn * tile * plan.rows * owners;
  }
  return std::max(compute, memory) + kOverlapLoss * std::min(compute, memory) +
         kStart * (1 + kLaterWave * (waves - 1)) + finish;
}

}  // namespace

Config choose_config(const Shape& shape, const Target& target) {
  const std::vector<Config> configs = legal_configs(shape, target);
  if (configs.empty()) {
    throw Error(ErrorCode::invalid_config, fmt::format("no config is legal for {} on {}",
                                                       to_string(shape), to_string(target)));
  }
  const auto cost = [&](const Config& config) {
    return estimate(lay_out(shape, target, config), target);
  };
  const Config* best = &configs.front();
  double least = cost(*best);
  for (const Config& config : configs) {
    const double clocks = cost(config);
    if (clocks < least) {
      best = &config;
      least = clocks;
    }
  }
  return *best;
}

}  // namespace marlin
