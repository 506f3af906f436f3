// Shape + Target -> the config that an estimate of its time ranks first. Entry point: choose_config.
#include "runtime/select.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "codegen/error.h"
#include "codegen/plan.h"

namespace marlin {

namespace {

// Rough costs of one SM in clocks, from measurements on the H200 (tuner/NOTES.md). Only the order of
// the estimates matters.
struct Costs {
  double bytes_per_clock = 19.5;        // device memory bandwidth, one SM's share
  double word_row = 18.0 / 4;           // dequantise and multiply one k16 x 16 column x 8 token step
  double mma = 8.0 / 4;                 // each further 8 tokens of it
  double start = 2000;                  // until the first stage is there
  double reduction = 600;               // over the warps of a block
  double sharing = 2600;                // over the blocks of a slice
};

double estimate(const Plan& plan, const Target& target) {
  const Costs costs;
  const Config& config = plan.config;
  const double places = double(target.sms) * config.blocks_per_sm;
  const double blocks = double(plan.grid_x) * plan.grid_y * plan.grid_z;
  const double tiles_in_all = double(plan.m_tiles) * plan.n_slices * plan.k_tiles;
  const double waves = std::ceil(blocks / places);
  const double k_tiles = std::ceil(tiles_in_all / blocks) * waves;  // of the busiest place
  const double steps = config.tile_k() / 16.0 * (config.tile_n / 16.0);
  const double compute =
      k_tiles * config.blocks_per_sm * steps * (costs.word_row + costs.mma * (plan.token_tiles - 1));
  const double words = double(config.tile_k()) * config.tile_n / 2;
  const double tokens = 2.0 * config.tile_k() * plan.rows;
  const double memory =
      tiles_in_all * words / target.sms / costs.bytes_per_clock / std::min(1.0, blocks / target.sms) *
      (k_tiles * blocks / std::max(1.0, waves) / tiles_in_all) +
      k_tiles * config.blocks_per_sm * tokens / 64;
  const double slices_a_block = std::max(1.0, tiles_in_all / blocks / plan.k_tiles);
  const double finish = slices_a_block * costs.reduction + (plan.shares_slices ? costs.sharing : 0);
  return std::max(compute, memory) + costs.start * waves + finish;
}

}  // namespace

Config choose_config(const Shape& shape, const Target& target) {
  const std::vector<Config> configs = legal_configs(shape, target);
  if (configs.empty()) {
    throw Error(ErrorCode::invalid_config,
                fmt::format("no config is legal for {} on {}", to_string(shape), to_string(target)));
  }
  const Config* best = nullptr;
  double least = 0;
  for (const Config& config : configs) {
    const double cost = estimate(lay_out(shape, target, config), target);
    if (best == nullptr || cost < least) {
      best = &config;
      least = cost;
    }
  }
  return *best;
}

}  // namespace marlin
