// What must hold for any bytes that are taken for a tuning database.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

#include "codegen/generator.h"
#include "runtime/base/sha256.h"
#include "runtime/choose/tuning_db.h"
#include "tests/unit/problems.h"

namespace marlin::test {

inline void require(bool holds, const char* what, std::string_view input) {
  if (!holds) throw std::logic_error(fmt::format("{}:\n{}", what, input));
}

// Each line that has a checksum gets the right one, so that what is behind it is reached.
inline std::string sealed(std::string_view text) {
  std::string result;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = text.substr(begin, end - begin);
    const std::size_t sum = line.find(",\"sum\":\"");
    result += line.substr(0, sum);
    if (sum != std::string_view::npos) {
      result += fmt::format(",\"sum\":\"{}\"}}", sha256_hex(line.substr(0, sum)).substr(0, 16));
    }
    if (end < text.size()) result += '\n';
    begin = end + 1;
  }
  return result;
}

inline void check_line(std::string_view line) {
  const ParsedLine parsed = parse_line(line);
  require(parsed.record.has_value() == parsed.problem.empty(), "a record or a problem", line);
  if (!parsed.record) return;
  const TuningRecord& record = *parsed.record;
  require(to_line(record) == std::string(line) + "\n", "the same bytes again", line);
  require(!broken_rule(record.problem), "a valid shape", line);
  require_valid(record.target);
  require(!current_schema(record) || !why_illegal(record.problem, record.target, record.config),
          "a legal config", line);
}

inline void check_look_up(const std::string& text, const Problem& problem, const Target& target) {
  const auto file = std::make_shared<const TuningFile>("file", text);
  for (const TuningRecord& record : file->choices(problem, target)) {
    const bool asked_for = record.kind == TuningRecord::Kind::choice && current_schema(record) &&
                           record.target == target && record.problem.shape.n == problem.shape.n &&
                           record.problem.shape.k == problem.shape.k &&
                           record.problem.scheme.group == problem.scheme.group;
    require(asked_for, "only what was asked for", text);
  }
  const TuningLayers layers({file});
  for (const char* gpu : {"", "NVIDIA H200"}) {
    for (const bool chained : {false, true}) {
      const auto found = layers.candidates(problem, target, gpu, chained);
      for (const TunedChoice& choice : found) {
        const TuningRecord& record = choice.record;
        const bool exact = record.problem == problem && (*gpu == '\0' || record.gpu == gpu);
        require(!choice.exact || !why_illegal(problem, target, record.config), "a legal answer",
                text);
        require(!choice.exact || (exact && &choice == &found.back()), "an answer that is the last",
                text);
        require(chained || !record.chained, "a choice for launches of this kind", text);
      }
    }
  }
}

inline void check_database(const std::string& text) {
  check_line(text);
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    check_line(std::string_view(text).substr(begin, end - begin));
    begin = end + 1;
  }
  check_look_up(text, problem_of(16, 4096, 4096, 128, false), {"sm_90a", 132});
  check_look_up(text, problem_of(13, 4096, 4096, 128, true), {"sm_90a", 132});
  check_look_up(text, problem_of(16, 4096, 512, -1, false), {"sm_80", 108});
  check_look_up(text, problem_of(INT64_MAX, -1, 0, 7, false), {"", -1});
}

}  // namespace marlin::test
