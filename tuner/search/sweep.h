// Sweep: every given config of one cell, timed; the slow ones briefly, the fast ones properly.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "tuner/measure/bench_layer.h"
#include "tuner/search/compile_queue.h"

namespace marlin {

struct SweepEntry {
  std::string config;
  double screen_us = 0;  // of one replay
  Timing timing;         // replays is 0 where only the screening was done
  std::string error;     // why it was not timed, or empty

  bool timed() const { return timing.replays > 0; }
};

struct SweepRules {
  std::size_t finals = 24;  // configs that are timed properly
  double within = 1.3;      // of the fastest screening
};

// Which entries are timed properly: the fastest by their screening, and `always` when it was
// screened. Indices in ascending order of the screening.
std::vector<std::size_t> finalists(const std::vector<SweepEntry>& entries, const SweepRules& rules,
                                   const std::string& always);

// Jobs first..first+count of the queue at m rows, ranked: those timed properly by their median,
// then the others by their screening, then the failed. `chosen` is always timed properly. Stops
// early, with what there is, when `stop` says so. Throws GpuStuck and Error{driver_failed}, with
// the config named, when a kernel leaves the GPU unusable.
std::vector<SweepEntry> sweep(LayerBench& bench, CompileQueue& queue, std::size_t first,
                              std::size_t count, std::int64_t m, const std::string& chosen,
                              const SweepRules& rules, bool (*stop)());

// In the order sweep() returns.
void rank(std::vector<SweepEntry>& entries);

}  // namespace marlin
