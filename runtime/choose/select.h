// Config selection: the config get() uses for a shape.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "codegen/plan/config.h"
#include "codegen/problem/problem.h"
#include "codegen/problem/target.h"
#include "marlin/options.h"
#include "runtime/choose/tuning_db.h"

namespace marlin {

struct Choice {
  Config config;
  ChosenBy by = ChosenBy::model;
  std::string layer = {};                   // name of the tuning database it came from
  std::optional<TuningRecord> record = {};  // of that database
};

// A record of the databases, else the model's config. One measured for this very shape on this GPU
// is taken as it is. The config of a neighbour (TuningLayers::candidates), with tiles as high as
// this problem needs them, is taken when the model finds it hardly farther behind its own first
// choice than where it was measured to be the best; of several the one it sets back least. `gpu` as
// its driver calls it, "" for any of the target; `chained` as Options::chained; `nvrtc` as for
// rank_configs(), which leaves records out, too. Throws Error{invalid_shape or invalid_target};
// every valid shape has a config on every known target.
Choice choose_config(const Problem& problem, const Target& target, std::string_view gpu,
                     const TuningLayers& tuning, bool chained = false, int nvrtc = 0);

// The same, unless the text says otherwise: a config's text, or kModelConfig for the model's
// whatever the databases say. Whether a given config is legal is not asked. Throws
// Error{invalid_config}, too.
Choice choose_config(std::string_view text, const Problem& problem, const Target& target,
                     std::string_view gpu, const TuningLayers& tuning, bool chained = false,
                     int nvrtc = 0);
inline constexpr std::string_view kModelConfig = "model";

// The legal config that the cost model ranks first. Pure and deterministic. Throws as above.
Config model_config(const Problem& problem, const Target& target, std::string_view gpu = {},
                    bool chained = false, int nvrtc = 0);

// What else a kernel that cannot be compiled now may have been prebuilt with: the choice without
// the user's own database, that of a machine that was not told the GPU, for chained launches those
// for isolated ones, the model's, and that of a machine with the oldest NVRTC. `tuning` is without
// the user's database.
std::vector<Choice> prebuilt_choices(const Problem& problem, const Target& target,
                                     std::string_view gpu, const TuningLayers& tuning,
                                     bool chained);

}  // namespace marlin
