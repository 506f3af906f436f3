// Linears -> their ladders, tuned; and the hook that tunes a rung when it is first used.
// Entry points: tune, enable_tuning.
#include "marlin/tune.h"

#include "codegen/base/error.h"
#include "runtime/launch/first_use.h"
#include "runtime/launch/ladder.h"
#include "tuner/api/live_tuning.h"

namespace marlin {
namespace {

void tune_first_use(const Ladder& ladder, int rung) {
  const Ladder* const one = &ladder;
  tune_ladders({&one, 1}, {.rows = {rungs()[static_cast<std::size_t>(rung)]}});
}

}  // namespace

std::vector<TunedCell> tune(std::span<const Linear* const> linears, const TuneOptions& options) {
  std::vector<const Ladder*> ladders;
  for (const Linear* linear : linears) {
    if (linear == nullptr) throw Error(ErrorCode::invalid_argument, "one of the Linears is null");
    ladders.push_back(&ladder_of(*linear));
  }
  return tune_ladders(ladders, options);
}

std::vector<TunedCell> tune(const Linear& linear, const TuneOptions& options) {
  const Linear* const one = &linear;
  return tune({&one, 1}, options);
}

void enable_tuning() { set_first_use_tuner(tune_first_use); }

const char* to_string(TunedCell::Status status) {
  switch (status) {
    case TunedCell::Status::tuned: return "tuned";
    case TunedCell::Status::kept: return "kept";
    case TunedCell::Status::failed: return "failed";
    case TunedCell::Status::left: return "left";
  }
  return "unknown";
}

}  // namespace marlin
