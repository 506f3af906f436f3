// `marlin bench --compare`: the part of the verb that races what several choosers choose.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tuner/cli/cli_common.h"
#include "tuner/cli/verbs.h"

namespace marlin {

struct CompareOptions {
  ShapeOptions shapes;
  TargetOptions target;
  std::vector<std::string> choosers;  // of kChoosers; the others are measured by the first
  std::string plot;                   // an SVG file, or empty
  std::optional<std::uint64_t> seed;
  unsigned jobs = 0;
  bool chained = false, json = false, draw = false, no_cache = false;
};

// tuned: what get() chooses. model: the cost model's first of all legal configs. worst: its last.
inline constexpr const char* kChoosers[] = {"tuned", "model", "worst"};

// Throws Error{invalid_argument} unless they are at least two, all different.
void require_choosers(const std::vector<std::string>& choosers);

// Throws what resolving shapes and target and finding a GPU can throw.
Exit bench_compare(const CompareOptions& options);

}  // namespace marlin
