// Shape + Target + GPU -> the config a tuning database names, else the one that an estimate of its
// time ranks first. Entry points: choose_config, model_config.
#include "runtime/choose/select.h"

#include "codegen/generator.h"

namespace marlin {

Config model_config(const Shape& shape, const Target& target, std::string_view gpu, bool chained) {
  return rank_configs(shape, target, gpu_model_of(target, gpu), chained).front().config;
}

Choice choose_config(const Shape& shape, const Target& target, std::string_view gpu,
                     const TuningLayers& tuning, bool chained) {
  require_valid(shape);
  require_valid(target);
  if (auto found = tuning.find(shape, target, gpu, chained)) {
    return {found->record.config, found->exact ? ChosenBy::tuned : ChosenBy::nearest,
            std::move(found->layer)};
  }
  return {model_config(shape, target, gpu, chained), ChosenBy::model};
}

Choice choose_config(std::string_view text, const Shape& shape, const Target& target,
                     std::string_view gpu, const TuningLayers& tuning, bool chained) {
  if (text.empty()) return choose_config(shape, target, gpu, tuning, chained);
  if (text == kModelConfig) return {model_config(shape, target, gpu, chained), ChosenBy::model};
  return {parse_config(text), ChosenBy::given};
}

std::vector<Choice> prebuilt_choices(const Shape& shape, const Target& target, std::string_view gpu,
                                     const TuningLayers& tuning, bool chained) {
  std::vector<Choice> choices;
  for (const std::string_view name : {gpu, std::string_view()}) {
    if (chained) choices.push_back(choose_config(shape, target, name, tuning, true));
    choices.push_back(choose_config(shape, target, name, tuning));
  }
  choices.push_back({model_config(shape, target, {}, chained), ChosenBy::model});
  return choices;
}

}  // namespace marlin
