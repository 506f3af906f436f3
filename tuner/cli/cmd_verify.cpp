// marlin verify: shapes and configs -> the worst error against FP64 on the GPU. Entry point:
// add_verify.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <tuple>

#include "codegen/generator.h"
#include "codegen/plan/config.h"
#include "tuner/check/checker.h"
#include "tuner/cli/cli_common.h"
#include "tuner/cli/verbs.h"
#include "tuner/search/compile_queue.h"

namespace marlin {
namespace {

struct VerifyOptions {
  ShapeOptions shapes;
  TargetOptions target;
  std::string configs = "chosen", config;
  std::size_t max_configs = 0;
  std::optional<std::uint64_t> seed;
  double tolerance = 1e-3;
  unsigned jobs = 0;
  bool json = false, no_cache = false;
};

// One kernel shape: which rows its kernels are run with, and which jobs of the queue are its own.
struct Case {
  std::string layer;
  Problem problem;  // as kernels are written for it
  std::vector<std::int64_t> rows;
  std::size_t first_job = 0, jobs = 0, legal = 0;
};

struct Failure {
  std::string config;
  std::int64_t m = 0;
  std::string finding;
};

struct Outcome {
  std::size_t kernels = 0, launches = 0;
  double worst = 0, worst_absolute = 0;
  std::string worst_config;
  std::vector<Failure> failures;
};

struct Verification {
  Target target;
  std::uint64_t seed = 0;
  std::vector<Case> cases;
  std::vector<Outcome> outcomes;  // of the first cases, in order
  bool ended_early = false;       // the GPU can no longer be used

  std::size_t failures() const {
    std::size_t count = 0;
    for (const Outcome& outcome : outcomes) count += outcome.failures.size();
    return count;
  }
};

// The cases of one set of weights stand together, so that its reference is computed once.
std::vector<Case> cases_of(const std::vector<NamedProblem>& asked, std::uint64_t seed) {
  std::vector<Case> cases;
  for (const NamedProblem& one : asked) {
    const Problem problem = kernel_problem(one.problem);
    auto same = std::find_if(cases.begin(), cases.end(),
                             [&](const Case& other) { return other.problem == problem; });
    if (same == cases.end()) {
      cases.push_back({.layer = one.layer, .problem = problem, .rows = {}});
      same = cases.end() - 1;
    }
    same->rows.push_back(one.problem.shape.m);
  }
  for (Case& one : cases) one.rows = rows_to_check(one.problem, one.rows, seed);
  std::stable_sort(cases.begin(), cases.end(), [](const Case& x, const Case& y) {
    return std::tie(x.problem.shape.k, x.problem.shape.n, x.problem.scheme.group) <
           std::tie(y.problem.shape.k, y.problem.shape.n, y.problem.scheme.group);
  });
  return cases;
}

std::vector<CompileJob> jobs_of(const VerifyOptions& options, Verification& run) {
  std::vector<CompileJob> jobs;
  for (Case& one : run.cases) {
    std::vector<Config> configs;
    if (options.configs == "all") {
      configs = legal_configs(one.problem, run.target);
    } else {
      configs = {config_for(options.config, one.problem, run.target)};
    }
    one.first_job = jobs.size();
    one.legal = configs.size();
    for (std::size_t index : sample_evenly(configs.size(), options.max_configs, run.seed)) {
      jobs.push_back({.problem = one.problem,
                      .config = to_string(configs[index]),
                      .keep = !options.no_cache,
                      .target = run.target});
    }
    one.jobs = jobs.size() - one.first_job;
  }
  return jobs;
}

void add_check(Outcome& outcome, const std::string& config, const Check& check, double tolerance) {
  ++outcome.launches;
  outcome.worst_absolute = std::max(outcome.worst_absolute, check.max_error);
  if (!(check.relative_error <= outcome.worst)) {
    outcome.worst = check.relative_error;
    outcome.worst_config = config;
  }
  const std::string findings = check.findings(tolerance);
  if (!findings.empty()) outcome.failures.push_back({config, check.m, findings});
}

// Runs one kernel with each of the case's row counts; false when the GPU can no longer be used.
bool check_kernel(CheckedProduct& product, const Checker& checker, const Case& one,
                  const std::string& config, const CompileResult& compiled, double tolerance,
                  Outcome& outcome) {
  ++outcome.kernels;
  if (!compiled.kernel) {
    outcome.failures.push_back({config, 0, compiled.error});
    return true;
  }
  for (std::int64_t m : one.rows) {
    try {
      add_check(outcome, config, product.run(*compiled.kernel, m), tolerance);
    } catch (const GpuStuck& error) {
      outcome.failures.push_back({config, m, error.what()});
      return false;
    } catch (const Error& error) {
      outcome.failures.push_back({config, m, error.what()});
      if (!checker.stream().usable()) return false;
    }
  }
  return true;
}

// The same weights, and most rows among the cases from `index` on that share them.
Problem problem_shape(const std::vector<Case>& cases, std::size_t index) {
  Problem problem = cases[index].problem;
  problem.shape.exact_m = false;
  for (std::size_t i = index; i < cases.size(); ++i) {
    const Problem& other = cases[i].problem;
    if (other.shape.n != problem.shape.n || other.shape.k != problem.shape.k ||
        other.scheme.group != problem.scheme.group)
      break;
    problem.shape.m = std::max(problem.shape.m, other.shape.m);
  }
  return problem;
}

void report(const VerifyOptions& options, const Gpu& gpu, const Verification& run);

// A kernel that never ends cannot be unwound from: memory cannot be freed any more.
[[noreturn]] void end_process(const VerifyOptions& options, const Gpu& gpu,
                              const Verification& run) {
  report(options, gpu, run);
  std::_Exit(static_cast<int>(Exit::findings));
}

void check_all(const VerifyOptions& options, const Gpu& gpu, Verification& run) {
  CompileQueue queue(gpu, jobs_of(options, run), options.jobs);
  const Checker checker(gpu);
  Progress progress("verify", queue.size());
  std::unique_ptr<CheckedProduct> product;
  Problem weights;
  for (std::size_t i = 0; i < run.cases.size(); ++i) {
    const Case& one = run.cases[i];
    Problem wanted = problem_shape(run.cases, i);
    if (product == nullptr || wanted.shape.n != weights.shape.n ||
        wanted.shape.k != weights.shape.k || wanted.scheme.group != weights.scheme.group) {
      product.reset();  // before the next one takes its memory
      product = std::make_unique<CheckedProduct>(checker, wanted, run.seed + i);
      weights = wanted;
    }
    Outcome& outcome = run.outcomes.emplace_back();
    for (std::size_t j = one.first_job; j < one.first_job + one.jobs; ++j) {
      if (interrupted()) return;
      const std::string& config = queue.job(j).config;
      if (!check_kernel(*product, checker, one, config, queue.wait(j), options.tolerance,
                        outcome)) {
        run.ended_early = true;
        end_process(options, gpu, run);
      }
      progress.step(to_string(one.problem));
    }
  }
}

std::string text_report(const VerifyOptions& options, const Gpu& gpu, const Verification& run) {
  constexpr std::size_t kMostFailuresShown = 20;
  std::string text = fmt::format("{} ({}), seed {}, tolerance {:g}\n", gpu.name(),
                                 to_string(run.target), run.seed, options.tolerance);
  std::vector<std::vector<std::string>> rows{
      {"layer", "kernel", "rows checked", "configs", "legal", "checks", "worst error", "failed"}};
  double worst = 0;
  std::size_t checks = 0;
  for (std::size_t i = 0; i < run.outcomes.size(); ++i) {
    const Case& one = run.cases[i];
    const Outcome& outcome = run.outcomes[i];
    rows.push_back({one.layer, to_string(one.problem), fmt::format("{}", fmt::join(one.rows, ",")),
                    std::to_string(outcome.kernels), std::to_string(one.legal),
                    std::to_string(outcome.launches), fmt::format("{:.2e}", outcome.worst),
                    std::to_string(outcome.failures.size())});
    if (!(outcome.worst <= worst)) worst = outcome.worst;
    checks += outcome.launches;
  }
  text += table(rows);
  for (std::size_t i = 0; i < run.outcomes.size(); ++i) {
    const auto& failures = run.outcomes[i].failures;
    for (std::size_t f = 0; f < std::min(failures.size(), kMostFailuresShown); ++f) {
      text += fmt::format("FAILED {} [{}] m {}: {}\n", to_string(run.cases[i].problem),
                          failures[f].config, failures[f].m, failures[f].finding);
    }
    if (failures.size() > kMostFailuresShown) {
      text += fmt::format("... and {} more\n", failures.size() - kMostFailuresShown);
    }
  }
  if (run.ended_early) text += "The GPU can no longer be used; the rest was not checked.\n";
  return text + fmt::format("{} checks, worst relative error {:.2e}, {} failed\n", checks, worst,
                            run.failures());
}

nlohmann::ordered_json json_report(const VerifyOptions& options, const Gpu& gpu,
                                   const Verification& run) {
  nlohmann::ordered_json json = json_result("verify");
  json["gpu"] = gpu.name();
  json["target"] = to_json(run.target);
  json["seed"] = run.seed;
  json["tolerance"] = options.tolerance;
  json["complete"] = !run.ended_early && run.outcomes.size() == run.cases.size();
  json["cases"] = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < run.outcomes.size(); ++i) {
    const Outcome& outcome = run.outcomes[i];
    nlohmann::ordered_json failures = nlohmann::ordered_json::array();
    for (const Failure& failure : outcome.failures) {
      failures.push_back(
          {{"config", failure.config}, {"m", failure.m}, {"finding", failure.finding}});
    }
    json["cases"].push_back({{"layer", run.cases[i].layer},
                             {"shape", to_json(run.cases[i].problem)},
                             {"rows", run.cases[i].rows},
                             {"configs", outcome.kernels},
                             {"legal_configs", run.cases[i].legal},
                             {"checks", outcome.launches},
                             {"worst_relative_error", outcome.worst},
                             {"worst_absolute_error", outcome.worst_absolute},
                             {"worst_config", outcome.worst_config},
                             {"failures", failures}});
  }
  json["failed"] = run.failures();
  return json;
}

void report(const VerifyOptions& options, const Gpu& gpu, const Verification& run) {
  print(options.json ? text_of(json_report(options, gpu, run)) : text_report(options, gpu, run));
}

Exit run_verify(const VerifyOptions& options) {
  const std::vector<NamedProblem> asked = options.shapes.resolve();
  const Gpu gpu;
  Verification run;
  run.target = options.target.resolve_one();
  run.seed = options.seed ? *options.seed : std::random_device{}();
  run.cases = cases_of(asked, run.seed);
  catch_interrupts();
  check_all(options, gpu, run);
  report(options, gpu, run);
  if (interrupted()) return Exit::interrupted;
  return run.failures() == 0 ? Exit::done : Exit::findings;
}

}  // namespace

void add_verify(CLI::App& app, Exit& exit) {
  auto options = std::make_shared<VerifyOptions>();
  CLI::App* verb = app.add_subcommand(
      "verify", "Check kernels on the GPU against an FP64 product of fresh random data");
  verb->footer(
      "\nEach kernel is run twice for each row count, into poisoned memory, and two more times as\n"
      "dependent launches in a row: every result must be written, nothing else may be, and all\n"
      "must agree bit for bit. The relative error is\n"
      "||out - ref|| / ||ref|| against FP64 on the dequantised weights.\n"
      "Without --m: 1,16,64 for shapes without an M of their own.\n"
      "\nExamples:\n"
      "  marlin verify --shapes llama3-8b --m 1,16,64\n"
      "  marlin verify --shape 16x28672x4096 --configs all --max-configs 200\n");
  options->shapes.default_m = {1, 16, 64};
  options->shapes.add_to(*verb);
  options->target.add_to(*verb);
  verb->add_option("--configs", options->configs, "the chosen config, or all that are legal")
      ->check(CLI::IsMember({"all", "chosen"}))
      ->capture_default_str();
  verb->add_option("--config", options->config,
                   "this config's text, or 'model' for the cost model's, instead of the chosen one")
      ->type_name("TEXT");
  verb->add_option("--max-configs", options->max_configs,
                   "of all legal configs of a shape, so many drawn evenly by the seed; 0: all")
      ->type_name("N");
  verb->add_option("--seed", options->seed, "for data and draws; random unless given");
  verb->add_option("--tolerance", options->tolerance, "relative error that fails")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  verb->add_option("-j,--jobs", options->jobs, "compile on so many threads; 0: one for each core")
      ->check(CLI::Range(0, 1024));
  verb->add_flag("--no-cache", options->no_cache, "keep the kernels out of the user's cache");
  verb->add_flag("--json", options->json, "print the result as JSON");
  verb->callback([options, &exit] { exit = run_verify(*options); });
}

}  // namespace marlin
