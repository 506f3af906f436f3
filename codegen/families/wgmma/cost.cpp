// Plan of the wgmma family -> what its kernel costs. Entry point: wgmma_cost.
#include <algorithm>
#include <cmath>

#include "codegen/families/wgmma/wgmma.h"

namespace marlin {

namespace {

// What the parts of a kernel cost, in clocks of one SM unless said otherwise, fitted with the other
// families to 11,000 timings on an H200 (tuner/NOTES.md, 18). Only the order of the estimates
// matters.
constexpr double kTensor = 0.597;        // of what the products take at the gpu's sustained clock
constexpr double kScaled = 35.79;        // making 64 columns of a k16 step, of a scheduler
constexpr double kUnscaled = 14.18;      // the same where sums are scaled instead of weights
constexpr double kScaleN8 = 3.526;       // and for each sixteen tokens of those sums
constexpr double kOverlap = 0.1848;      // part of the lesser not hidden by two warps a scheduler
constexpr double kMoreWarps = 0.006491;  // power by which more warps hide more of it
constexpr double kCommit = 27.06;        // of a step, over its burst
constexpr double kBurst = 2.851;         // and times it and 64 rows: fragments made before products
constexpr double kDrained = 0.1057;      // of scaling sums while no product of the warpgroup runs
constexpr double kStage = 230.9;         // each stage
constexpr double kWholeCommit = 7.982;   // of a step, where each has fragments of its own
constexpr double kWholeBare = 2.997;     // what is not hidden there, over the rest
constexpr double kTwoSetsBare = 1.017;   // the same of two sets of sums
constexpr double kTwoSetsStage = 0.5287;  // and of a stage's own clocks
constexpr double kLate = 10.21;           // packed weights read late, of a stage
constexpr double kPaired = 0.8338;  // part of a stage's more where two blocks share activations
constexpr double kMoreConsumers = 0.2455;  // power by which more warpgroups hide more of both
constexpr double kCrowd = 0.1008;          // part of both more for each warpgroup beyond two
constexpr double kMemoryLoss = 0.1197;     // part of the lesser of arithmetic and memory not hidden
constexpr double kReach = 1.161;           // of the rate of plain reads
constexpr double kLatency = 2677;          // until a stage asked for has arrived
constexpr double kSharedRate = 61.51;      // bytes a clock from L2 to an SM's stages
constexpr double kStart = 1246;            // beyond the segment's, until the first data
constexpr double kEarly = 400;             // weights of all stages requested before any activations
constexpr double kChainedStart = 0.8365;
constexpr double kChainedLeft = 1.073;     // part of adding up that the next kernel does not hide
constexpr double kChainedExchange = 2664;  // early weights beside blocks that meet in L2
constexpr double kChainedEarly = -102.1;
constexpr double kSegment = 1571;         // each segment of a tile: filling, draining, its way out
constexpr double kSegmentArea = 0.4718;   // and for each element of its tile
constexpr double kStripes = 6921;         // handing sums over
constexpr double kStripesArea = 0.08779;  // for each element and block that shares a tile
constexpr double kCluster = 371.5;        // adding up in a cluster
constexpr double kClusterArea = 0.2577;   // for each element
constexpr double kReducePart = 117.1;     // either, for each part of K beyond two
constexpr double kReduceScatter = 2324;   // the same through L2
constexpr double kReduceScatterArea = 0.1039;
constexpr double kUneven = 0.3112;  // weight of the SM with most blocks against the average

// The k16 steps and segments of tiles of the block that has most, and how many blocks are at work.
struct Load {
  double steps, segments, blocks;
  double together;  // blocks on an SM, between the average and the most
};

// Part of the SMs that clusters of this size can use: they lie inside a GPC, and GPCs are uneven.
// Of clusters of two to eight 66, 39, 30, 22, 17, 15 and 15 fit on one H200, on another 42 of
// three.
double resident_share(int cluster) {
  constexpr double kPart[] = {1, 1, 0.886, 0.909, 0.833, 0.773, 0.795, 0.909};
  return kPart[std::clamp(cluster, 1, 8) - 1];
}

Load busiest_block(const Plan& plan) {
  const double sms = plan.target.sms, resident_blocks = sms * plan.config.blocks_per_sm;
  const double steps = double(plan.tiles.k_tiles) * plan.tiles.k_steps;
  Load load = {};
  if (plan.wgmma().work.striped_k_tiles > 0) {
    load.blocks = plan.launch.grid_x;
    load.segments = double(plan.wgmma().work.tiles) / plan.wgmma().work.workers;
    load.steps = load.segments * steps;
    load.segments = std::max(1.0, load.segments);
  } else {
    const int splits = std::max(1, plan.wgmma().splits.count);
    const double blocks = double(plan.wgmma().work.tiles) * splits * plan.config.wgmma().multicast;
    const double split = std::ceil(double(plan.tiles.k_tiles) / splits) * plan.tiles.k_steps;
    load.blocks = std::min(blocks, resident_blocks);
    load.segments =
        std::ceil(blocks / (resident_blocks * resident_share(plan.wgmma().reduction.cluster)));
    load.steps = load.segments * split;
  }
  const double average = std::clamp(load.blocks / sms, 1.0, double(plan.config.blocks_per_sm));
  load.together = average + kUneven * (std::ceil(average) - average);
  return load;
}

// Of a k16 step in all blocks of an SM.
double step_clocks(const Plan& plan, const GpuModel& gpu, const Load& load) {
  const Config& config = plan.config;
  const double columns64 = config.tile_n / 64.0;
  const bool weights = plan.scales.grouped && config.scale_on == ScaleOn::weights;
  const double tensor = kTensor / gpu.tensor_rate * columns64 * config.tile_m / 2;
  const double make = columns64 * (weights ? kScaled : kUnscaled + kScaleN8 * config.tile_m / 16);
  const WgmmaOptions& loop = config.wgmma();
  const bool two_sets = loop.sum_sets == 2;
  const double bare = kOverlap *
                      std::pow(2 / (plan.wgmma().roles.consumers * load.together), kMoreWarps) *
                      (loop.whole_stage ? kWholeBare : 1) * (two_sets ? kTwoSetsBare : 1);
  const double burst = loop.k_steps_per_commit;
  const double commit =
      loop.whole_stage ? kWholeCommit : kCommit / burst + kBurst * burst * config.tile_m / 64;
  const double drained = weights || two_sets || !plan.scales.grouped
                             ? 0
                             : kDrained * columns64 * kScaleN8 * config.tile_m / 16 /
                                   (plan.wgmma().roles.consumers * load.together);
  const double stage =
      kStage * (loop.multicast > 1 ? 1 + kPaired : 1) * (two_sets ? kTwoSetsStage : 1) +
      (loop.late_packed ? kLate : 0);
  return load.together * (std::max(tensor, make) + bare * std::min(tensor, make) + drained) +
         (commit + stage / plan.tiles.k_steps) *
             (1 + kCrowd * std::max(0, plan.wgmma().roles.consumers - 2)) /
             std::pow(plan.wgmma().roles.consumers, kMoreConsumers);
}

double memory_clocks(const Plan& plan, const GpuModel& gpu, const Load& load) {
  const Config& config = plan.config;
  const double bytes = load.together * config.tile_n * 8.2;
  const double tokens = load.together * config.tile_m * 32 / config.wgmma().multicast;
  const double rate = gpu.memory_gb_s * 1000 / gpu.clock_mhz;
  const double share = kReach * rate / std::min<double>(load.blocks, plan.target.sms);
  return std::max({bytes / share, kLatency / ((config.stages - 1) * plan.tiles.k_steps),
                   (bytes + tokens) / kSharedRate});
}

// Bringing the sums of a tile's blocks together.
double reduction_clocks(const Plan& plan, double tile, double area) {
  const WgmmaPlan& own = plan.wgmma();
  double clocks = 0;
  if (own.work.striped_k_tiles > 0) {
    const double shared = double(own.work.tiles - own.work.whole_tiles);
    clocks += kStripes + kStripesArea * tile * std::min(8.0, own.work.workers / shared + 1);
  }
  if (own.splits.count > 2) clocks += kReducePart * (own.splits.count - 2);
  if (own.reduction.cluster > 1) clocks += kCluster + kClusterArea * area;
  if (own.reduction.exchanges) clocks += kReduceScatter + kReduceScatterArea * area;
  return clocks;
}

double fixed_clocks(const Plan& plan, const Load& load, bool chained) {
  const double tile = double(plan.config.tile_m) * plan.config.tile_n;
  const double area = tile * load.together;
  double clocks = chained ? kChainedStart : kStart;
  if (plan.config.wgmma().early_weights) {
    clocks += !chained                           ? kEarly
              : plan.wgmma().reduction.exchanges ? kChainedExchange
                                                 : kChainedEarly;
  }
  return clocks + load.segments * (kSegment + kSegmentArea * area) +
         (chained ? kChainedLeft : 1) * reduction_clocks(plan, tile, area);
}

}  // namespace

Cost wgmma_cost(const Plan& plan, const GpuModel& gpu, bool chained) {
  const Load load = busiest_block(plan);
  return {.compute = load.steps * step_clocks(plan, gpu, load),
          .memory = load.steps * memory_clocks(plan, gpu, load),
          .fixed = fixed_clocks(plan, load, chained),
          .overlap_loss = kMemoryLoss};
}

}  // namespace marlin
