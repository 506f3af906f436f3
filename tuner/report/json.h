// JSON of what every result speaks of: shapes, targets, timings.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "codegen/problem/problem.h"
#include "codegen/problem/target.h"
#include "tuner/measure/measure.h"

namespace marlin {

// Begins every JSON result: {"schema_version": 1, "verb": verb}.
inline constexpr int kJsonSchema = 1;
nlohmann::ordered_json json_result(std::string_view verb);
// m, n, k, group, exact_m, batch_invariant, scheme.
nlohmann::ordered_json to_json(const Problem& problem);
nlohmann::ordered_json to_json(const Target& target);  // arch, sms

// median_us, min_us, max_us, launches, replays.
nlohmann::ordered_json to_json(const Timing& timing);

// As it is printed: indented, ending in a newline, what is no UTF-8 replaced.
std::string text_of(const nlohmann::ordered_json& json);

}  // namespace marlin
