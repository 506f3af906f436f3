// TuneRun: many shapes tuned on many GPUs at once, with what is left to do and what came of it.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tuner/search/named_problem.h"
#include "tuner/search/search.h"

namespace marlin {

struct TuneCell {
  NamedProblem named;  // shape.m is a rung unless it is exact
  CellResult result;
  double seconds = 0;
};

// What a run is asked to do beside the search's own rules.
struct TuneLimits {
  double budget_seconds = 0;  // no cell begins after that; 0: no limit
  std::function<bool()> stop = [] { return false; };
};

// The kernels to write for these shapes, each once, the smallest m first: decoding is what most
// users tune for, and a run that is cut short has done that.
std::vector<TuneCell> cells_of(const std::vector<NamedProblem>& asked);

// Part i of n: cells i - 1, i - 1 + n, ... of the list.
std::vector<TuneCell> shard_of(const std::vector<TuneCell>& cells, int i, int n);

// Tunes the cells in their order, each on the device that is free next. `done` hears of every cell
// that ended, from any thread, one at a time; cells that none began stay `stopped`. Throws
// Error{io} of the journal.
void tune_all(std::vector<TuneCell>& cells, const std::vector<TuneDevice*>& devices,
              TuningJournal& journal, const SearchRules& rules, const TuneLimits& limits,
              const std::function<void(const TuneCell&)>& done);

}  // namespace marlin
