// marlin bench --compare: shapes and choosers -> what tuning buys, in races of the chosen kernels.
// Entry point: bench_compare.
#include "tuner/cli/cmd_bench_compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <random>
#include <set>
#include <tuple>

#include "codegen/cost/gpu_model.h"
#include "codegen/generator.h"
#include "tuner/measure/bench_layer.h"
#include "tuner/report/bench_report.h"
#include "tuner/report/compare_report.h"
#include "tuner/search/compile_queue.h"

namespace marlin {
namespace {

// Four times every order of three kernels.
constexpr int kRounds = 24;

// One layer at one M, and the job of each choice in the queue.
struct CellPlan {
  NamedProblem asked;
  Problem kernel;
  std::vector<ComparedChoice> choices;  // not timed yet
  std::vector<std::size_t> jobs;
};

// What a whole run holds. It is written out also when a kernel leaves the GPU unusable.
struct CompareRun {
  const CompareOptions& options;
  CompareReport report;
  Target target;
  std::string gpu;  // as the databases call the target's, or empty
  std::uint64_t seed = 0;
  std::vector<CompileJob> jobs;  // each kernel once
  std::size_t failed = 0;
};

// "tuned (its database)", "nearest (its database)" or "model".
std::string source_text(const Choice& choice) {
  return to_string(choice.by) + (choice.layer.empty() ? "" : fmt::format(" ({})", choice.layer));
}

std::vector<ComparedChoice> choices_for(const CompareRun& run, const Problem& kernel) {
  const std::vector<Estimate> ranked =
      rank_configs(kernel, run.target, gpu_model_of(run.target, run.gpu), run.options.chained);
  std::vector<ComparedChoice> choices;
  for (const std::string& chooser : run.options.choosers) {
    ComparedChoice choice;
    choice.chooser = chooser;
    if (chooser == "tuned") {
      const Choice tuned = choice_for("", kernel, run.target, run.gpu, run.options.chained);
      choice.config = to_string(tuned.config);
      choice.source = source_text(tuned);
    } else {
      choice.config = to_string((chooser == "model" ? ranked.front() : ranked.back()).config);
    }
    choices.push_back(std::move(choice));
  }
  return choices;
}

std::size_t job_for(CompareRun& run, const Problem& kernel, const std::string& config) {
  for (std::size_t i = 0; i < run.jobs.size(); ++i) {
    if (run.jobs[i].problem == kernel && run.jobs[i].config == config) return i;
  }
  run.jobs.push_back(
      {.problem = kernel, .config = config, .keep = !run.options.no_cache, .target = run.target});
  return run.jobs.size() - 1;
}

bool share_weights(const Problem& one, const Problem& other) {
  return std::tie(one.shape.n, one.shape.k, one.scheme) ==
         std::tie(other.shape.n, other.shape.k, other.scheme);
}

// The cells that share one set of weights stand together.
std::vector<std::vector<CellPlan>> plan_layers(CompareRun& run,
                                               const std::vector<NamedProblem>& asked) {
  std::vector<std::vector<CellPlan>> layers;
  for (const NamedProblem& one : asked) {
    CellPlan cell{.asked = one, .kernel = kernel_problem(one.problem), .choices = {}, .jobs = {}};
    cell.choices = choices_for(run, cell.kernel);
    for (const ComparedChoice& choice : cell.choices) {
      cell.jobs.push_back(job_for(run, cell.kernel, choice.config));
    }
    auto layer = std::find_if(layers.begin(), layers.end(), [&](const auto& cells) {
      return share_weights(cells.front().asked.problem, one.problem);
    });
    if (layer == layers.end()) layer = layers.emplace(layers.end());
    layer->push_back(std::move(cell));
  }
  return layers;
}

// The kernels of these jobs. Throws the error of one that could not be made.
std::vector<Compiled> kernels_of(CompileQueue& queue, const std::vector<std::size_t>& jobs) {
  std::vector<Compiled> kernels;
  for (const std::size_t job : jobs) {
    const CompileResult& compiled = queue.wait(job);
    if (!compiled.kernel) {
      throw Error(ErrorCode::compile_failed, queue.job(job).config + ": " + compiled.error);
    }
    kernels.push_back(*compiled.kernel);
  }
  return kernels;
}

void race_cell(CompareRun& run, const CellPlan& plan, LayerBench& bench, CompileQueue& queue,
               const Timing& floor) {
  const Problem& problem = plan.asked.problem;
  const std::set<std::size_t> distinct(plan.jobs.begin(), plan.jobs.end());
  const std::vector<std::size_t> jobs(distinct.begin(), distinct.end());
  std::vector<RaceTiming> race;
  const std::string error = attempt(bench, to_string(problem), [&] {
    race = bench.race(kernels_of(queue, jobs), problem.shape.m, kRounds);
  });
  if (!error.empty()) {
    warn(to_string(problem) + ": " + error);
    ++run.failed;
    return;
  }
  ComparedCell cell{.layer = layer_name(plan.asked.layer, problem),
                    .problem = problem,
                    .rung = plan.kernel.shape.m,
                    .floor = floor,
                    .choices = plan.choices};
  for (std::size_t i = 0; i < cell.choices.size(); ++i) {
    const auto place = std::find(jobs.begin(), jobs.end(), plan.jobs[i]) - jobs.begin();
    cell.choices[i].race = race[static_cast<std::size_t>(place)];
  }
  run.report.cells.push_back(std::move(cell));
}

void write_results(const CompareRun& run) {
  if (!run.options.plot.empty()) {
    print_or_write(svg_plot(run.report.plot()), run.options.plot);
  }
  if (run.options.json) {
    nlohmann::ordered_json json = run.report.json();
    json["seed"] = run.seed;
    json["failed"] = run.failed;
    return print(text_of(json));
  }
  std::string text = run.report.text();
  if (run.options.draw) text += "\n" + terminal_plot(run.report.plot());
  print(text);
}

// A kernel that never ends cannot be unwound from: memory cannot be freed any more.
[[noreturn]] void end_process(const CompareRun& run, const GpuStuck& error) {
  write_results(run);
  warn(error.what());
  std::_Exit(static_cast<int>(Exit::findings));
}

void race_layer(CompareRun& run, BenchTools& tools, const std::vector<CellPlan>& cells,
                CompileQueue& queue, Progress& progress) {
  LayerBench bench(tools, cells.front().asked.problem, run.seed);
  const Timing floor = bench.floor();
  for (const CellPlan& plan : cells) {
    if (interrupted()) return;
    try {
      race_cell(run, plan, bench, queue, floor);
    } catch (const GpuStuck& error) {
      end_process(run, error);
    }
    progress.step(to_string(plan.asked.problem));
  }
}

void race_all(CompareRun& run, const Gpu& gpu, const std::vector<NamedProblem>& asked) {
  const std::vector<std::vector<CellPlan>> layers = plan_layers(run, asked);
  CompileQueue queue(gpu, run.jobs, run.options.jobs);
  // Nothing is timed while the cores are busy compiling.
  if (!queue.wait_all(interrupted)) return;
  BenchTools tools(gpu, false, run.options.chained);
  Progress progress("bench", asked.size());
  try {
    for (const std::vector<CellPlan>& cells : layers) {
      if (interrupted()) return;
      race_layer(run, tools, cells, queue, progress);
    }
  } catch (const Error& error) {
    if (error.code() != ErrorCode::driver_failed) throw;
    warn(error.what());
    ++run.failed;
  }
}

}  // namespace

void require_choosers(const std::vector<std::string>& choosers) {
  const std::set<std::string> different(choosers.begin(), choosers.end());
  if (choosers.size() >= 2 && different.size() == choosers.size()) return;
  throw Error(ErrorCode::invalid_argument,
              fmt::format("--compare {}: name at least two of {}, each once",
                          fmt::join(choosers, ","), fmt::join(kChoosers, ", ")));
}

Exit bench_compare(const CompareOptions& options) {
  require_choosers(options.choosers);
  const std::vector<NamedProblem> asked = options.shapes.resolve();
  const Gpu gpu;
  if (options.chained) require_can_chain(gpu.target());
  CompareRun run{.options = options, .report = {}, .target = {}, .gpu = "", .jobs = {}};
  run.target = options.target.resolve_one();
  run.gpu = gpu_name_of(run.target);
  run.seed = options.seed ? *options.seed : std::random_device{}();
  run.report.gpu = gpu.name();
  run.report.target = to_string(run.target);
  run.report.choosers = options.choosers;
  run.report.chained = options.chained;
  catch_interrupts();
  race_all(run, gpu, asked);
  write_results(run);
  if (interrupted()) return Exit::interrupted;
  return run.failed == 0 ? Exit::done : Exit::findings;
}

}  // namespace marlin
