// marlin prebuild: shapes x targets -> a cache folder of their kernels with a manifest, on a
// machine that needs no GPU. Entry point: add_prebuild.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <limits>
#include <memory>

#include "codegen/error.h"
#include "runtime/cubin_cache.h"
#include "runtime/kernel_build.h"
#include "runtime/nvrtc.h"
#include "tuner/cli_common.h"
#include "tuner/parallel.h"
#include "tuner/verbs.h"

namespace marlin {
namespace {

using Json = nlohmann::ordered_json;

struct PrebuildOptions {
  ShapeOptions shapes;
  TargetOptions targets;
  std::string config, out;
  int jobs = 1;
  bool json = false;
};

enum class Status { left, built, present, replaced, failed };
constexpr std::array kStatusNames = {"left", "built", "present", "replaced", "failed"};

struct Job {
  std::string layer;
  KernelText kernel;
  std::string key;
  Status status = Status::left;
  double compile_ms = 0;
  std::string why;  // what was wrong with a replaced entry, or why the job failed
  std::string log;  // of a compile that failed
};

const char* name_of(Status status) { return kStatusNames[static_cast<std::size_t>(status)]; }

// Every kernel wanted, each once; what breaks a rule is refused here, before anything is compiled.
std::vector<Job> plan_jobs(const PrebuildOptions& options) {
  std::vector<Job> jobs;
  const std::vector<NamedShape> shapes = options.shapes.resolve();
  for (const Target& target : options.targets.resolve()) {
    std::vector<Shape> planned;
    for (const NamedShape& named : shapes) {
      const Shape shape = kernel_shape(named.shape);
      if (std::find(planned.begin(), planned.end(), shape) != planned.end()) continue;
      planned.push_back(shape);
      jobs.push_back(
          {.layer = named.layer,
           .kernel = write_kernel(shape, target, config_for(options.config, shape, target)),
           .key = {},
           .why = {},
           .log = {}});
    }
  }
  return jobs;
}

void make_folder(const std::string& path) {
  std::error_code problem;
  std::filesystem::create_directories(path, problem);
  if (problem) throw Error(ErrorCode::io, fmt::format("--out {}: {}", path, problem.message()));
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
               {"shape", to_json(job.kernel.plan.shape)},
               {"target", to_json(job.kernel.plan.target)},
               {"config", to_string(job.kernel.plan.config)},
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
    rows.push_back({name_of(job.status), job.layer.empty() ? "-" : job.layer, to_string(plan.shape),
                    plan.target.arch, std::to_string(plan.target.sms), to_string(plan.config),
                    job.compile_ms > 0 ? fmt::format("{:.0f}", job.compile_ms) : "",
                    job.key.substr(0, 12)});
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
    warn(fmt::format("{} {} on {}: {}", name_of(job.status), to_string(plan.shape),
                     to_string(plan.target), job.why));
    if (!job.log.empty()) fmt::print(stderr, "{}\n", job.log);
  }
}

Exit run_prebuild(const PrebuildOptions& options) {
  std::vector<Job> jobs = plan_jobs(options);
  const std::string identity = nvrtc_identity();
  for (Job& job : jobs) job.key = cache_key(key_fields(job.kernel, identity));
  make_folder(options.out);
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
      progress.step(jobs[i].kernel.plan.entry);
    });
  }
  cache.write_manifest();
  report_troubles(jobs);
  options.json ? print_json(jobs, cache.dir()) : print_text(jobs, cache.dir());
  if (interrupted()) return Exit::interrupted;
  return count(jobs, Status::failed) > 0 ? Exit::findings : Exit::done;
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
      "\nExamples:\n"
      "  marlin prebuild --arch sm_80,sm_90a --sms 108,132 --shapes llama3-8b --m 1,16,64 -j 2 "
      "--out DIR\n"
      "  marlin prebuild --arch sm_89 --sms 58,142 --shape 16x4096x4096 --shape 1x4096x4096 --out "
      "DIR\n");
  options->shapes.add_to(*verb);
  options->targets.add_to(*verb);
  verb->add_option("--out", options->out, "the cache folder; made when it is not there")
      ->required()
      ->type_name("DIR");
  verb->add_option(
          "--config", options->config,
          "this config's text, or 'model' for the cost model's, instead of the chosen ones")
      ->type_name("TEXT");
  verb->add_option("-j,--jobs", options->jobs, "compiles at the same time")
      ->check(CLI::Range(1, 1024))
      ->type_name("N");
  verb->add_flag("--json", options->json, "what was done, as JSON");
  verb->callback([options, &exit] { exit = run_prebuild(*options); });
}

}  // namespace marlin
