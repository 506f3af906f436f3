// Plan of the decode family -> what its kernel costs. Entry point: decode_cost.
#include <algorithm>
#include <cmath>

#include "codegen/families/decode/decode.h"
#include "codegen/plan/resources.h"

namespace marlin {

namespace {

// What the parts of a kernel cost, in clocks of one SM unless said otherwise, fitted with the
// other families to 11,000 timings alone on an H200 and 3,000 in chains (tuner/NOTES.md, 18). Only
// the order of the estimates matters.
struct Constants {
  double dequantise;   // one word a lane: 16 columns of a k16 step, of a scheduler
  double tensor;       // its product with eight tokens
  double scale;        // scaling the sums of 16 columns x 8 tokens after a unit
  double stall;        // part of the work that one warp a scheduler cannot hide
  double copy_rate;    // bytes a clock that copies of tokens take away
  double reach;        // device memory's rate in the best case, over plain reads'
  double latency_us;   // from a request to device memory to its data
  double start;        // launch until the first data
  double later_wave;   // of the start, for each wave after the first
  double gather;       // over the warps of a tile, for each 64 columns x 8 tokens of a warp
  double part;         // and for each part of K
  double pair;         // a cluster of two blocks
  double cluster;      // a cluster of more
  double idle;         // part of a stage that is not in flight: the one being read
  double tokens;       // bytes of tokens, over bytes of weights
  double shared_rate;  // bytes a clock from L2 into an SM's shared memory
  double early;        // requesting all weights before any token
  double overlap_loss;
};

constexpr Constants kAlone = {15.35, 2.587, 85.35, 0.3215, 653.3,  1.346,   0.8283, 1195, 0.3045,
                              853.8, 87.22, 767.8, 4331,   0.4368, 0.08267, 59.11,  1709, 0.2027};
constexpr Constants kChained = {10.45, 1.201, 264.2, 0.7723, 726.1,  1.881,  1.194, 1419,  0.4365,
                                944.8, 127.3, 763.1, 1974,   0.1677, 0.0651, 41.89, -1441, 0.2115};
constexpr double kPrivateRing = 2.321;  // each unit, where warps do not share activations

// How the blocks fall on the SM that gets most of them, and what each of its warps does.
struct Load {
  double blocks, together, units;
};

Load busiest_sm(const Plan& plan) {
  Load load;
  load.blocks = std::ceil(double(plan.launch.grid_x) * plan.launch.grid_y / plan.target.sms);
  load.together = std::min<double>(resident_blocks(plan, plan.decode().warp), load.blocks);
  load.units = plan.decode().splits.k_tiles + (plan.decode().splits.longer > 0 ? 1 : 0);
  return load;
}

double activation_bytes(const Plan& plan) { return plan.tiles.rows * 2.0 * plan.config.warp_k; }

double compute_clocks(const Plan& plan, const GpuModel& gpu, const Load& load,
                      const Constants& cost) {
  const double words = plan.tiles.k_steps * plan.decode().warp.blocks64 * 4.0;  // of a warp's unit
  const double tensor = cost.tensor / gpu.tensor_rate + cost.scale / plan.config.warp_k;
  const double word = cost.dequantise + tensor * plan.decode().warp.n8_tiles;
  const double product = load.units * words * word * plan.config.warps() / 4;
  const double warps = load.together * plan.launch.threads / 128;
  const double copied = activation_bytes(plan) * plan.config.warps_k / cost.copy_rate;
  const double unit = (plan.decode().private_rings ? kPrivateRing : 0) + copied;
  return load.blocks * (product * (1 + cost.stall / warps) + load.units * unit);
}

double memory_clocks(const Plan& plan, const GpuModel& gpu, const Load& load,
                     const Constants& cost) {
  const double unit =
      (plan.decode().packed.unit + plan.decode().warp.columns * 2.0 * plan.config.warp_k / 128) *
      plan.config.warps();
  const double in_flight = load.together * (plan.config.stages - cost.idle) * unit;
  const double rate = gpu.memory_gb_s * 1000 / gpu.clock_mhz;  // bytes a clock
  const double blocks = double(plan.launch.grid_x) * plan.launch.grid_y;
  const double share = cost.reach * rate / std::min<double>(blocks, plan.target.sms);
  const double arrival = in_flight / (cost.latency_us * gpu.clock_mhz);
  const double tokens = activation_bytes(plan) * plan.config.warps_k;
  return load.blocks * load.units *
         std::max(unit / std::min(share, arrival) + cost.tokens * tokens / (rate / plan.target.sms),
                  (unit + tokens) / cost.shared_rate);
}

double fixed_clocks(const Plan& plan, const Load& load, const Constants& cost) {
  const double waves = std::ceil(load.blocks / resident_blocks(plan, plan.decode().warp));
  const double gather = cost.gather * plan.decode().warp.n8_tiles * plan.decode().warp.blocks64 +
                        cost.part * plan.decode().splits.count;
  double clocks =
      cost.start * (1 + cost.later_wave * (waves - 1)) + load.blocks / load.together * gather;
  if (plan.launch.cluster == 2) clocks += cost.pair;
  if (plan.launch.cluster > 2) clocks += cost.cluster;
  if (plan.config.decode().early_weights) clocks += cost.early;
  return clocks;
}

}  // namespace

Cost decode_cost(const Plan& plan, const GpuModel& gpu, bool chained) {
  const Constants& cost = chained ? kChained : kAlone;
  const Load load = busiest_sm(plan);
  return {.compute = compute_clocks(plan, gpu, load, cost),
          .memory = memory_clocks(plan, gpu, load, cost),
          .fixed = fixed_clocks(plan, load, cost),
          .overlap_loss = cost.overlap_loss};
}

}  // namespace marlin
