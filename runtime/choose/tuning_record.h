// TuningRecord: one line of a tuning database, JSON Lines of what was measured and chosen.
//
// A line is canonical: fields in a fixed order, no blanks, a checksum last. Whatever does not read
// back to the same bytes is refused, so a line is either as it was written or not used.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "codegen/plan/config.h"
#include "codegen/problem/problem.h"
#include "codegen/problem/target.h"

namespace marlin {

struct TuningRecord {
  enum class Kind {
    choice,   // the config to use for this shape on this GPU
    timing,   // a config that passed its check, and its time
    failure,  // a config that must not be tried again, and why
  };
  Kind kind = Kind::choice;
  std::string gpu;  // as its driver calls it: "NVIDIA H200"
  Target target;
  Problem problem;  // m is a rung unless it is exact
  // Measured in launches chained by programmatic dependent launch, not in isolated ones: the two
  // are tuned apart, and a record of one kind never stands for one of the other.
  bool chained = false;
  Config config;
  int schema = 0;        // the kernel schema of the config's family
  std::string searched;  // choice: the families searched, "stripe/1"
  std::string protocol;  // how it was timed: "race/1"
  double us = 0;         // median of one launch; 0 for a failure
  double min_us = 0, max_us = 0;
  double model_us = 0;  // choice: the cost model's own config in the same race; 0 when not timed
  std::string reason;   // failure: why, at most 200 characters
  std::string nvrtc;    // NVRTC's version: "13.0"
  int driver = 0;       // CUDA version of the driver: 13000
};

// One line, ending in a newline. Times are rounded to nanoseconds; texts keep 200 characters, and
// what is no printable ASCII becomes '?'. Throws Error{invalid_argument} with the rule for a record
// that parse_line() would not give back.
std::string to_line(const TuningRecord& record);

struct ParsedLine {
  std::optional<TuningRecord> record;
  std::string problem;  // why there is none: the broken rule
};

inline constexpr std::size_t kMostLineBytes = 4096;

// A line without its newline. Never throws for what is in it. A record that comes back has a valid
// shape and target, and a config that is legal for them when its schema is the current one.
ParsedLine parse_line(std::string_view line);

// Whether the record's timing is of the kernels as they are emitted now. One that is not is never
// used.
bool current_schema(const TuningRecord& record);

// Whether the record was measured with other versions than these, or, for a choice, before all
// families of today were there: still used, and worth measuring again. An NVRTC "" and a driver 0
// are unknown and make nothing stale.
bool is_stale(const TuningRecord& record, std::string_view nvrtc, int driver);

}  // namespace marlin
