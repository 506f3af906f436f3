// Plan of the stripe family -> what its kernel costs. Entry point: stripe_cost.
#include <algorithm>
#include <cmath>

#include "codegen/families/stripe/stripe.h"
#include "codegen/plan/resources.h"

namespace marlin {

namespace {

// What the parts of a kernel cost, in clocks of one SM, fitted with the other
// families to 11,000 timings on an H200 (tuner/NOTES.md, 18). Only the order of the estimates
// matters.
constexpr double kDequantise = 5.449;  // one word a lane: 16 columns of a k16 step, of a scheduler
constexpr double kTensor = 4.912;      // its product with eight tokens
constexpr double kScaleWeights = 9.341;  // scaling the weights of one word
constexpr double kScaleSums = 150.1;     // scaling the sums of 16 columns x 8 tokens after a unit
constexpr double kWarpStall = 0.2188;    // part of the work that one warp a scheduler cannot hide
constexpr double kBlockBarrier = 13.2;   // each stage, where warps share activations
constexpr double kWarpBarrier = 3.137;   // each stage, where they do not
constexpr double kCopyBytes = 90;        // bytes a clock that copies into shared memory take away
constexpr double kMemoryReach = 1.443;   // device memory's rate in the best case, over plain reads'
constexpr double kSharedRate = 43.96;    // bytes a clock from L2 into an SM's shared memory
constexpr double kLatencyUs = 1.069;     // from a request to device memory to its data
constexpr double kStart = 2895;          // launch until the first data
constexpr double kLaterWave = 1.726;     // of kStart, for each wave after the first
constexpr double kReduce = 417.2;       // over the warps of a block, for each 64 columns x 8 tokens
constexpr double kShare = 4504;         // over the blocks of a tile
constexpr double kShareColumn = 5.209;  // and for each 64 columns x 1 token of its partial sums
constexpr double kStripeTable = 7179;   // stripes: finding one's work and cursors, in and out
constexpr double kNextTile = 101.6;     // turning to another tile
constexpr double kOverlapLoss = 0.1249;  // part of the lesser of memory and compute time not hidden
constexpr double kIdleStage = 0.6639;  // part of a stage that is not in flight: the one being read

// How the blocks fall on the SM that gets most of them.
struct Load {
  double blocks, together, k_tiles, tiles;
};

Load busiest_sm(const Plan& plan) {
  const double blocks = double(plan.launch.grid_x) * plan.launch.grid_y * plan.launch.grid_z;
  const double tiles =
      double(plan.tiles.m_tiles) * plan.tiles.n_tiles * plan.tiles.k_tiles / blocks;
  Load load;
  load.blocks = std::ceil(blocks / plan.target.sms);
  load.together = std::min<double>(resident_blocks(plan, plan.stripe().warp), load.blocks);
  load.k_tiles = (plan.stripe().work.striped ? std::ceil(tiles) : tiles) * load.blocks;
  load.tiles = std::max(1.0, tiles / plan.tiles.k_tiles) * load.blocks;
  return load;
}

double words_of_tile(const Plan& plan) {
  const Config& config = plan.config;
  return config.tile_k() * config.tile_n / 2.0 + config.tile_n * 2.0 * config.tile_k() / 128;
}

double compute_clocks(const Plan& plan, const GpuModel& gpu, const Load& load) {
  const Config& config = plan.config;
  double word = kDequantise + kTensor * plan.stripe().warp.n8_tiles / gpu.tensor_rate;
  if (config.scale_on == ScaleOn::weights) word += kScaleWeights;
  if (config.scale_on == ScaleOn::accumulators)
    word += kScaleSums * plan.stripe().warp.n8_tiles / config.warp_k;
  const double words = config.tile_k() / 16.0 * config.tile_n / 16.0 / 4;  // of one scheduler
  const double warps = load.together * plan.launch.threads / 128;
  const double stage = plan.stripe().private_rings ? kWarpBarrier : kBlockBarrier;
  const double copied = plan.tiles.rows * config.tile_k() * 2.0 +
                        words_of_tile(plan) * (1 - 1.0 / plan.tiles.m_tiles);
  return load.k_tiles * (words * word * (1 + kWarpStall / warps) + stage + copied / kCopyBytes);
}

double memory_clocks(const Plan& plan, const GpuModel& gpu, const Load& load) {
  const double blocks = double(plan.launch.grid_x) * plan.launch.grid_y * plan.launch.grid_z;
  const double words = words_of_tile(plan);
  const double in_flight = load.together * (plan.config.stages - kIdleStage) * words;
  const double rate = kMemoryReach * gpu.memory_gb_s * 1000 / gpu.clock_mhz;  // bytes a clock
  const double share = rate / std::min<double>(blocks, plan.target.sms);
  const double latency = kLatencyUs * gpu.clock_mhz;
  const double tokens = plan.tiles.rows * plan.config.tile_k() * 2.0;
  return load.k_tiles * std::max(words / plan.tiles.m_tiles / std::min(share, in_flight / latency),
                                 (words + tokens) / kSharedRate);
}

double fixed_clocks(const Plan& plan, const Load& load) {
  const double waves = std::ceil(load.blocks / load.together);
  const double tile = plan.config.tile_n / 64.0;
  double clocks = kStart * (1 + kLaterWave * (waves - 1)) +
                  load.tiles * kReduce * tile * plan.stripe().warp.n8_tiles / load.together;
  if (plan.stripe().work.striped) clocks += kStripeTable;
  if (plan.config.partition.kind != Partition::Kind::split) clocks += load.tiles * kNextTile;
  if (plan.workspace.shared) {
    const int owners = plan.stripe().work.striped ? 2 : plan.config.partition.count;
    clocks += kShare + kShareColumn * tile * plan.tiles.rows * owners;
  }
  return clocks;
}

}  // namespace

// Stripe kernels are never launched dependently, so a chain changes nothing.
Cost stripe_cost(const Plan& plan, const GpuModel& gpu, bool /*chained*/) {
  const Load load = busiest_sm(plan);
  return {.compute = compute_clocks(plan, gpu, load),
          .memory = memory_clocks(plan, gpu, load),
          .fixed = fixed_clocks(plan, load),
          .overlap_loss = kOverlapLoss};
}

}  // namespace marlin
