// marlin prebuild: shapes x targets, or tuning databases -> a cache folder of their kernels with a
// manifest and the choices made, on a machine that needs no GPU. Entry point: add_prebuild.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <memory>

#include "codegen/base/error.h"
#include "runtime/cache/cache_folder.h"
#include "runtime/cache/cubin_cache.h"
#include "runtime/compile/kernel_build.h"
#include "runtime/compile/nvrtc.h"
#include "tuner/cli/cli_common.h"
#include "tuner/cli/verbs.h"
#include "tuner/search/parallel.h"
#include "tuner/search/tuning_files.h"

namespace marlin {
namespace {

using Json = nlohmann::ordered_json;

struct PrebuildOptions {
  ShapeOptions shapes;
  TargetOptions targets;
  std::string config, out, gpu;
  bool from_db = false;
  std::string db;  // with from_db: this file's choices; empty: those of all layers
  int jobs = 1;
  bool chained = false, json = false;
};

enum class Status { left, built, present, replaced, failed };
constexpr std::array kStatusNames = {"left", "built", "present", "replaced", "failed"};

struct Job {
  std::string layer;
  KernelText kernel;
  ChosenBy by = ChosenBy::model;
  std::vector<TuningRecord> records;  // that chose it
  std::string key;
  Status status = Status::left;
  double compile_ms = 0;
  std::string why;  // what was wrong with a replaced entry, or why the job failed
  std::string log;  // of a compile that failed
};

const char* name_of(Status status) { return kStatusNames[static_cast<std::size_t>(status)]; }

// What is to be built, and what was wrong with the databases that say so.
struct Work {
  std::vector<Job> jobs;
  std::size_t findings = 0;
};

Job job_for(const std::string& layer, const Problem& problem, const Target& target,
            const Choice& choice) {
  return {.layer = layer,
          .kernel = write_kernel(problem, target, choice.config),
          .by = choice.by,
          .records = {},
          .key = {},
          .why = {},
          .log = {}};
}

// Every shape on every target.
std::vector<Job> jobs_for_shapes(const PrebuildOptions& options) {
  std::vector<Job> jobs;
  const std::vector<NamedProblem> shapes = options.shapes.resolve();
  for (const Target& target : options.targets.resolve()) {
    const std::string gpu = options.gpu.empty() ? gpu_name_of(target) : options.gpu;
    std::vector<Problem> planned;
    for (const NamedProblem& named : shapes) {
      const Problem problem = kernel_problem(named.problem);
      if (std::find(planned.begin(), planned.end(), problem) != planned.end()) continue;
      planned.push_back(problem);
      const Choice choice =
          choice_for(options.config, problem, target, gpu, options.chained, nvrtc().number());
      jobs.push_back(job_for(named.layer, problem, target, choice));
      if (choice.record) jobs.back().records.push_back(*choice.record);
    }
  }
  return jobs;
}

// Of the file, or of all layers: a choice of an earlier layer stands for those of later ones.
std::vector<TuningRecord> choices_of_databases(const PrebuildOptions& options,
                                               std::size_t& findings) {
  std::vector<LoadedDb> databases;
  if (!options.db.empty()) databases.push_back(load_named_db(options.db));
  if (options.db.empty()) {
    for (const auto& file : tuning_layers().files()) databases.push_back(load_db(*file));
  }
  std::vector<TuningRecord> choices;
  for (const LoadedDb& db : databases) {
    for (const BadLine& bad : db.bad) warn(to_string(bad));
    findings += db.bad.size();
    for (TuningRecord& record : standing_choices(db)) {
      if (!current_schema(record)) continue;
      const bool known =
          std::any_of(choices.begin(), choices.end(),
                      [&](const TuningRecord& other) { return same_key(other, record); });
      if (!known) choices.push_back(std::move(record));
    }
  }
  return choices;
}

// Where shapes are named without an M, each rung that the databases know is wanted.
std::vector<NamedProblem> wanted_shapes(ShapeOptions shapes) {
  if (shapes.shapes.empty() && shapes.sets.empty()) return {};
  if (shapes.m.empty()) shapes.default_m.assign(rungs().begin(), rungs().end());
  return shapes.resolve();
}

template <typename T>
bool among(const std::vector<T>& list, const T& value) {
  return list.empty() || std::find(list.begin(), list.end(), value) != list.end();
}

// Each kernel that the databases choose for some GPU, unless the options leave it out.
Work jobs_of_databases(const PrebuildOptions& options) {
  Work work;
  const std::vector<NamedProblem> shapes = wanted_shapes(options.shapes);
  std::vector<std::string> archs = options.targets.archs;
  for (std::string& arch : archs) arch = arch_named(arch);
  for (TuningRecord& record : choices_of_databases(options, work.findings)) {
    const auto named = std::find_if(shapes.begin(), shapes.end(), [&](const NamedProblem& one) {
      return kernel_problem(one.problem) == record.problem;
    });
    if (!shapes.empty() && named == shapes.end()) continue;
    if (record.gpu.find(options.gpu) == std::string::npos) continue;
    if (!among(archs, record.target.arch)) continue;
    if (!among(options.targets.sms, record.target.sms)) continue;
    const auto same = std::find_if(work.jobs.begin(), work.jobs.end(), [&](const Job& job) {
      const Plan& plan = job.kernel.plan;
      return plan.problem == record.problem && plan.target == record.target &&
             plan.config == record.config;
    });
    Job& job =
        same != work.jobs.end()
            ? *same
            : work.jobs.emplace_back(job_for(shapes.empty() ? "" : named->layer, record.problem,
                                             record.target, {record.config, ChosenBy::tuned}));
    job.records.push_back(std::move(record));
  }
  if (work.jobs.empty()) {
    throw Error(ErrorCode::invalid_argument,
                "--from-db: no choice of the current kernels is left to build");
  }
  return work;
}

// Every kernel wanted, each once; what breaks a rule is refused here, before anything is compiled.
Work plan_work(const PrebuildOptions& options) {
  if (!options.from_db) return {jobs_for_shapes(options), 0};
  if (!options.config.empty() || options.chained) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("--from-db and {} exclude each other",
                            options.chained ? "--chained" : "--config"));
  }
  return jobs_of_databases(options);
}

// The choices whose kernels are there, so that get() comes to them with this folder and no other
// database. They stand for earlier ones in the folder.
void write_choices(const std::string& dir, const std::vector<Job>& jobs) {
  std::vector<TuningRecord> records;
  for (const Job& job : jobs) {
    if (job.status == Status::left || job.status == Status::failed) continue;
    records.insert(records.end(), job.records.begin(), job.records.end());
  }
  for (const BadLine& bad : add_choices(dir, records)) warn("left out " + to_string(bad));
}

// Made or checked before the first compile, whose entry could not be kept otherwise.
void open_folder(const std::string& path) {
  try {
    CacheFolder::create(path);
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("--out {}", error.what()));
  }
}

// Leaves a sound entry of the job's key in the cache, or says in the job why it could not.
void do_job(CubinCache& cache, const std::string& failed_dir, Job& job) {
  std::string damage;
  if (cache.load(job.key, &damage)) {
    job.status = Status::present;
    return;
  }
  try {
    const BuiltEntry built =
        load_or_build(cache, job.key, [&] { return compile_kernel(job.kernel, failed_dir); });
    job.compile_ms = built.from_cache ? 0 : built.entry.meta.compile_ms;
    job.status = built.from_cache ? Status::present
                 : damage.empty() ? Status::built
                                  : Status::replaced;
    job.why = damage;
    if (built.store_error.empty()) return;
    job.status = Status::failed;
    job.why = built.store_error;
  } catch (const Error& error) {
    job.status = Status::failed;
    job.why = error.what();
    job.log = error.log();
  }
}

std::size_t count(const std::vector<Job>& jobs, Status status) {
  return static_cast<std::size_t>(std::count_if(
      jobs.begin(), jobs.end(), [status](const Job& job) { return job.status == status; }));
}

Json describe(const Job& job) {
  Json json = {{"layer", job.layer},
               {"shape", to_json(job.kernel.plan.problem)},
               {"target", to_json(job.kernel.plan.target)},
               {"config", to_string(job.kernel.plan.config)},
               {"chosen_by", to_string(job.by)},
               {"key", job.key},
               {"status", name_of(job.status)}};
  if (job.status == Status::built || job.status == Status::replaced) {
    json["compile_ms"] = job.compile_ms;
  }
  if (!job.why.empty()) json["why"] = job.why;
  return json;
}

void print_json(const std::vector<Job>& jobs, const std::string& dir) {
  Json result = json_result("prebuild");
  result["dir"] = dir;
  for (std::size_t i = 0; i < kStatusNames.size(); ++i) {
    result[kStatusNames[i]] = count(jobs, static_cast<Status>(i));
  }
  result["interrupted"] = interrupted();
  result["kernels"] = Json::array();
  for (const Job& job : jobs) result["kernels"].push_back(describe(job));
  print(text_of(result));
}

void print_text(const std::vector<Job>& jobs, const std::string& dir) {
  std::vector<std::vector<std::string>> rows = {
      {"status", "layer", "shape", "arch", "sms", "config", "compile_ms", "key"}};
  for (const Job& job : jobs) {
    const Plan& plan = job.kernel.plan;
    rows.push_back(
        {name_of(job.status), job.layer.empty() ? "-" : job.layer, to_string(plan.problem),
         plan.target.arch, std::to_string(plan.target.sms), to_string(plan.config),
         job.compile_ms > 0 ? fmt::format("{:.0f}", job.compile_ms) : "", job.key.substr(0, 12)});
  }
  std::string summary;
  for (Status status : {Status::built, Status::present, Status::replaced, Status::failed}) {
    summary += fmt::format("{} {}, ", count(jobs, status), name_of(status));
  }
  if (count(jobs, Status::left) > 0) {
    summary += fmt::format("{} left, ", count(jobs, Status::left));
  }
  print(table(rows) + fmt::format("{}of {} kernels in {}\n", summary, jobs.size(), dir));
}

void report_troubles(const std::vector<Job>& jobs) {
  for (const Job& job : jobs) {
    if (job.why.empty()) continue;
    const Plan& plan = job.kernel.plan;
    warn(fmt::format("{} {} on {}: {}", name_of(job.status), to_string(plan.problem),
                     to_string(plan.target), job.why));
    if (!job.log.empty()) fmt::print(stderr, "{}\n", job.log);
  }
}

Exit run_prebuild(const PrebuildOptions& options) {
  Work work = plan_work(options);
  std::vector<Job>& jobs = work.jobs;
  const std::string identity = nvrtc_identity();
  for (Job& job : jobs) job.key = cache_key(key_fields(job.kernel, identity));
  open_folder(options.out);
  catch_interrupts();
  // No cap: an entry of a prebuilt folder must not push out another.
  CubinCache cache(CacheSettings{.dir = options.out,
                                 .read_only = false,
                                 .cap_bytes = std::numeric_limits<std::uint64_t>::max(),
                                 .on_publish = {}});
  const std::string failed_dir = failed_dir_of(CubinCache(default_cache_dir()));
  {
    Progress progress("prebuilding", jobs.size());
    parallel_for(jobs.size(), options.jobs, [&](std::size_t i) {
      do_job(cache, failed_dir, jobs[i]);
      progress.step(jobs[i].kernel.plan.launch.entry);
    });
  }
  cache.write_manifest();
  write_choices(cache.dir(), jobs);
  report_troubles(jobs);
  options.json ? print_json(jobs, cache.dir()) : print_text(jobs, cache.dir());
  if (interrupted()) return Exit::interrupted;
  return count(jobs, Status::failed) + work.findings > 0 ? Exit::findings : Exit::done;
}

}  // namespace

void add_prebuild(CLI::App& app, Exit& exit) {
  auto options = std::make_shared<PrebuildOptions>();
  CLI::App* verb =
      app.add_subcommand("prebuild", "Compile kernels into a cache folder, without a GPU");
  verb->footer(
      "\nEvery shape is compiled for every target. --arch and --sms pair up when they are equally\n"
      "long; one entry alone goes with every entry of the other list. What is in the folder and\n"
      "sound is left as it is, what is damaged is replaced. An interrupt lets the compiles under\n"
      "way end and leaves a sound folder; running the same command again does the rest.\n"
      "Name the folder in MARLIN_SYSTEM_CACHE_DIRS to use it.\n"
      "\n--from-db builds what the tuning databases choose: every current choice of FILE, or of "
      "all\n"
      "databases that `marlin db ls` shows. Shapes, --arch, --sms and --gpu then only leave out.\n"
      "In either case the choices go into the folder, as tuning.jsonl, with the kernels.\n"
      "\nExamples:\n"
      "  marlin prebuild --arch sm_80,sm_90a --sms 108,132 --shapes llama3-8b --m 1,16,64 -j 2 "
      "--out DIR\n"
      "  marlin prebuild --arch sm_89 --sms 58,142 --shape 16x4096x4096 --shape 1x4096x4096 --out "
      "DIR\n"
      "  marlin prebuild --from-db --gpu H200 --out DIR\n"
      "  marlin prebuild --from-db tuning.jsonl --shapes llama3-8b --out DIR\n");
  options->shapes.add_to(*verb);
  options->targets.add_to(*verb);
  verb->add_option("--out", options->out, "the cache folder; made when it is not there")
      ->required()
      ->type_name("DIR");
  verb->add_option(
          "--config", options->config,
          "this config's text, or 'model' for the cost model's, instead of the chosen ones")
      ->type_name("TEXT");
  CLI::Option* from_db =
      verb->add_option("--from-db", options->db,
                       "build what this tuning database chooses, or all of them do")
          ->expected(0, 1)
          ->type_name("[FILE]");
  verb->add_option("--gpu", options->gpu,
                   "the GPU's name as its driver has it, where several share a target (with "
                   "--from-db: a part of it); else that of the GPU here if it is of the target")
      ->type_name("NAME");
  verb->add_flag("--chained", options->chained,
                 "the configs chosen for chained launches; --from-db takes both kinds");
  verb->add_option("-j,--jobs", options->jobs, "compiles at the same time")
      ->check(CLI::Range(1, 1024))
      ->type_name("N");
  verb->add_flag("--json", options->json, "what was done, as JSON");
  verb->callback([options, from_db, &exit] {
    options->from_db = from_db->count() > 0;
    exit = run_prebuild(*options);
  });
}

}  // namespace marlin
