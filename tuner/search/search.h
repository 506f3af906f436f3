// Search: one shape -> the config to use for it, by measuring the configs the cost model ranks
// first. It knows the device only by what TuneDevice says, and the kernel families only by their
// configs.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "codegen/cost/cost.h"
#include "tuner/measure/measure.h"
#include "tuner/search/tuning_journal.h"

namespace marlin {

// A config tried on its own: its brief timing, or why it must not be used.
struct Trial {
  Timing timing;
  std::string failure;  // wrong results, a crash, a hang, a refused compile
};

// The device cannot be measured on any more, or not for this shape (no memory, say); no config is
// to blame.
class DeviceFailure : public Error {
 public:
  explicit DeviceFailure(const std::string& message) : Error(ErrorCode::driver_failed, message) {}
};

// A GPU, or a test's make-believe of one. Used by one thread.
class TuneDevice {
 public:
  virtual ~TuneDevice() = default;

  // Checks the config's results against the reference, then times it briefly. Throws
  // DeviceFailure.
  virtual Trial try_out(const Problem& problem, const Config& config) = 0;
  // Times the configs against each other (see Timer::race), each of which passed its trial. Nothing
  // when one of them brought the device down; it works again afterwards. Throws DeviceFailure.
  virtual std::optional<std::vector<RaceTiming>> race(const Problem& problem,
                                                      const std::vector<Config>& configs,
                                                      int rounds) = 0;
};

struct SearchRules {
  std::size_t candidates = 24;  // configs tried, see candidates_for(); 0: all
  std::size_t finalists = 6;    // of these, raced; half where a launch takes milliseconds
  double close = 1.08;          // a finalist's trial is within this of the fastest
  int rounds = 8;               // of the race; half as well
  double tie = 0.005;           // the simplest of the configs as close as this is used
  double noise = 0.01;          // what is no closer than this to the model's choice is a gain
  bool resume = false;          // keep the choices and trials the journal has
  bool retune_stale = false;    // but not those made with other versions
  // What is used now: tried and raced as well, whatever the model's rank of it, and chosen again
  // where nothing is faster beyond the noise.
  std::optional<Config> present = {};
};

// The configs to try for this shape, in the order of the cost model, whose own choice comes first:
// those it ranks first, and beside these the first of each other kind, of which it may think wrong;
// last, the present one, where it is legal and not among them. Where a launch takes milliseconds
// there are fewer, down to a third: the largest products would else take all the time, and differ
// least.
std::vector<Config> candidates_for(const Problem& problem, const TuningSubject& subject,
                                   const SearchRules& rules);

// Of those, the ones a run has to try: none where it keeps the journal's choice, and without what
// the journal knows already.
std::vector<Config> configs_to_try(const Problem& problem, const TuningJournal& journal,
                                   const SearchRules& rules);

// Of raced configs, the one to use: the simplest of those within `tie` of the fastest, by their
// medians and by the median over the rounds of the paired ratios. Simpler is less workspace, then
// less shared memory, then fewer threads, then the order of the names. At least one config.
std::size_t pick_winner(const Problem& problem, const Target& target,
                        const std::vector<Config>& configs, const std::vector<RaceTiming>& race,
                        double tie);

struct CellResult {
  enum class Status { tuned, kept, failed, stopped };
  Status status = Status::stopped;
  TuningRecord choice;       // tuned and kept
  std::size_t tried = 0;     // trials of this run
  std::size_t failures = 0;  // configs known not to work
  bool level = false;        // tuned: the model's own config is no slower beyond the noise, or
                             // beyond the rounds' own scatter where that is larger
  double present_us = 0;     // of the present config in the race; 0 where it was not raced
  std::string why;           // failed

  // The cost model's own choice over the chosen one; 1 where they are level or the chosen one is
  // the simpler of the two, nothing where the model's was not raced.
  std::optional<double> gain() const;
};

// Tunes one shape; every measurement is in the journal before the next begins. Stops between
// measurements when `stop` says so. Configs the journal knows to fail are not tried again. Throws
// Error{io} of the journal.
CellResult tune_cell(const Problem& problem, TuneDevice& device, TuningJournal& journal,
                     const SearchRules& rules, const std::function<bool()>& stop);

}  // namespace marlin
