// Shape + Target + GPU -> the config a tuning database names, else the one that an estimate of its
// time ranks first. Entry points: choose_config, model_config.
#include "runtime/choose/select.h"

#include <algorithm>

#include "codegen/base/integers.h"
#include "codegen/generator.h"

namespace marlin {
namespace {

// What the model makes of one problem. It ranks when it is first asked, for that takes longer than
// the look-up of a record.
class Opinion {
 public:
  Opinion(const Problem& problem, const Target& target, std::string_view gpu, bool chained,
          int nvrtc)
      : problem_(problem),
        target_(target),
        gpu_(gpu_model_of(target, gpu)),
        chained_(chained),
        nvrtc_(nvrtc) {}

  const Config& first() { return ranked().front().config; }

  // Its estimate for the config over that for its first choice.
  double behind(const Config& config) {
    return estimate_us(problem_, target_, gpu_, config, chained_) / ranked().front().us;
  }

 private:
  const std::vector<Estimate>& ranked() {
    if (ranked_.empty()) ranked_ = rank_configs(problem_, target_, gpu_, chained_, nvrtc_);
    return ranked_;
  }

  const Problem& problem_;
  const Target& target_;
  GpuModel gpu_;
  bool chained_;
  int nvrtc_;
  std::vector<Estimate> ranked_;
};

// The neighbour's config as it would be for this problem: tiles of other heights, as many of them
// as it has where it was measured, as many stripes for each SM, and stages as they fit. Nothing
// where no such config is legal.
std::optional<Config> fitted_config(const TuningRecord& record, const Problem& problem,
                                    const Target& target) {
  Config config = record.config;
  if (!why_illegal(problem, target, config) && record.problem.shape.m == problem.shape.m) {
    return config;
  }
  const int tiles = ceil_div(record.problem.shape.m, config.tile_m);
  config.tile_m = round_up(ceil_div(problem.shape.m, tiles), 8);
  if (config.partition.kind == Partition::Kind::stripes) {
    config.partition.count = config.partition.count * target.sms / record.target.sms;
  }
  constexpr int kMostStages = 8;
  // As many tiles as there, and where the family has none so high, more of them.
  for (const int rows : {config.tile_m, record.config.tile_m}) {
    config.tile_m = rows;
    const bool lower = rows < record.config.tile_m;
    for (int stages = lower ? kMostStages : record.config.stages; stages >= 2; --stages) {
      config.stages = stages;
      if (!why_illegal(problem, target, config)) return config;
    }
  }
  return std::nullopt;
}

// How far behind the model has a config here, over what it has for it where it was measured. There
// it was the best, however far the model had it behind: so far the model is known to be wrong about
// it, up to 1.5 times for few tokens.
double set_back(const TuningRecord& neighbour, const Config& fitted, Opinion& here) {
  Opinion there(neighbour.problem, neighbour.target, neighbour.gpu, neighbour.chained, 0);
  return here.behind(fitted) / std::max(1.0, there.behind(neighbour.config));
}

// The neighbour that the model sets back least. One that it sets back by more than what it errs
// between two such problems is not meant for this one. Ranking there takes milliseconds, so only
// the nearest are asked.
std::optional<Choice> best_neighbour(std::vector<TunedChoice> found, const Problem& problem,
                                     const Target& target, int nvrtc, Opinion& here) {
  constexpr double kMargin = 1.03, kTold = 0.01;
  constexpr std::size_t kMostAsked = 4;
  std::optional<Choice> best;
  double least = kMargin;
  std::size_t asked = 0;
  for (TunedChoice& neighbour : found) {
    const auto fitted = fitted_config(neighbour.record, problem, target);
    if (!fitted || (nvrtc != 0 && least_nvrtc(target, *fitted) > nvrtc)) continue;
    if (asked++ == kMostAsked) break;
    const double back = set_back(neighbour.record, *fitted, here);
    // A farther one has to be better by more than the model can tell.
    if (best ? back > least - kTold : back > least) continue;
    least = back;
    best = {*fitted, ChosenBy::nearest, std::move(neighbour.layer), std::move(neighbour.record)};
  }
  return best;
}

}  // namespace

Config model_config(const Problem& problem, const Target& target, std::string_view gpu,
                    bool chained, int nvrtc) {
  return Opinion(problem, target, gpu, chained, nvrtc).first();
}

Choice choose_config(const Problem& problem, const Target& target, std::string_view gpu,
                     const TuningLayers& tuning, bool chained, int nvrtc) {
  require_valid(problem);
  require_valid(target);
  Opinion model(problem, target, gpu, chained, nvrtc);
  std::vector<TunedChoice> neighbours = tuning.candidates(problem, target, gpu, chained);
  std::optional<TunedChoice> exact;
  if (!neighbours.empty() && neighbours.back().exact) {
    exact = std::move(neighbours.back());
    neighbours.pop_back();
    if (nvrtc != 0 && least_nvrtc(target, exact->record.config) > nvrtc) exact.reset();
  }
  // Chained launches are chosen by chained records before an isolated one of this very shape.
  if (auto best = best_neighbour(std::move(neighbours), problem, target, nvrtc, model)) {
    return std::move(*best);
  }
  if (!exact) return {model.first(), ChosenBy::model};
  return {exact->record.config, ChosenBy::tuned, std::move(exact->layer), std::move(exact->record)};
}

Choice choose_config(std::string_view text, const Problem& problem, const Target& target,
                     std::string_view gpu, const TuningLayers& tuning, bool chained, int nvrtc) {
  if (text.empty()) return choose_config(problem, target, gpu, tuning, chained, nvrtc);
  if (text == kModelConfig) {
    return {model_config(problem, target, gpu, chained, nvrtc), ChosenBy::model};
  }
  return {parse_config(text), ChosenBy::given};
}

std::vector<Choice> prebuilt_choices(const Problem& problem, const Target& target,
                                     std::string_view gpu, const TuningLayers& tuning,
                                     bool chained) {
  std::vector<Choice> choices;
  for (const std::string_view name : {gpu, std::string_view()}) {
    if (chained) choices.push_back(choose_config(problem, target, name, tuning, true));
    choices.push_back(choose_config(problem, target, name, tuning));
  }
  choices.push_back({model_config(problem, target, {}, chained), ChosenBy::model});
  // Batch-invariant kernels have one order of summation, and none of a too old NVRTC.
  const int oldest =
      std::max(limits_of(target).least_nvrtc,
               problem.batch_invariant ? least_nvrtc(target, choices.back().config) : 0);
  for (const std::string_view name : {gpu, std::string_view()}) {
    choices.push_back(choose_config(problem, target, name, tuning, chained, oldest));
  }
  return choices;
}

}  // namespace marlin
