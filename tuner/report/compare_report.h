// What one run of `marlin bench --compare` measured: the kernels of several choosers, each cell in
// one race, and the figures derived from it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "codegen/problem/problem.h"
#include "tuner/measure/measure.h"
#include "tuner/report/plot.h"

namespace marlin {

// What one chooser chose for a cell.
struct ComparedChoice {
  std::string chooser;  // "tuned", "model", "worst"
  std::string config;
  std::string source;  // where the choice comes from, or empty
  RaceTiming race;     // choosers that agree share their kernel's timing
};

// One layer at one M. Every cell of a report has the same choosers in the same order; the first is
// the one that the others are measured by.
struct ComparedCell {
  std::string layer;      // layer_name()
  Problem problem;        // as asked
  std::int64_t rung = 0;  // the m its kernels are written for
  Timing floor;
  std::vector<ComparedChoice> choices;

  double over_floor(std::size_t choice) const;  // time / read floor
  double ratio(std::size_t choice) const;       // time / time of the first choice, paired by round
};

// Geometric means over some cells, one figure for each chooser.
struct CompareMeans {
  std::int64_t m = 0;  // 0: over all cells
  std::size_t cells = 0;
  std::vector<double> over_floor, ratio;
};

struct CompareReport {
  std::string gpu, target;
  std::vector<std::string> choosers;
  std::vector<ComparedCell> cells;
  bool chained = false;  // times and floors are of chained launches

  // In ascending M, then those over all cells where there are any.
  std::vector<CompareMeans> means() const;
  // The cell with the largest ratio of this chooser; there must be cells.
  const ComparedCell& worst_cell(std::size_t choice) const;
  std::string text() const;
  nlohmann::ordered_json json() const;
  // Time over the read floor against M, geometric means over the layers, a series per chooser.
  Plot plot() const;
};

}  // namespace marlin
