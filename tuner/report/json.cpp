// Shapes, targets and timings -> JSON. Entry points: json_result, to_json, text_of.
#include "tuner/report/json.h"

namespace marlin {

nlohmann::ordered_json json_result(std::string_view verb) {
  return {{"schema_version", kJsonSchema}, {"verb", verb}};
}

nlohmann::ordered_json to_json(const Problem& problem) {
  return {{"m", problem.shape.m},
          {"n", problem.shape.n},
          {"k", problem.shape.k},
          {"group", problem.scheme.group},
          {"exact_m", problem.shape.exact_m},
          {"batch_invariant", problem.batch_invariant},
          {"scheme", to_string(problem.scheme)}};
}

nlohmann::ordered_json to_json(const Target& target) {
  return {{"arch", target.arch}, {"sms", target.sms}};
}

std::string text_of(const nlohmann::ordered_json& json) {
  // Bytes that are no UTF-8 can stand in paths and compiler logs.
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

nlohmann::ordered_json to_json(const Timing& timing) {
  return {{"median_us", timing.median_us},
          {"min_us", timing.min_us},
          {"max_us", timing.max_us},
          {"launches", timing.launches},
          {"replays", timing.replays}};
}

}  // namespace marlin
