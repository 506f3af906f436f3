// Plan of the wgmma family -> what its kernel costs. Entry point: wgmma_cost.
#include <algorithm>
#include <cmath>

#include "codegen/wgmma_family.h"

namespace marlin {

namespace {

// What the parts of a kernel cost, in clocks of one SM unless said otherwise, fitted to 480 kernels
// of ten products of 32 to 4096 tokens timed alone on an H200 (tuner/NOTES.md). Only the order of
// the estimates matters.
constexpr double kTensor = 0.9;        // of what the products take at the board's sustained clock
constexpr double kScaled = 26.5;       // making 64 columns of a k16 step, of a scheduler
constexpr double kUnscaled = 17.5;     // the same where sums are scaled instead of weights
constexpr double kScaleEights = 0.82;  // and for each sixteen tokens of those sums
constexpr double kOverlap = 0.26;      // part of the lesser of the two that is not hidden
constexpr double kCommit = 1.75;       // of a step, over its burst and the warpgroups
constexpr double kStage = 155;         // each stage
constexpr double kMemoryLoss = 0.09;   // part of the lesser of arithmetic and memory not hidden
constexpr double kReach = 0.78;        // of the rate of plain reads
constexpr double kLatency = 465;       // until a stage asked for has arrived
constexpr double kSharedRate = 377;    // bytes a clock from L2 to an SM's stages, as if
constexpr double kStart = 1200;        // launch until the first data
constexpr double kChainedStart = 300;
constexpr double kPiece = 5050;         // each piece of a tile: filling, draining, its way out
constexpr double kPieceArea = 0.116;    // and for each element of its tile
constexpr double kStripes = 5220;       // handing sums over
constexpr double kStripesArea = 0.063;  // for each element and block that shares a tile
constexpr double kCluster = 550;        // adding up in a cluster
constexpr double kClusterArea = 0.146;  // for each element

// The k16 steps and pieces of tiles of the block that has most, and how many blocks are at work.
struct Load {
  double steps, pieces, blocks;
};

// Part of the SMs that clusters of this size can use: they lie inside a GPC, and GPCs are uneven.
// On the H200 66 clusters of two, 42 of three and 30 of four fit (measured).
double places_for(int cluster) { return cluster <= 2 ? 1 : cluster == 3 ? 0.955 : 0.91; }

Load busiest_block(const Plan& plan) {
  const double places = double(plan.target.sms) * plan.config.blocks_per_sm;
  const double steps = double(plan.k_tiles) * plan.k_steps;
  if (plan.striped_units > 0) {
    const double tiles = double(plan.tiles) / plan.workers;
    return {tiles * steps, std::max(1.0, tiles), double(plan.grid_x)};
  }
  const double blocks = double(plan.tiles) * plan.cluster * plan.config.multicast;
  const double waves = std::ceil(blocks / (places * places_for(plan.cluster)));
  const double part = std::ceil(double(plan.k_tiles) / plan.cluster) * plan.k_steps;
  return {waves * part, waves, std::min(blocks, places)};
}

double step_clocks(const Plan& plan, const Board& board) {
  const Config& config = plan.config;
  const double columns64 = config.tile_n / 64.0;
  const bool weights = plan.group_scales && config.scale_on == ScaleOn::weights;
  const double tensor = kTensor / board.tensor_rate * columns64 * config.tile_m / 2;
  const double make =
      columns64 * (weights ? kScaled : kUnscaled + kScaleEights * config.tile_m / 16);
  return std::max(tensor, make) + kOverlap * std::min(tensor, make) +
         kCommit / config.burst / plan.consumers + kStage / plan.k_steps;
}

double memory_clocks(const Plan& plan, const Board& board, const Load& load) {
  const Config& config = plan.config;
  const double bytes = config.tile_n * 8.2;
  const double rate = board.memory_gb_s * 1000 / board.clock_mhz;
  const double share = kReach * rate / std::min<double>(load.blocks, plan.target.sms);
  const double in_flight = (config.stages - 1) * bytes * plan.k_steps;
  return std::max({bytes / share, bytes * kLatency / in_flight,
                   (bytes + config.tile_m * 32.0 / config.multicast) / kSharedRate});
}

double fixed_clocks(const Plan& plan, const Load& load, bool chained) {
  const double area = double(plan.config.tile_m) * plan.config.tile_n;
  double clocks = chained ? kChainedStart : kStart;
  clocks += load.pieces * (kPiece + kPieceArea * area);
  if (plan.striped_units > 0) {
    const double shared = double(plan.tiles - plan.whole_tiles);
    clocks += kStripes + kStripesArea * area * std::min(8.0, plan.workers / shared + 1);
  }
  if (plan.cluster > 1) clocks += kCluster + kClusterArea * area;
  return clocks;
}

}  // namespace

Cost wgmma_cost(const Plan& plan, const Board& board, bool chained) {
  const Load load = busiest_block(plan);
  const double together = plan.config.blocks_per_sm;
  return {.compute = load.steps * step_clocks(plan, board) * together,
          .memory = load.steps * memory_clocks(plan, board, load) * together,
          .fixed = fixed_clocks(plan, load, chained),
          .overlap_loss = kMemoryLoss};
}

}  // namespace marlin
