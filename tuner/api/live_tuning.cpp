// Ladders -> cells, each measured -> records in their database and kernels in the ladders' slots.
// Entry point: tune_ladders.
#include "tuner/api/live_tuning.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "codegen/base/error.h"
#include "runtime/compile/nvrtc.h"
#include "runtime/driver/device.h"
#include "runtime/driver/driver.h"
#include "runtime/launch/first_use.h"
#include "runtime/launch/kernel.h"
#include "tuner/measure/clock.h"
#include "tuner/measure/measure.h"
#include "tuner/search/tuning_journal.h"

namespace marlin {
namespace {

constexpr std::int64_t kMostDefaultRows = 256;

[[noreturn]] void refuse(const std::string& message) {
  throw Error(ErrorCode::invalid_argument, message);
}

// A race of few configs and rounds: a cell has tenths of a second.
SearchRules brief_rules(const TuneOptions& options) {
  SearchRules rules;
  rules.candidates = static_cast<std::size_t>(options.candidates);
  rules.finalists = 3;
  rules.rounds = 4;
  rules.resume = !options.retune;
  return rules;
}

// One cell of the result, and whose it is.
struct LiveCell {
  TunedCell told;
  int rung = 0;
  std::vector<const Ladder*> ladders;
  Config before;
};

// Cells that are measured alike and kept in one database.
struct LiveRun {
  std::string db;
  bool chained = false;  // as launches are measured, where the GPU can
  Options options;       // of its first ladder
  Settings settings;
  std::vector<LiveCell> cells;
};

void require_sound(const TuneOptions& options) {
  for (const std::int64_t m : options.rows) {
    if (m < 1 || m > kMaxM) refuse(fmt::format("rows = {} is not in 1..{}", m, kMaxM));
  }
  if (options.candidates < 0)
    refuse(fmt::format("candidates = {} is negative", options.candidates));
  if (options.threads < 0) refuse(fmt::format("threads = {} is negative", options.threads));
  if (!(options.budget_seconds >= 0)) {
    refuse(fmt::format("budget_seconds = {} is not 0 or more", options.budget_seconds));
  }
  if (options.stream == CU_STREAM_LEGACY) {
    refuse("the legacy stream cannot be captured: give another, or null for one of its own");
  }
}

void require_tunable(const Ladder& ladder, const TuneOptions& options) {
  ladder.require_context();
  const std::string fixed = Ladder::why_fixed(ladder.options());
  if (options.swap && !fixed.empty()) {
    refuse(fmt::format("the kernels of one of the Linears must not be exchanged: {}", fixed));
  }
}

void require_no_capture(CUstream stream) {
  if (!capture_under_way(stream)) return;
  throw Error(ErrorCode::capturing,
              "tune() measures on this GPU, and a stream capture is under way: call it before the "
              "capture or after");
}

// The runs of one call, with the rungs that are asked for or that the ladders have.
class Plans {
 public:
  Plans(const TuneOptions& options, const Target& target)
      : options_(options), can_chain_(can_chain(target)) {}

  void add(const Ladder& ladder) {
    Settings settings = ladder.store().settings_for(ladder.options());
    if (settings.disable_jit) {
      throw Error(ErrorCode::jit_disabled, "tuning compiles kernels, and compiling is disabled");
    }
    const std::string db = options_.db.value_or(settings.tuning_db);
    if (db.empty()) {
      refuse(
          "no place for the tuning database: set TuneOptions::db, Options::tuning_db or "
          "MARLIN_TUNING_DB");
    }
    const bool chained = ladder.options().chained;
    Layers& layers = runs_[{db, chained}];
    if (layers.run.db.empty()) {
      layers.run = {.db = db,
                    .chained = chained && can_chain_,
                    .options = ladder.options(),
                    .settings = std::move(settings),
                    .cells = {}};
    }
    Problem layer = ladder.problem_at(0);
    const auto found = std::find_if(
        layers.ladders.begin(), layers.ladders.end(),
        [&](const std::vector<const Ladder*>& same) { return same[0]->problem_at(0) == layer; });
    if (found == layers.ladders.end()) {
      layers.ladders.push_back({&ladder});
    } else if (std::find(found->begin(), found->end(), &ladder) == found->end()) {
      found->push_back(&ladder);
    }
  }

  std::vector<LiveRun> runs() {
    std::vector<LiveRun> runs;
    int number = 0;
    for (auto& [key, layers] : runs_) {
      LiveRun run = std::move(layers.run);
      for (const auto& ladders : layers.ladders) {
        for (const int rung : rungs_for(ladders)) run.cells.push_back(cell(rung, ladders));
      }
      std::stable_sort(run.cells.begin(), run.cells.end(),
                       [](const LiveCell& x, const LiveCell& y) { return x.rung < y.rung; });
      for (LiveCell& cell : run.cells) cell.told.number = ++number;
      runs.push_back(std::move(run));
    }
    for (LiveRun& run : runs) {
      for (LiveCell& cell : run.cells) cell.told.of = number;
    }
    return runs;
  }

 private:
  struct Layers {
    LiveRun run;
    std::vector<std::vector<const Ladder*>> ladders;  // those of the same problem together
  };

  std::set<int> rungs_for(const std::vector<const Ladder*>& ladders) const {
    std::set<int> wanted;
    for (const std::int64_t m : options_.rows) wanted.insert(rung_index(m));
    if (!wanted.empty()) return wanted;
    for (const Ladder* ladder : ladders) {
      for (int rung = 0; rung < kRungs; ++rung) {
        if (ladder->kernel_at(rung) != nullptr) wanted.insert(rung);
      }
    }
    if (!wanted.empty()) return wanted;
    for (int rung = 0; rung <= rung_index(kMostDefaultRows); ++rung) wanted.insert(rung);
    return wanted;
  }

  // What launches have now: of the first ladder that has a kernel, else what it would get.
  static LiveCell cell(int rung, const std::vector<const Ladder*>& ladders) {
    const Ladder& first = *ladders.front();
    LiveCell cell{.told = {}, .rung = rung, .ladders = ladders, .before = {}};
    const auto filled = std::find_if(ladders.begin(), ladders.end(), [&](const Ladder* ladder) {
      return ladder->kernel_at(rung) != nullptr;
    });
    cell.told.problem = first.problem_at(rung);
    cell.told.chained = first.options().chained;
    cell.before = filled != ladders.end()
                      ? (*filled)->kernel_at(rung)->plan().config
                      : first.store().present(cell.told.problem, first.options()).config;
    cell.told.config_before = cell.told.config_after = to_string(cell.before);
    return cell;
  }

  const TuneOptions& options_;
  bool can_chain_;
  std::map<std::pair<std::string, bool>, Layers> runs_;
};

// Goes through the runs of one call.
class LiveTuning {
 public:
  LiveTuning(const TuneOptions& options, const LazyDevice::Make& make)
      : options_(options), make_(make), rules_(brief_rules(options)), begin_(now()) {}

  // Throws Error{driver_failed} when the device is lost.
  void tune(LiveRun& run) {
    const ContextTarget& here = target_of_current_context();
    TuningJournal journal(run.db, {device_name(here.device), here.target, nvrtc().version(),
                                   driver().version, run.chained});
    LazyDevice device(make_, setup_for(run, journal));
    for (LiveCell& cell : run.cells) {
      if (ended()) return;
      tune(cell, device, journal);
      if (device.lost()) {
        throw Error(ErrorCode::driver_failed,
                    fmt::format("tuning {} has lost the CUDA context: {}",
                                to_string(cell.told.problem), device.why_lost()));
      }
      if (options_.progress && !options_.progress(cell.told)) stopped_ = true;
    }
  }

 private:
  bool ended() const {
    return stopped_ || (options_.budget_seconds > 0 && now() - begin_ >= options_.budget_seconds);
  }

  SearchRules rules_for(const LiveCell& cell) const {
    SearchRules rules = rules_;
    rules.present = cell.before;
    return rules;
  }

  LiveSetup setup_for(const LiveRun& run, const TuningJournal& journal) const {
    LiveSetup setup{.chained = run.chained,
                    .stream = options_.stream,
                    .options = run.options,
                    .settings = run.settings,
                    .jobs = {},
                    .threads = static_cast<unsigned>(options_.threads)};
    setup.options.target.reset();
    if (setup.threads == 0) setup.threads = std::max(1U, std::thread::hardware_concurrency());
    if (ended()) return setup;
    for (const LiveCell& cell : run.cells) {
      for (const Config& config : configs_to_try(cell.told.problem, journal, rules_for(cell))) {
        setup.jobs.push_back({cell.told.problem, config});
      }
    }
    return setup;
  }

  void tune(LiveCell& cell, LazyDevice& device, TuningJournal& journal) const {
    const SearchRules rules = rules_for(cell);
    const CellResult result = tune_cell(cell.told.problem, device, journal, rules,
                                        [&] { return ended() || device.lost(); });
    cell.told.us_before = result.present_us;
    switch (result.status) {
      case CellResult::Status::stopped: return;
      case CellResult::Status::failed: return fail(cell.told, result.why);
      case CellResult::Status::kept: cell.told.status = TunedCell::Status::kept; break;
      case CellResult::Status::tuned:
        cell.told.status = TunedCell::Status::tuned;
        cell.told.us_after = result.choice.us;
        break;
    }
    try {
      take(cell, result.choice.config, journal.path(), device.compile());
    } catch (const Error& error) {
      fail(cell.told, error.what());
    }
  }

  static void fail(TunedCell& told, const std::string& why) {
    told.status = TunedCell::Status::failed;
    told.why = why;
  }

  // The stores first, so that no rung that is filled meanwhile misses it.
  void take(LiveCell& cell, const Config& config, const std::string& db,
            const CompileStep& compile) const {
    for (const Ladder* ladder : cell.ladders) {
      ladder->store().read_again(db);
      if (!Ladder::why_fixed(ladder->options()).empty()) continue;  // not what get() gives others
      const Kernel* kernel =
          ladder->store().adopt(cell.told.problem, ladder->options(), config, compile);
      const Kernel* before = ladder->kernel_at(cell.rung);
      if (!options_.swap || (before != nullptr && before->plan().config == config)) continue;
      ladder->exchange(cell.rung, kernel);
      cell.told.exchanged += before != nullptr;
    }
    cell.told.config_after = to_string(config);
  }

  const TuneOptions& options_;
  const LazyDevice::Make& make_;
  SearchRules rules_;
  double begin_;
  bool stopped_ = false;
};

// Of the calls that measure on one GPU at a time.
std::mutex& mutex_of(int device) {
  static std::mutex mutex;
  static auto& mutexes = *new std::map<int, std::mutex>;  // outlives threads that end after main()
  const std::lock_guard lock(mutex);
  return mutexes[device];
}

}  // namespace

std::vector<TunedCell> tune_ladders(std::span<const Ladder* const> ladders,
                                    const TuneOptions& options, const LazyDevice::Make& make) {
  require_sound(options);
  if (TuningHere::on_this_thread()) refuse("tune() was called from its own progress callback");
  if (ladders.empty()) return {};
  for (const Ladder* ladder : ladders) require_tunable(*ladder, options);
  require_no_capture(options.stream);
  const ContextTarget& here = target_of_current_context();
  const std::lock_guard lock(mutex_of(here.device));
  const TuningHere tuning;
  const RelaxedCapture relaxed;  // others may begin captures meanwhile
  Plans plans(options, here.target);
  for (const Ladder* ladder : ladders) plans.add(*ladder);
  std::vector<LiveRun> runs = plans.runs();
  LiveTuning live(options, make);
  for (LiveRun& run : runs) live.tune(run);
  std::vector<TunedCell> told;
  for (const LiveRun& run : runs) {
    for (const LiveCell& cell : run.cells) told.push_back(cell.told);
  }
  return told;
}

}  // namespace marlin
