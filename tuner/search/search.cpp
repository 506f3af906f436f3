// A shape and a device that measures -> the shape's tuning records. Entry point: tune_cell.
#include "tuner/search/search.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>

#include "codegen/generator.h"
#include "codegen/plan/plan.h"
#include "runtime/compile/nvrtc.h"

namespace marlin {
namespace {

// Launch time that all trials of one cell may take, a launch of each.
constexpr double kTrialsUs = 50e3;
// From a launch of this many microseconds on, few finalists and rounds tell as much as many.
constexpr double kLongUs = 3000;

constexpr const char* kTrialProtocol = "trial/1";
constexpr const char* kRaceProtocol = "race/1";

TuningRecord record_of(const Problem& problem, const Config& config, TuningRecord::Kind kind,
                       const char* protocol) {
  TuningRecord record;
  record.kind = kind;
  record.problem = problem;
  record.config = config;
  record.schema = schema_of(config.family());
  record.protocol = protocol;
  return record;
}

void set_times(TuningRecord& record, const Timing& timing) {
  record.us = timing.median_us;
  record.min_us = timing.min_us;
  record.max_us = timing.max_us;
}

std::tuple<std::int64_t, int, int, std::string> complexity(const Problem& problem,
                                                           const Target& target,
                                                           const Config& config) {
  const Plan plan = make_plan(problem, target, config);
  return {plan.workspace.bytes, plan.launch.shared_bytes, plan.launch.threads, to_string(config)};
}

// How far the rounds' ratios of one contestant to another scatter about their median: the middle
// one of their distances from it, scaled to a normal distribution's deviation, of the median.
double scatter(const RaceTiming& one, const RaceTiming& other) {
  constexpr double kDeviation = 1.4826, kMedian = 1.2533;
  const double middle = paired_ratio(one, other);
  std::vector<double> distances;
  for (std::size_t i = 0; i < one.round_us.size(); ++i) {
    distances.push_back(std::abs(one.round_us[i] / other.round_us[i] - middle));
  }
  return kDeviation * kMedian * median(distances) / std::sqrt(double(distances.size()));
}

// Whether a race tells one contestant from the other, which was chosen.
bool is_level(const RaceTiming& one, const RaceTiming& chosen, double noise) {
  constexpr double kMostNoise = 0.02;  // the largest margin that scatter may claim for itself
  const double margin = std::max(noise, std::min(kMostNoise, 2 * scatter(one, chosen)));
  return paired_ratio(one, chosen) <= 1 + margin;
}

bool is_tie(const RaceTiming& one, const RaceTiming& fastest, double tie) {
  return std::max(paired_ratio(one, fastest), one.timing.median_us / fastest.timing.median_us) <=
         1 + tie;
}

std::size_t fastest_of(const std::vector<RaceTiming>& race) {
  const auto least =
      std::min_element(race.begin(), race.end(), [](const RaceTiming& x, const RaceTiming& y) {
        return x.timing.median_us < y.timing.median_us;
      });
  return static_cast<std::size_t>(least - race.begin());
}

// What the race says of this config; null where it was not raced.
const RaceTiming* lane_of(const std::optional<Config>& config, const std::vector<Config>& raced,
                          const std::vector<RaceTiming>& times) {
  for (std::size_t i = 0; i < raced.size(); ++i) {
    if (raced[i] == config) return &times[i];
  }
  return nullptr;
}

struct Candidate {
  Config config;
  double us = 0;        // of its trial; 0 before and without one
  bool failed = false;  // known not to work
};

bool is_fresh(const TuningRecord& record, const TuningSubject& subject) {
  return !is_stale(record, subject.nvrtc, subject.driver);
}

// Configs of one kind: where the model errs about one it errs about all of them.
std::string kind_of(const Config& config) {
  const bool wgmma = config.family() == Family::wgmma;
  return fmt::format("{} n{} w{} {} {}", name_of(config.family()), config.tile_n, config.warps_n,
                     kPartitionNames[static_cast<std::size_t>(config.partition.kind)],
                     wgmma ? 2 * config.wgmma().sum_sets + config.wgmma().whole_stage : 0);
}

// So many of the ranked: two thirds of them the first, the others the first of each further kind.
std::vector<Config> varied(const std::vector<Estimate>& ranked, std::size_t most) {
  std::vector<bool> taken(ranked.size());
  std::set<std::string> kinds;
  std::size_t count = most - most / 3;
  for (std::size_t i = 0; i < count; ++i) {
    taken[i] = true;
    kinds.insert(kind_of(ranked[i].config));
  }
  for (std::size_t i = count; i < ranked.size() && count < most; ++i) {
    if (!kinds.insert(kind_of(ranked[i].config)).second) continue;
    taken[i] = true;
    ++count;
  }
  for (std::size_t i = 0; i < ranked.size() && count < most; ++i) {
    if (taken[i]) continue;
    taken[i] = true;
    ++count;
  }
  std::vector<Config> configs;
  for (std::size_t i = 0; i < ranked.size(); ++i) {
    if (taken[i]) configs.push_back(ranked[i].config);
  }
  return configs;
}

// The choice that a run which resumes keeps.
std::optional<TuningRecord> kept_choice(const Problem& problem, const TuningJournal& journal,
                                        const SearchRules& rules) {
  if (!rules.resume) return std::nullopt;
  std::optional<TuningRecord> last;
  for (const TuningRecord& record : journal.records(problem)) {
    if (record.kind == TuningRecord::Kind::choice) last = record;
  }
  if (last && rules.retune_stale && !is_fresh(*last, journal.subject())) return std::nullopt;
  return last;
}

// The candidates with what the journal knows of them: failures always, trials where an interrupted
// run is to be gone on with.
std::vector<Candidate> known_candidates(const Problem& problem, const TuningJournal& journal,
                                        const SearchRules& rules) {
  std::vector<Candidate> candidates;
  for (const Config& config : candidates_for(problem, journal.subject(), rules)) {
    candidates.push_back({.config = config});
  }
  for (const TuningRecord& record : journal.records(problem)) {
    if (record.protocol != kTrialProtocol || !is_fresh(record, journal.subject())) continue;
    for (Candidate& candidate : candidates) {
      if (candidate.config != record.config) continue;
      candidate.failed = record.kind == TuningRecord::Kind::failure;
      candidate.us = rules.resume ? record.us : 0;
    }
  }
  return candidates;
}

// What is known and done about one cell.
class CellSearch {
 public:
  CellSearch(const Problem& problem, TuneDevice& device, TuningJournal& journal,
             const SearchRules& rules, const std::function<bool()>& stop)
      : shape_(problem), device_(device), journal_(journal), rules_(rules), stop_(stop) {}

  CellResult run();

 private:
  void try_out(Candidate& candidate);
  std::vector<Config> finalists(const std::vector<Candidate>& sorted, std::size_t most) const;
  void race(std::vector<Config> configs, int rounds);
  void decide(const std::vector<Config>& configs, const std::vector<RaceTiming>& times);

  const Problem& shape_;
  TuneDevice& device_;
  TuningJournal& journal_;
  const SearchRules& rules_;
  const std::function<bool()>& stop_;
  Config model_;  // the cost model's own choice
  CellResult result_;
};

void CellSearch::try_out(Candidate& candidate) {
  const Trial trial = device_.try_out(shape_, candidate.config);
  ++result_.tried;
  if (trial.failure.empty()) {
    TuningRecord timing =
        record_of(shape_, candidate.config, TuningRecord::Kind::timing, kTrialProtocol);
    set_times(timing, trial.timing);
    candidate.us = journal_.append(std::move(timing)).us;
  } else {
    TuningRecord failure =
        record_of(shape_, candidate.config, TuningRecord::Kind::failure, kTrialProtocol);
    failure.reason = trial.failure;
    journal_.append(std::move(failure));
    ++result_.failures;
  }
}

// Of candidates in the order of their trials: the close ones, and the model's and the present
// choice.
std::vector<Config> CellSearch::finalists(const std::vector<Candidate>& sorted,
                                          std::size_t most) const {
  std::vector<Config> chosen;
  for (const Candidate& candidate : sorted) {
    const bool close = candidate.us <= rules_.close * sorted.front().us;
    const bool always = candidate.config == model_ || candidate.config == rules_.present;
    if ((close && chosen.size() < most) || always) {
      chosen.push_back(candidate.config);
    }
  }
  return chosen;
}

void CellSearch::decide(const std::vector<Config>& configs, const std::vector<RaceTiming>& times) {
  for (std::size_t i = 0; i < configs.size(); ++i) {
    TuningRecord timing = record_of(shape_, configs[i], TuningRecord::Kind::timing, kRaceProtocol);
    set_times(timing, times[i].timing);
    journal_.append(std::move(timing));
  }
  std::size_t winner = pick_winner(shape_, journal_.subject().target, configs, times, rules_.tie);
  if (const RaceTiming* present = lane_of(rules_.present, configs, times)) {
    result_.present_us = present->timing.median_us;
    if (is_level(*present, times[winner], rules_.noise)) {
      winner = static_cast<std::size_t>(present - times.data());
    }
  }
  TuningRecord choice =
      record_of(shape_, configs[winner], TuningRecord::Kind::choice, kRaceProtocol);
  set_times(choice, times[winner].timing);
  choice.searched = searched_families();
  if (const RaceTiming* model = lane_of(model_, configs, times)) {
    choice.model_us = model->timing.median_us;
    result_.level = is_level(*model, times[winner], rules_.noise);
  }
  result_.choice = journal_.append(std::move(choice));
  result_.status = CellResult::Status::tuned;
}

// A finalist that brings the device down in company is looked for by trying each alone once more;
// those who pass run again.
void CellSearch::race(std::vector<Config> configs, int rounds) {
  constexpr int kAttempts = 3;
  for (int attempt = 0; attempt < kAttempts && !configs.empty(); ++attempt) {
    if (const auto times = device_.race(shape_, configs, rounds)) {
      return decide(configs, *times);
    }
    std::vector<Config> passed;
    for (const Config& config : configs) {
      Candidate candidate{.config = config};
      try_out(candidate);
      if (candidate.us > 0) passed.push_back(config);
    }
    configs = std::move(passed);
  }
  result_.status = CellResult::Status::failed;
  result_.why = "the device failed in every race of the fastest configs";
}

CellResult CellSearch::run() {
  if (const auto kept = kept_choice(shape_, journal_, rules_)) {
    result_.status = CellResult::Status::kept;
    result_.choice = *kept;
    return result_;
  }
  std::vector<Candidate> candidates = known_candidates(shape_, journal_, rules_);
  model_ = candidates.front().config;
  for (Candidate& candidate : candidates) {
    if (stop_()) return result_;
    result_.failures += candidate.failed;
    if (candidate.us <= 0 && !candidate.failed) try_out(candidate);
  }
  if (stop_()) return result_;
  std::erase_if(candidates, [](const Candidate& candidate) { return candidate.us <= 0; });
  if (candidates.empty()) {
    result_.status = CellResult::Status::failed;
    result_.why = fmt::format("none of {} configs works", result_.failures);
    return result_;
  }
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& x, const Candidate& y) { return x.us < y.us; });
  const int share = candidates.front().us > kLongUs ? 2 : 1;
  race(finalists(candidates, rules_.finalists / static_cast<std::size_t>(share)),
       rules_.rounds / share);
  return result_;
}

}  // namespace

std::vector<Config> candidates_for(const Problem& problem, const TuningSubject& subject,
                                   const SearchRules& rules) {
  const GpuModel board = gpu_model_of(subject.target, subject.gpu);
  const std::vector<Estimate> ranked =
      rank_configs(problem, subject.target, board, subject.chained, version_number(subject.nvrtc));
  std::size_t most = rules.candidates == 0 ? ranked.size() : rules.candidates;
  if (rules.candidates != 0) {
    most = std::clamp<std::size_t>(static_cast<std::size_t>(kTrialsUs / ranked.front().us),
                                   (most + 2) / 3, most);
  }
  std::vector<Config> configs = varied(ranked, std::min(most, ranked.size()));
  if (rules.present && !why_illegal(problem, subject.target, *rules.present) &&
      std::find(configs.begin(), configs.end(), *rules.present) == configs.end()) {
    configs.push_back(*rules.present);
  }
  return configs;
}

std::vector<Config> configs_to_try(const Problem& problem, const TuningJournal& journal,
                                   const SearchRules& rules) {
  std::vector<Config> configs;
  if (kept_choice(problem, journal, rules)) return configs;
  for (const Candidate& candidate : known_candidates(problem, journal, rules)) {
    if (candidate.us <= 0 && !candidate.failed) configs.push_back(candidate.config);
  }
  return configs;
}

std::size_t pick_winner(const Problem& problem, const Target& target,
                        const std::vector<Config>& configs, const std::vector<RaceTiming>& race,
                        double tie) {
  const std::size_t fastest = fastest_of(race);
  std::size_t winner = fastest;
  for (std::size_t i = 0; i < configs.size(); ++i) {
    if (is_tie(race[i], race[fastest], tie) &&
        complexity(problem, target, configs[i]) < complexity(problem, target, configs[winner])) {
      winner = i;
    }
  }
  return winner;
}

std::optional<double> CellResult::gain() const {
  if (choice.model_us <= 0) return std::nullopt;
  return level ? 1.0 : std::max(1.0, choice.model_us / choice.us);
}

CellResult tune_cell(const Problem& problem, TuneDevice& device, TuningJournal& journal,
                     const SearchRules& rules, const std::function<bool()>& stop) {
  try {
    return CellSearch(problem, device, journal, rules, stop).run();
  } catch (const DeviceFailure& failure) {
    CellResult result;
    result.status = CellResult::Status::failed;
    result.why = failure.what();
    return result;
  }
}

}  // namespace marlin
