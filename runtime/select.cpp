// Shape + Target + GPU -> the config a tuning database names, else the one that an estimate of its
// time ranks first. Entry points: choose_config, model_config.
#include "runtime/select.h"

#include "codegen/cost.h"

namespace marlin {

Config model_config(const Shape& shape, const Target& target, std::string_view gpu) {
  return rank_configs(shape, target, board_of(target, gpu)).front().config;
}

Choice choose_config(const Shape& shape, const Target& target, std::string_view gpu,
                     const TuningLayers& tuning) {
  require_valid(shape);
  require_valid(target);
  if (auto found = tuning.find(shape, target, gpu)) {
    return {found->record.config, found->exact ? ChosenBy::tuned : ChosenBy::nearest,
            std::move(found->layer)};
  }
  return {model_config(shape, target, gpu), ChosenBy::model};
}

Choice choose_config(std::string_view text, const Shape& shape, const Target& target,
                     std::string_view gpu, const TuningLayers& tuning) {
  if (text.empty()) return choose_config(shape, target, gpu, tuning);
  if (text == kModelConfig) return {model_config(shape, target, gpu), ChosenBy::model};
  return {parse_config(text), ChosenBy::given};
}

std::vector<Choice> prebuilt_choices(const Shape& shape, const Target& target, std::string_view gpu,
                                     const TuningLayers& tuning) {
  return {choose_config(shape, target, gpu, tuning), choose_config(shape, target, "", tuning),
          Choice{model_config(shape, target), ChosenBy::model}};
}

}  // namespace marlin
