// Shape + Target + GPU -> the config a tuning database names, else the one that an estimate of its
// time ranks first. Entry points: choose_config, model_config.
#include "runtime/choose/select.h"

#include <algorithm>

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

  std::int64_t m() const { return problem_.shape.m; }

  const Config& first() { return ranked().front().config; }

  // Its estimate for the config over that for its first choice.
  double behind(const Config& config) {
    return estimate_us(problem_, target_, gpu_, config, chained_) / ranked().front().us;
  }

  // Whether the config reads weights again for more rows that a legal one of its family, with a
  // larger tile, would take along.
  bool reads_again(const Config& config) {
    if (config.tile_m >= problem_.shape.m) return false;
    return std::any_of(ranked().begin(), ranked().end(), [&](const Estimate& other) {
      return other.config.family() == config.family() && other.config.tile_m >= problem_.shape.m;
    });
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

// Whether a neighbour's config serves here. Where it was measured it was the best, however far the
// model had it behind: so far the model is known to be wrong about it, up to 1.5 times for few
// tokens. Farther behind here, by more than what the model errs between two such problems, it is
// not meant for this one. Of the configs that the shipped data has for a shape and for its
// neighbour, other than the model's first, this keeps 113 of 118; a fixed bound of 1.05 keeps 42 of
// them and one of 1.2 keeps 87. A tile chosen for fewer rows never reads weights again that one
// pass could read once; one that was measured for as many rows on another GPU may.
bool serves(const TuningRecord& neighbour, Opinion& here) {
  constexpr double kMargin = 1.03;
  if (neighbour.problem.shape.m != here.m() && here.reads_again(neighbour.config)) return false;
  const double behind = here.behind(neighbour.config);
  if (behind <= kMargin) return true;
  Opinion there(neighbour.problem, neighbour.target, neighbour.gpu, neighbour.chained, 0);
  return behind <= kMargin * there.behind(neighbour.config);
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
  for (TunedChoice& found : tuning.candidates(problem, target, gpu, chained)) {
    if (nvrtc != 0 && least_nvrtc(target, found.record.config) > nvrtc) continue;
    if (!found.exact && !serves(found.record, model)) continue;
    return {found.record.config, found.exact ? ChosenBy::tuned : ChosenBy::nearest,
            std::move(found.layer), std::move(found.record)};
  }
  return {model.first(), ChosenBy::model};
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
  const int oldest = limits_of(target).least_nvrtc;
  for (const std::string_view name : {gpu, std::string_view()}) {
    choices.push_back(choose_config(problem, target, name, tuning, chained, oldest));
  }
  return choices;
}

}  // namespace marlin
