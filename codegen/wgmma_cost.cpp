// Plan of the wgmma family -> what its kernel costs. Entry point: wgmma_cost.
#include <algorithm>
#include <cmath>

#include "codegen/wgmma_family.h"

namespace marlin {

Cost wgmma_cost(const Plan& plan, const Board& board, bool chained) {
  const Config& config = plan.config;
  const double places = double(plan.target.sms) * config.blocks_per_sm;
  const double tiles = plan.striped_units > 0 ? std::max(1.0, plan.tiles / places)
                                              : std::ceil(plan.tiles * plan.cluster / places);
  const double steps = tiles * plan.k_tiles * plan.k_steps / plan.cluster * config.blocks_per_sm;
  const double words = config.tile_n * 2.0 / 128;  // of a scheduler, for each k16 step
  const double dequantise = config.scale_on == ScaleOn::weights ? 18 : 14;
  const double tensor = config.tile_n / 64.0 * config.tile_m / 2;
  const double rate = board.memory_gb_s * 1000 / board.clock_mhz / plan.target.sms;
  const double bytes = config.tile_n * 8.0;
  Cost cost;
  cost.compute =
      steps * (std::max(tensor, words * dequantise) + 0.3 * std::min(tensor, words * dequantise));
  cost.memory = steps * bytes / rate / config.blocks_per_sm;
  cost.fixed = (chained ? 1500 : 3500) + config.tile_m * config.tile_n / 16.0;
  if (plan.cluster > 1) cost.fixed += 1000;
  if (plan.striped_units > 0) cost.fixed += 3000;
  cost.overlap_loss = 0.2;
  return cost;
}

}  // namespace marlin
