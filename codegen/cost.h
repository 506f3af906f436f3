// Cost: an estimate of a kernel's time, good enough to rank configs and to choose without any
// measurement.
#pragma once

#include <string_view>
#include <vector>

#include "codegen/board.h"
#include "codegen/config.h"
#include "codegen/plan.h"

namespace marlin {

// Clocks of the SM that has most to do.
struct Cost {
  double compute = 0;  // issue slots, tensor cores, shared memory
  double memory = 0;   // weights and scales
  double fixed = 0;    // launch, reductions, what nothing hides
  // Part of the lesser of compute and memory that the greater does not hide.
  double overlap_loss = 0;

  double clocks() const;
};

// Microseconds of one launch with all its rows; chained: of one of a chain of dependent launches.
// The config must be legal.
double estimate_us(const Shape& shape, const Target& target, const Board& board,
                   const Config& config, bool chained = false);

struct Estimate {
  Config config;
  double us = 0;
};

// Every legal config of every family, the fastest by the estimate first; ties in the order of
// legal_configs(). Pure and deterministic. Throws Error{invalid_shape, invalid_target} and
// Error{invalid_config} where no config is legal.
std::vector<Estimate> rank_configs(const Shape& shape, const Target& target, const Board& board,
                                   bool chained = false);

}  // namespace marlin
