// What the verbs share: shapes, targets and configs from options, JSON, progress, interrupts.
#pragma once

#include <CLI/CLI.hpp>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "codegen/plan/config.h"
#include "codegen/problem/problem.h"
#include "codegen/problem/target.h"
#include "runtime/choose/select.h"
#include "runtime/choose/tuning_db.h"
#include "tuner/report/json.h"
#include "tuner/report/table.h"
#include "tuner/search/interrupts.h"
#include "tuner/search/named_problem.h"

namespace marlin {

// --shape, --shapes, --m, --scheme, --group, --exact, --batch-invariant.
struct ShapeOptions {
  std::vector<std::string> shapes;   // MxNxK or NxK
  std::vector<std::string> sets;     // preset names or files
  std::vector<std::int64_t> m;       // for what comes without an M of its own
  std::vector<std::string> schemes;  // "f16.u4b8.g128" when both are empty
  std::vector<int> groups;           // f16.u4b8 with these
  bool exact = false;
  bool batch_invariant = false;
  std::vector<std::int64_t> default_m;  // set by a verb that needs no --m; used where m is empty

  void add_to(CLI::App& verb);

  // All shapes in the order given, each once and each valid; at least one. Throws
  // Error{invalid_shape} with the broken rule and Error{invalid_argument} for what cannot be read.
  std::vector<NamedProblem> resolve() const;
  // The same for a verb that works on one shape.
  NamedProblem resolve_one() const;
};

// --arch, --sms.
struct TargetOptions {
  std::vector<std::string> archs;
  std::vector<int> sms;

  void add_to(CLI::App& verb);

  // Lists of equal length pair up; a single arch or a single count goes with every entry of the
  // other list. What is left out comes from the GPU here: no --arch means its architecture, no
  // --sms its SM count when the architecture is its own. Throws Error{invalid_target}.
  std::vector<Target> resolve() const;
  // The same for a verb that works on one target.
  Target resolve_one() const;
};

// The architecture and SM count of GPU 0, or nothing without a driver or a GPU.
std::optional<Target> gpu_target();

// The name of GPU 0 when it is of this target, else "".
std::string gpu_name_of(const Target& target);

// The tuning databases that the environment names, as Compiled::get() looks them up; read once.
const TuningLayers& tuning_layers();

// The choice of this text (a config, "model" or "" as for Options::config), checked against shape
// and target. `gpu` as its driver calls it, "" for any; `chained` as Options::chained;
// `nvrtc` as for choose_config(). Throws
// Error{invalid_config}.
Choice choice_for(const std::string& text, const Problem& problem, const Target& target,
                  std::string_view gpu, bool chained = false, int nvrtc = 0);
// Its config, for the GPU here when it is of this target.
Config config_for(const std::string& text, const Problem& problem, const Target& target,
                  bool chained = false);

// Writes to stdout and flushes; throws Error{io} when stdout cannot take it.
void print(std::string_view text);
// To where OutputFile writes, or to stdout when the path is empty. Throws Error{io} and leaves no
// part of a file.
void print_or_write(std::string_view bytes, const std::string& path);
// What a verb says of the results it wrote to `output`: on stdout, or on stderr where stdout has
// the results themselves.
void report(std::string_view text, const std::string& output);
// One line on stderr, whatever stderr is: for warnings and refusals.
void warn(std::string_view line);

// A counter line on stderr, rewritten in place, and nothing at all unless stderr is a terminal.
// Thread safe. The line is wiped at the end.
class Progress {
 public:
  Progress(std::string label, std::size_t total);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // One more item is finished; `what` names the latest.
  void step(std::string_view what);

 private:
  void show(std::string_view what) const;

  std::mutex mutex_;
  std::string label_;
  std::size_t total_, done_ = 0;
  bool terminal_;
};

}  // namespace marlin
