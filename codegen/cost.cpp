// Shape + Target + Board -> every legal config with an estimate of its time, the fastest first.
// Entry points: estimate_us, rank_configs.
#include "codegen/cost.h"

#include <fmt/format.h>

#include <algorithm>

#include "codegen/error.h"
#include "codegen/family.h"

namespace marlin {

double Cost::clocks() const {
  return std::max(compute, memory) + overlap_loss * std::min(compute, memory) + fixed;
}

double estimate_us(const Shape& shape, const Target& target, const Board& board,
                   const Config& config, bool chained) {
  const Cost cost = info(config.family).cost(lay_out(shape, target, config), board, chained);
  return cost.clocks() / board.clock_mhz;
}

std::vector<Estimate> rank_configs(const Shape& shape, const Target& target, const Board& board,
                                   bool chained) {
  std::vector<Estimate> ranked;
  for (const Config& config : legal_configs(shape, target)) {
    ranked.push_back({config, estimate_us(shape, target, board, config, chained)});
  }
  if (ranked.empty()) {
    throw Error(ErrorCode::invalid_config, fmt::format("no config is legal for {} on {}",
                                                       to_string(shape), to_string(target)));
  }
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const Estimate& x, const Estimate& y) { return x.us < y.us; });
  return ranked;
}

}  // namespace marlin
