// marlin tune: shapes -> measured choices in the user's tuning database.
// Entry points: add_tune, add_tune_worker.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <random>
#include <thread>

#include "codegen/base/error.h"
#include "runtime/choose/settings.h"
#include "runtime/choose/tuning_db.h"
#include "runtime/compile/nvrtc.h"
#include "runtime/driver/device.h"
#include "runtime/driver/driver.h"
#include "tuner/cli/cli_common.h"
#include "tuner/cli/verbs.h"
#include "tuner/search/tune_bench.h"
#include "tuner/search/tune_run.h"
#include "tuner/search/tune_worker.h"

namespace marlin {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr double kPatience = 120;  // seconds for one answer: the largest shapes take some

struct TuneOptions {
  ShapeOptions shapes;
  std::vector<int> devices = {0};
  std::string budget, shard, db;
  std::optional<std::uint64_t> seed;
  SearchRules rules;
  unsigned jobs = 0;
  bool chained = false, json = false;
};

struct TuneSummary {
  const TuneOptions& options;
  std::string db;
  TuningSubject subject;
  std::uint64_t seed = 0;
  std::vector<TuneCell> cells;
  std::size_t compiled = 0;
  double seconds = 0;
};

[[noreturn]] void refuse(const std::string& message) {
  throw Error(ErrorCode::invalid_argument, message);
}

// "90s", "3m", "1h"; 0 for nothing.
double seconds_of(const std::string& text) {
  if (text.empty()) return 0;
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string unit(end, text.data() + text.size());
  const double scale = unit == "s" ? 1 : unit == "m" ? 60 : unit == "h" ? 3600 : 0;
  if (error != std::errc() || scale == 0 || !(value > 0)) {
    refuse(fmt::format("--budget {}: write seconds, minutes or hours as 90s, 3m or 1h", text));
  }
  return value * scale;
}

// "2/3" -> (2, 3); (1, 1) for nothing.
std::pair<int, int> shard_from(const std::string& text) {
  if (text.empty()) return {1, 1};
  int i = 0, n = 0;
  const char* const last = text.data() + text.size();
  const auto first = std::from_chars(text.data(), last, i);
  if (first.ptr != last && *first.ptr == '/') {
    const auto second = std::from_chars(first.ptr + 1, last, n);
    if (second.ec == std::errc() && second.ptr == last && i >= 1 && i <= n) return {i, n};
  }
  refuse(fmt::format("--shard {}: write i/n with i in 1..n, as 2/3", text));
}

std::string db_path(const TuneOptions& options) {
  std::string path = options.db.empty() ? default_tuning_db() : options.db;
  if (path.empty()) refuse("no place for the tuning database: give --db FILE or MARLIN_TUNING_DB");
  return path;
}

std::string duration(double seconds) {
  if (seconds < 60) return fmt::format("{:.0f}s", seconds);
  const long whole = std::lround(seconds);
  return fmt::format("{}m{:02}s", whole / 60, whole % 60);
}

CUdevice device_of(int ordinal) {
  CUdevice device = 0;
  check(driver().cuDeviceGet(&device, ordinal), "cuDeviceGet");
  return device;
}

// What would else be told by a worker that does not come up. Makes no context here.
void require_devices(const TuneOptions& options) {
  const std::vector<int>& devices = options.devices;
  int count = 0;
  check(driver().cuDeviceGetCount(&count), "cuDeviceGetCount");
  for (const int device : devices) {
    if (device >= count) {
      throw Error(ErrorCode::no_device,
                  fmt::format("--devices {}: the GPUs here are 0 to {}", device, count - 1));
    }
    if (std::count(devices.begin(), devices.end(), device) > 1) {
      refuse(fmt::format("--devices names {} twice", device));
    }
    if (options.chained) require_can_chain(target_of_device(device_of(device)));
  }
}

using Devices = std::vector<std::unique_ptr<RemoteDevice>>;

std::vector<std::string> worker_command(const TuneOptions& options, int device,
                                        std::uint64_t seed) {
  std::vector<std::string> command = {std::filesystem::read_symlink("/proc/self/exe"),
                                      "tune-worker",
                                      "--device",
                                      std::to_string(device),
                                      "--seed",
                                      std::to_string(seed)};
  if (options.chained) command.emplace_back("--chained");
  return command;
}

Devices start_workers(const TuneOptions& options, std::uint64_t seed) {
  Devices devices;
  for (const int device : options.devices) {
    devices.push_back(
        std::make_unique<RemoteDevice>(worker_command(options, device, seed), kPatience));
    const WorkerHello& first = devices.front()->hello();
    const WorkerHello& hello = devices.back()->hello();
    if (hello.gpu != first.gpu || hello.target != first.target) {
      refuse(
          fmt::format("--devices {} and {} are a {} and a {}: tune unequal GPUs one after the "
                      "other",
                      options.devices.front(), device, first.gpu, hello.gpu));
    }
  }
  return devices;
}

std::vector<CompileAhead::Job> compile_jobs(const TuneSummary& run, const TuningJournal& journal) {
  std::vector<CompileAhead::Job> jobs;
  for (const TuneCell& cell : run.cells) {
    const Problem& problem = cell.named.problem;
    for (const Config& config : configs_to_try(problem, journal, run.options.rules)) {
      jobs.push_back({problem, config});
    }
  }
  return jobs;
}

// Kernels go to the workers through the user's cache.
Settings settings_with_cache() {
  Settings settings = settings_from({});
  if (settings.cache_dir.empty()) {
    refuse("tuning passes kernels through the user's cache: set MARLIN_CACHE_DIR");
  }
  return settings;
}

// The cores beside those that feed the GPUs.
unsigned compile_threads(const TuneOptions& options) {
  if (options.jobs != 0) return options.jobs;
  const unsigned cores = std::thread::hardware_concurrency();
  const auto feeding = static_cast<unsigned>(options.devices.size());
  return cores > feeding ? cores - feeding : 1;
}

// What a cell costs beside the others: the largest products take longer than anything else.
double weight_of(const Problem& problem) {
  const double operations =
      2.0 * double(problem.shape.m) * double(problem.shape.n) * double(problem.shape.k);
  return 1 + operations / 2e13;
}

// Counts cells and estimates the time left from what those done so far took.
class TuneProgress {
 public:
  explicit TuneProgress(const std::vector<TuneCell>& cells)
      : progress_("tune", cells.size()), begin_(Clock::now()) {
    for (const TuneCell& cell : cells) left_ += weight_of(cell.named.problem);
  }

  void step(const TuneCell& cell) {
    const double weight = weight_of(cell.named.problem);
    left_ -= weight;
    done_ += weight;
    const double passed = std::chrono::duration<double>(Clock::now() - begin_).count();
    progress_.step(fmt::format("{}, about {} left", to_string(cell.named.problem),
                               duration(passed / done_ * left_)));
  }

 private:
  Progress progress_;
  Clock::time_point begin_;
  double left_ = 0, done_ = 0;
};

const char* name_of(CellResult::Status status) {
  switch (status) {
    case CellResult::Status::tuned: return "tuned";
    case CellResult::Status::kept: return "kept";
    case CellResult::Status::failed: return "failed";
    case CellResult::Status::stopped: return "left";
  }
  return "unknown";
}

std::size_t count(const TuneSummary& run, CellResult::Status status) {
  return static_cast<std::size_t>(
      std::count_if(run.cells.begin(), run.cells.end(),
                    [status](const TuneCell& cell) { return cell.result.status == status; }));
}

// Geometric mean of what tuning gained over the model's choices; 0 where nothing tells.
double mean_gain(const TuneSummary& run) {
  std::vector<double> gains;
  for (const TuneCell& cell : run.cells) {
    if (const auto gain = cell.result.gain()) gains.push_back(*gain);
  }
  return geometric_mean(gains);
}

bool has_choice(const CellResult& result) {
  return result.status == CellResult::Status::tuned || result.status == CellResult::Status::kept;
}

std::string summary_of(const TuneSummary& run) {
  std::vector<std::vector<std::string>> rows = {
      {"status", "layer", "shape", "us", "gain", "tried", "failed", "config"}};
  for (const TuneCell& cell : run.cells) {
    const CellResult& result = cell.result;
    if (result.status == CellResult::Status::stopped) continue;
    const bool chosen = has_choice(result);
    const auto gain = result.gain();
    rows.push_back(
        {name_of(result.status), cell.named.layer.empty() ? "-" : cell.named.layer,
         to_string(cell.named.problem), chosen ? fmt::format("{:.2f}", result.choice.us) : "",
         gain ? fmt::format("{:.3f}", *gain) : "", std::to_string(result.tried),
         std::to_string(result.failures), chosen ? to_string(result.choice.config) : result.why});
  }
  using Status = CellResult::Status;
  std::string text = table(rows);
  text += fmt::format(
      "{} tuned, {} kept, {} failed, {} left of {} shapes in {}; {} kernels "
      "compiled\n",
      count(run, Status::tuned), count(run, Status::kept), count(run, Status::failed),
      count(run, Status::stopped), run.cells.size(), duration(run.seconds), run.compiled);
  if (const double gain = mean_gain(run); gain > 0) {
    text += fmt::format(
        "the cost model's own choices take {:.3f} times as long (geometric "
        "mean)\n",
        gain);
  }
  text += fmt::format("{}, {} launches\n", run.db, run.options.chained ? "chained" : "isolated");
  if (count(run, Status::stopped) > 0) text += "the same command with --resume does the rest\n";
  return text;
}

Json json_of(const TuneSummary& run) {
  Json json = json_result("tune");
  json["gpu"] = run.subject.gpu;
  json["target"] = to_json(run.subject.target);
  json["db"] = run.db;
  json["seed"] = run.seed;
  json["chained"] = run.options.chained;
  for (const auto status : {CellResult::Status::tuned, CellResult::Status::kept,
                            CellResult::Status::failed, CellResult::Status::stopped}) {
    json[name_of(status)] = count(run, status);
  }
  json["interrupted"] = interrupted();
  json["compiled"] = run.compiled;
  json["seconds"] = run.seconds;
  json["gain"] = mean_gain(run);
  json["cells"] = Json::array();
  for (const TuneCell& cell : run.cells) {
    const CellResult& result = cell.result;
    Json one{{"layer", cell.named.layer},
             {"shape", to_json(cell.named.problem)},
             {"status", name_of(result.status)}};
    if (has_choice(result)) {
      one["config"] = to_string(result.choice.config);
      one["us"] = result.choice.us;
      one["model_us"] = result.choice.model_us;
      if (const auto gain = result.gain()) one["gain"] = *gain;
    }
    one["tried"] = result.tried;
    one["failures"] = result.failures;
    one["seconds"] = cell.seconds;
    if (!result.why.empty()) one["why"] = result.why;
    json["cells"].push_back(std::move(one));
  }
  return json;
}

void tune(TuneSummary& run, const TuneLimits& limits) {
  require_devices(run.options);
  const Devices devices = start_workers(run.options, run.seed);
  const WorkerHello& hello = devices.front()->hello();
  run.subject = {hello.gpu, hello.target, nvrtc().version(), hello.driver, run.options.chained};
  TuningJournal journal(run.db, run.subject);
  CompileAhead compiler(run.subject.target, compile_jobs(run, journal),
                        compile_threads(run.options), settings_with_cache());
  std::vector<TuneDevice*> used;
  for (const auto& device : devices) {
    device->set_compiler(&compiler);
    used.push_back(device.get());
  }
  TuneProgress progress(run.cells);
  tune_all(run.cells, used, journal, run.options.rules, limits,
           [&](const TuneCell& cell) { progress.step(cell); });
  run.compiled = compiler.compiled();
}

Exit run_tune(const TuneOptions& options) {
  const auto [i, n] = shard_from(options.shard);
  TuneLimits limits{.budget_seconds = seconds_of(options.budget), .stop = interrupted};
  TuneSummary run{.options = options, .db = db_path(options), .subject = {}, .cells = {}};
  run.cells = shard_of(cells_of(options.shapes.resolve()), i, n);
  run.seed = options.seed ? *options.seed : std::random_device{}();
  catch_interrupts();
  const Clock::time_point begin = Clock::now();
  tune(run, limits);
  run.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  print(options.json ? text_of(json_of(run)) : summary_of(run));
  if (interrupted()) return Exit::interrupted;
  return count(run, CellResult::Status::failed) > 0 ? Exit::findings : Exit::done;
}

}  // namespace

void add_tune(CLI::App& app, Exit& exit) {
  auto options = std::make_shared<TuneOptions>();
  CLI::App* verb = app.add_subcommand(
      "tune", "Measure configs on the GPUs here and keep the best ones for Compiled::get");
  verb->footer(
      "\nWithout --m: every rung of the ladder, 1 to 65536. Every measurement is kept at once: an\n"
      "interrupt or a crash loses at most the one in hand, and --resume goes on from there.\n"
      "Configs that gave wrong results, crashed or hung are kept as such and not tried again.\n"
      "\nExamples:\n"
      "  marlin tune --shapes llama3-8b\n"
      "  marlin tune --shapes llama3-8b --m 1,2,4,8,16 --chained\n"
      "  marlin tune --shapes llama3-8b --batch-invariant\n"
      "  marlin tune --shapes llama3-70b --m 1,2,4,8,16 --devices 0,1 --budget 3m\n"
      "  marlin tune --shapes shapes.txt --shard 2/3 --db part2.jsonl\n"
      "  marlin db merge part1.jsonl part2.jsonl part3.jsonl --out tuning.jsonl\n");
  options->shapes.default_m.assign(rungs().begin(), rungs().end());
  options->shapes.add_to(*verb);
  verb->add_option("--devices", options->devices, "GPUs to measure on, one worker process each")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::Range(0, 1023))
      ->type_name("I,...")
      ->capture_default_str();
  verb->add_option("--budget", options->budget, "begin no shape after this long: 90s, 3m, 1h")
      ->type_name("TIME");
  verb->add_option("--shard", options->shard, "part i of n of the shapes, for one machine of n")
      ->type_name("I/N");
  verb->add_option("--db", options->db,
                   "the database to extend; else MARLIN_TUNING_DB, else the user's")
      ->type_name("FILE");
  verb->add_flag(
      "--chained", options->chained,
      "tune for launches chained by programmatic dependent launch (sm_90 and newer), which "
      "Options::chained asks for; kept apart from isolated ones");
  verb->add_flag("--resume", options->rules.resume, "keep what the database has already");
  verb->add_flag("--retune-stale", options->rules.retune_stale,
                 "with --resume: but measure again what was measured with another driver, NVRTC or "
                 "fewer kernel families");
  verb->add_option("--candidates", options->rules.candidates,
                   "configs measured for each shape, of those the cost model ranks first; 0: all")
      ->type_name("N")
      ->capture_default_str();
  verb->add_option("-j,--jobs", options->jobs, "compile on so many threads; 0: the cores")
      ->check(CLI::Range(0, 1024));
  verb->add_option("--seed", options->seed, "for data; random unless given");
  verb->add_flag("--json", options->json, "print the result as JSON");
  verb->callback([options, &exit] { exit = run_tune(*options); });
}

void add_tune_worker(CLI::App& app, Exit& /*exit*/) {
  struct WorkerOptions {
    int device = 0;
    std::uint64_t seed = 0;
    bool chained = false;
  };
  auto options = std::make_shared<WorkerOptions>();
  CLI::App* verb = app.add_subcommand("tune-worker", "Measures for `marlin tune`");
  verb->group("");  // not for people
  verb->add_option("--device", options->device);
  verb->add_option("--seed", options->seed);
  verb->add_flag("--chained", options->chained);
  verb->callback([options] {
    const Gpu gpu(options->device);
    TuneBench bench(gpu, options->seed, options->chained);
    serve(bench, {gpu.name(), gpu.target(), driver().version}, 0, 1);
    // After a kernel that does not end nothing on the device can be freed any more.
    std::_Exit(static_cast<int>(Exit::done));
  });
}

}  // namespace marlin
