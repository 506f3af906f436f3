// marlin bench: shapes -> time against the read floor, the roof, cuBLAS and the published kernel.
// Entry point: add_bench.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <map>
#include <memory>
#include <random>
#include <regex>
#include <tuple>

#include "codegen/generator.h"
#include "codegen/plan/config.h"
#include "tuner/cli/cli_common.h"
#include "tuner/cli/cmd_bench_compare.h"
#include "tuner/cli/verbs.h"
#include "tuner/report/anchors.h"
#include "tuner/report/bench_report.h"
#include "tuner/search/sweep.h"

namespace marlin {
namespace {

struct BenchOptions {
  ShapeOptions shapes;
  TargetOptions target;
  std::string configs = "chosen", config, match;
  std::size_t max_configs = 0, top = 10;
  SweepRules rules;
  std::vector<std::string> compare;
  std::string anchors, plot, out;
  double peak_tflops = 0;
  std::optional<std::uint64_t> seed;
  unsigned jobs = 0;
  Pace pace = Pace::plain;
  bool chained = false, json = false, draw = false, no_cache = false, no_cublas = false;
};

// One layer at one M, and which jobs of its layer's queue are its own.
struct CellPlan {
  NamedProblem asked;
  Problem kernel;
  std::string chosen;
  std::size_t first_job = 0, jobs = 0;
};

// The cells that share one set of weights.
struct LayerPlan {
  Problem weights;  // m is the most rows of all cells
  std::vector<CellPlan> cells;
  std::vector<CompileJob> jobs;
};

struct SweptCell {
  BenchCell cell;  // of the fastest config
  std::string chosen;
  std::vector<SweepEntry> entries;
};

// What a whole run holds. It is written out also when a kernel leaves the GPU unusable.
struct BenchRun {
  const BenchOptions& options;
  BenchReport report;
  std::vector<SweptCell> swept;
  std::optional<Anchors> anchors;
  Target target;
  std::uint64_t seed = 0;
  std::ofstream lines;
  std::size_t failed = 0;
};

std::vector<Config> configs_for(const BenchOptions& options, const Problem& kernel,
                                const Target& target, std::uint64_t seed) {
  const Config chosen = config_for(options.config, kernel, target, options.chained);
  if (options.configs != "all") return {chosen};
  std::vector<Config> matching, picked;
  const std::regex pattern(options.match);
  for (const Config& config : legal_configs(kernel, target)) {
    if (std::regex_search(to_string(config), pattern)) matching.push_back(config);
  }
  for (std::size_t index : sample_evenly(matching.size(), options.max_configs, seed)) {
    picked.push_back(matching[index]);
  }
  if (std::find(picked.begin(), picked.end(), chosen) == picked.end()) picked.push_back(chosen);
  return picked;
}

void add_cell(const BenchRun& run, LayerPlan& layer, const NamedProblem& asked) {
  layer.weights.shape.m = std::max(layer.weights.shape.m, asked.problem.shape.m);
  CellPlan cell{.asked = asked, .kernel = kernel_problem(asked.problem), .chosen = ""};
  cell.chosen =
      to_string(config_for(run.options.config, cell.kernel, run.target, run.options.chained));
  for (const CellPlan& other : layer.cells) {  // Ms of one rung share its kernels
    if (other.kernel == cell.kernel) {
      cell.first_job = other.first_job;
      cell.jobs = other.jobs;
    }
  }
  if (cell.jobs == 0) {
    cell.first_job = layer.jobs.size();
    for (const Config& config : configs_for(run.options, cell.kernel, run.target, run.seed)) {
      layer.jobs.push_back({.problem = cell.kernel,
                            .config = to_string(config),
                            .keep = !run.options.no_cache,
                            .target = run.target});
    }
    cell.jobs = layer.jobs.size() - cell.first_job;
  }
  layer.cells.push_back(std::move(cell));
}

std::vector<LayerPlan> plan_layers(const BenchRun& run, const std::vector<NamedProblem>& asked) {
  std::vector<LayerPlan> layers;
  for (const NamedProblem& one : asked) {
    auto layer = std::find_if(layers.begin(), layers.end(), [&](const LayerPlan& other) {
      const Problem& problem = other.weights;
      return std::tie(problem.shape.n, problem.shape.k, problem.scheme) ==
             std::tie(one.problem.shape.n, one.problem.shape.k, one.problem.scheme);
    });
    if (layer == layers.end()) {
      layers.push_back({.weights = one.problem, .cells = {}, .jobs = {}});
      layer = layers.end() - 1;
    }
    add_cell(run, *layer, one);
  }
  return layers;
}

BenchCell begin_cell(const BenchRun& run, const CellPlan& plan, const Timing& floor) {
  const Problem& problem = plan.asked.problem;
  BenchCell cell;
  cell.layer = layer_name(plan.asked.layer, problem);
  cell.problem = problem;
  cell.rung = plan.kernel.shape.m;
  cell.floor = floor;
  if (run.anchors) {
    if (const AnchorRow* row =
            run.anchors->find(problem.shape.m, problem.shape.n, problem.shape.k)) {
      cell.published_us = row->orig_us;
      cell.published_floor_us = row->floor_us;
    }
  }
  return cell;
}

void add_cublas(BenchCell& cell, LayerBench& bench) {
  const auto fp16 = bench.cublas(cell.problem.shape.m);
  if (!fp16) return;
  cell.cublas = fp16->timing;
  cell.cublas_layout = fp16->layout;
}

nlohmann::ordered_json to_json(const BenchRun& run, const SweptCell& swept,
                               const SweepEntry& entry) {
  nlohmann::ordered_json json{
      {"gpu", run.report.gpu},     {"target", to_json(run.target)},
      {"layer", swept.cell.layer}, {"shape", to_json(swept.cell.problem)},
      {"rung", swept.cell.rung},   {"chained", run.report.chained},
      {"config", entry.config},    {"chosen", entry.config == swept.chosen}};
  if (!entry.error.empty()) {
    json["error"] = entry.error;
    return json;
  }
  json["us"] = entry.timed() ? entry.timing.median_us : entry.screen_us;
  json["screened_only"] = !entry.timed();
  json["screen_us"] = entry.screen_us;
  if (entry.timed()) {
    json["min_us"] = entry.timing.min_us;
    json["max_us"] = entry.timing.max_us;
  }
  json["floor_us"] = swept.cell.floor.median_us;
  json["roof_us"] = swept.cell.roof_us(run.report.peak_tflops);
  return json;
}

void write_lines(BenchRun& run, const SweptCell& swept) {
  if (!run.lines.is_open()) return;
  for (const SweepEntry& entry : swept.entries) {
    run.lines
        << to_json(run, swept, entry).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)
        << '\n';
  }
  run.lines.flush();
  if (!run.lines) throw Error(ErrorCode::io, "cannot write " + run.options.out);
}

void sweep_cell(BenchRun& run, const CellPlan& plan, LayerBench& bench, CompileQueue& queue,
                BenchCell cell) {
  SweptCell swept{.cell = std::move(cell), .chosen = plan.chosen, .entries = {}};
  swept.entries = sweep(bench, queue, plan.first_job, plan.jobs, plan.asked.problem.shape.m,
                        plan.chosen, run.options.rules, interrupted);
  for (const SweepEntry& entry : swept.entries) run.failed += !entry.error.empty();
  if (!swept.entries.empty() && swept.entries.front().timed()) {
    swept.cell.config = swept.entries.front().config;
    swept.cell.ours = swept.entries.front().timing;
    if (!interrupted()) add_cublas(swept.cell, bench);
    run.report.cells.push_back(swept.cell);
  }
  write_lines(run, swept);
  run.swept.push_back(std::move(swept));
}

// The kernel and, beside it, cuBLAS.
void time_kernel(const BenchRun& run, const Compiled& kernel, LayerBench& bench, BenchCell& cell) {
  if (run.options.pace == Pace::plain) {
    cell.ours = bench.time(kernel, cell.problem.shape.m);
    add_cublas(cell, bench);
    return;
  }
  const LayerBench::Paced paced = bench.pace(run.options.pace, kernel, cell.problem.shape.m);
  cell.ours = paced.ours;
  cell.ours_mhz = paced.ours_mhz;
  cell.cublas_mhz = paced.cublas_mhz;
  if (!paced.cublas) return;
  cell.cublas = paced.cublas->timing;
  cell.cublas_layout = paced.cublas->layout;
}

void time_cell(BenchRun& run, const CellPlan& plan, LayerBench& bench, CompileQueue& queue,
               BenchCell cell) {
  const CompileResult& compiled = queue.wait(plan.first_job);
  cell.config = queue.job(plan.first_job).config;
  if (!compiled.kernel) {
    warn(fmt::format("{}: {}", to_string(plan.kernel), compiled.error));
    ++run.failed;
    return;
  }
  const std::string name = fmt::format("{} [{}]", to_string(plan.kernel), cell.config);
  const std::string error =
      attempt(bench, name, [&] { time_kernel(run, *compiled.kernel, bench, cell); });
  if (!error.empty()) {
    warn(name + ": " + error);
    ++run.failed;
    return;
  }
  run.report.cells.push_back(std::move(cell));
}

std::string sweep_text(const BenchRun& run, const SweptCell& swept) {
  std::vector<std::vector<std::string>> rows{{"us", "min", "max", "x floor", "config", ""}};
  double best = 0, chosen = 0;
  for (const SweepEntry& entry : swept.entries) {
    if (!entry.timed()) continue;
    if (best == 0) best = entry.timing.median_us;
    if (entry.config == swept.chosen) chosen = entry.timing.median_us;
    if (rows.size() > run.options.top && entry.config != swept.chosen) continue;
    rows.push_back({fmt::format("{:.2f}", entry.timing.median_us),
                    fmt::format("{:.2f}", entry.timing.min_us),
                    fmt::format("{:.2f}", entry.timing.max_us),
                    fmt::format("{:.2f}", entry.timing.median_us / swept.cell.floor.median_us),
                    entry.config, entry.config == swept.chosen ? "chosen" : ""});
  }
  std::string text = fmt::format("{} {}: {} configs", swept.cell.layer,
                                 to_string(swept.cell.problem), swept.entries.size());
  if (chosen > 0) text += fmt::format(", chosen / best {:.3f}", chosen / best);
  text += "\n" + table(rows);
  for (const SweepEntry& entry : swept.entries) {
    if (!entry.error.empty()) text += fmt::format("failed: {}: {}\n", entry.config, entry.error);
  }
  return text + "\n";
}

nlohmann::ordered_json json_of(const BenchRun& run) {
  nlohmann::ordered_json json = run.report.json();
  json["seed"] = run.seed;
  json["failed"] = run.failed;
  if (run.swept.empty()) return json;
  json["sweeps"] = nlohmann::ordered_json::array();
  for (const SweptCell& swept : run.swept) {
    nlohmann::ordered_json ranking = nlohmann::ordered_json::array();
    for (const SweepEntry& entry : swept.entries) {
      if (ranking.size() < run.options.top || entry.config == swept.chosen) {
        ranking.push_back(to_json(run, swept, entry));
      }
    }
    json["sweeps"].push_back({{"layer", swept.cell.layer},
                              {"shape", to_json(swept.cell.problem)},
                              {"configs", swept.entries.size()},
                              {"ranking", ranking}});
  }
  return json;
}

void write_results(const BenchRun& run) {
  if (!run.options.plot.empty()) {
    print_or_write(svg_plot(run.report.plot()), run.options.plot);
  }
  if (run.options.json) return print(text_of(json_of(run)));
  std::string text;
  for (const SweptCell& swept : run.swept) text += sweep_text(run, swept);
  text += run.report.text();
  if (run.options.draw) text += "\n" + terminal_plot(run.report.plot());
  print(text);
}

// A kernel that never ends cannot be unwound from: memory cannot be freed any more.
[[noreturn]] void end_process(const BenchRun& run, const GpuStuck& error) {
  write_results(run);
  warn(error.what());
  std::_Exit(static_cast<int>(Exit::findings));
}

void bench_layer(BenchRun& run, BenchTools& tools, const LayerPlan& layer, Progress& progress) {
  CompileQueue queue(tools.gpu, layer.jobs, run.options.jobs);
  // Nothing is timed while the cores are busy compiling.
  if (!queue.wait_all(interrupted)) return;
  LayerBench bench(tools, layer.weights, run.seed);
  const Timing floor = bench.floor();
  for (const CellPlan& plan : layer.cells) {
    if (interrupted()) return;
    BenchCell cell = begin_cell(run, plan, floor);
    try {
      if (run.options.configs == "all") {
        sweep_cell(run, plan, bench, queue, std::move(cell));
      } else {
        time_cell(run, plan, bench, queue, std::move(cell));
      }
    } catch (const GpuStuck& error) {
      end_process(run, error);
    }
    progress.step(to_string(plan.asked.problem));
  }
}

double peak_of(const BenchOptions& options, BenchTools& tools) {
  constexpr double kH200Peak = 760;  // TFLOP/s of an 8192^3 FP16 cuBLAS product, as in the anchors
  if (options.peak_tflops > 0) return options.peak_tflops;
  if (tools.gpu.name().find("H200") != std::string::npos) return kH200Peak;
  return tools.measure_peak();
}

void bench_all(BenchRun& run, const Gpu& gpu, const std::vector<NamedProblem>& asked) {
  const std::vector<LayerPlan> layers = plan_layers(run, asked);
  const bool chained = run.options.chained;
  BenchTools tools(gpu, !chained && !run.options.no_cublas, chained);
  run.report.cublas = chained ? "not timed beside chained launches" : tools.cublas_name;
  run.report.peak_tflops = peak_of(run.options, tools);
  Progress progress("bench", asked.size());
  try {
    for (const LayerPlan& layer : layers) {
      if (interrupted()) return;
      bench_layer(run, tools, layer, progress);
    }
  } catch (const Error& error) {
    if (error.code() != ErrorCode::driver_failed) throw;
    warn(error.what());
    ++run.failed;
  }
}

// What can be refused without a GPU.
void check_options(const BenchOptions& options) {
  if (!options.plot.empty() && !options.plot.ends_with(".svg")) {
    throw Error(ErrorCode::invalid_argument, "--plot " + options.plot + " must end in .svg");
  }
  try {
    const std::regex pattern(options.match);
  } catch (const std::regex_error& error) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("--match {}: {}", options.match, error.what()));
  }
}

CompareOptions compare_options(const BenchOptions& options) {
  return {.shapes = options.shapes,
          .target = options.target,
          .choosers = options.compare,
          .plot = options.plot,
          .seed = options.seed,
          .jobs = options.jobs,
          .chained = options.chained,
          .json = options.json,
          .draw = options.draw,
          .no_cache = options.no_cache};
}

Exit run_bench(const BenchOptions& options) {
  const std::vector<NamedProblem> asked = options.shapes.resolve();
  check_options(options);
  if (!options.compare.empty()) return bench_compare(compare_options(options));
  BenchRun run{
      .options = options, .report = {}, .swept = {}, .anchors = {}, .target = {}, .lines = {}};
  if (!options.anchors.empty()) run.anchors = Anchors::load(options.anchors);
  const Gpu gpu;
  if (options.chained) require_can_chain(gpu.target());
  run.report.chained = options.chained;
  run.report.pace = options.pace;
  run.target = options.target.resolve_one();
  run.seed = options.seed ? *options.seed : std::random_device{}();
  run.report.gpu = gpu.name();
  run.report.target = to_string(run.target);
  if (run.anchors) run.report.anchors_gpu = run.anchors->gpu();
  if (!options.out.empty()) {
    run.lines.open(options.out, std::ios::app);
    if (!run.lines) throw Error(ErrorCode::io, "cannot write " + options.out);
  }
  catch_interrupts();
  bench_all(run, gpu, asked);
  write_results(run);
  if (interrupted()) return Exit::interrupted;
  return run.failed == 0 ? Exit::done : Exit::findings;
}

void add_sweep_options(CLI::App& verb, BenchOptions& options) {
  verb.add_option("--configs", options.configs,
                  "time the chosen config, or sweep over all that are legal")
      ->check(CLI::IsMember({"all", "chosen"}))
      ->capture_default_str();
  verb.add_option("--match", options.match, "sweep only configs whose text matches")
      ->type_name("REGEX");
  verb.add_option("--max-configs", options.max_configs,
                  "of those, so many drawn evenly by the seed; 0: all")
      ->type_name("N");
  verb.add_option("--finals", options.rules.finals,
                  "configs of a sweep that are timed properly after a short screening")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  verb.add_option("--top", options.top, "configs of a sweep that are shown")->capture_default_str();
  verb.add_option("--out", options.out,
                  "append every config of a sweep to this file, one JSON line "
                  "each")
      ->type_name("FILE");
}

void add_compare_option(CLI::App& verb, BenchOptions& options) {
  verb.add_option("--compare", options.compare,
                  "race what these choose and print the ratios to the first: tuned (what get() "
                  "uses), model (the cost model's first config), worst (its last)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::IsMember(std::vector<std::string>(std::begin(kChoosers), std::end(kChoosers))))
      ->type_name("WHO,...");
}

void add_pace_option(CLI::App& verb, BenchOptions& options) {
  const std::map<std::string, Pace> paces{
      {"plain", Pace::plain}, {"burst", Pace::burst}, {"sustained", Pace::sustained}};
  verb.add_option("--pace", options.pace,
                  "burst: each window after 50 ms without work; sustained: windows without a "
                  "pause; both in turns with cuBLAS, and with the SMs' clocks: for products that "
                  "power limits")
      ->transform(CLI::CheckedTransformer(paces))
      ->option_text("plain|burst|sustained");
}

void refuse_beside(const CLI::App& verb, std::string_view option,
                   std::initializer_list<const char*> others, std::string_view why) {
  for (const char* other : others) {
    if (verb.get_option(other)->count() == 0) continue;
    throw Error(ErrorCode::invalid_argument,
                fmt::format("{} and {} exclude each other: {}", option, other, why));
  }
}

void refuse_contradictions(const CLI::App& verb, const BenchOptions& options) {
  if (!options.compare.empty()) {
    refuse_beside(verb, "--compare",
                  {"--config", "--configs", "--match", "--max-configs", "--finals", "--top",
                   "--out", "--anchors", "--peak-tflops", "--no-cublas", "--pace"},
                  "--compare times what its choosers choose, against the read floor alone");
  } else if (options.pace != Pace::plain && options.configs == "all") {
    throw Error(ErrorCode::invalid_argument,
                "--pace and --configs all exclude each other: a sweep times kernels alone");
  } else if (options.chained) {
    refuse_beside(verb, "--chained", {"--anchors", "--plot", "--pace"},
                  "cuBLAS and the published kernels were measured in isolated launches only");
  }
}

}  // namespace

void add_bench(CLI::App& app, Exit& exit) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* verb =
      app.add_subcommand("bench", "Time kernels against the read floor, the roof and cuBLAS FP16");
  verb->footer(
      "\nWithout --m: 1,2,4,8,16,32,64,128 for shapes without an M of their own.\n"
      "\nExamples:\n"
      "  marlin bench --shapes llama3-8b --m 1,16,64 --plot\n"
      "  marlin bench --shapes llama3-8b,llama3-70b --m 1,16,32,64,128 --anchors h200.json --json\n"
      "  marlin bench --shapes llama3-8b --m 1,8,16 --chained\n"
      "  marlin bench --shapes llama3-8b --m 1,16,256 --batch-invariant\n"
      "  marlin bench --shapes llama3-70b --m 512,2048,8192 --pace burst\n"
      "  marlin bench --shape 16x4096x4096 --configs all --out sweep.jsonl\n"
      "  marlin bench --shapes llama3-8b --compare tuned,model,worst --plot\n");
  options->shapes.default_m = {1, 2, 4, 8, 16, 32, 64, 128};
  options->shapes.add_to(*verb);
  options->target.add_to(*verb);
  verb->add_option("--config", options->config,
                   "this config's text, or 'model' for the cost model's, instead of the chosen one")
      ->type_name("TEXT");
  add_sweep_options(*verb, *options);
  add_compare_option(*verb, *options);
  verb->add_flag(
      "--chained", options->chained,
      "launch kernels and read floors by programmatic dependent launch, as layers "
      "follow each other in a model, with the configs chosen for that (sm_90 and newer)");
  add_pace_option(*verb, *options);
  verb->add_option("--anchors", options->anchors,
                   "published kernels' times, re-scaled by the read floor of this run")
      ->type_name("FILE");
  verb->add_option("--peak-tflops", options->peak_tflops,
                   "FP16 peak of the roof; else 760 on an H200, else measured with cuBLAS")
      ->check(CLI::PositiveNumber);
  CLI::Option* plot = verb->add_option("--plot", options->plot,
                                       "draw the speed-up over cuBLAS (--compare: the time over "
                                       "the read floor) against M here, and as SVG into FILE");
  plot->expected(0, 1)->type_name("[FILE.svg]");
  verb->add_option("--seed", options->seed, "for data and draws; random unless given");
  verb->add_option("-j,--jobs", options->jobs, "compile on so many threads; 0: one for each core")
      ->check(CLI::Range(0, 1024));
  verb->add_flag("--no-cublas", options->no_cublas, "do not time cuBLAS");
  verb->add_flag("--no-cache", options->no_cache, "keep the kernels out of the user's cache");
  verb->add_flag("--json", options->json, "print the result as JSON");
  verb->callback([options, verb, plot, &exit] {
    refuse_contradictions(*verb, *options);
    options->draw = plot->count() > 0;
    exit = run_bench(*options);
  });
}

}  // namespace marlin
