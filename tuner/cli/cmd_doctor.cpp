// marlin doctor: this machine -> what is found of all that compiling, caching and launching need,
// and what is wrong with it; a shape -> the kernel it gets here. Entry point: add_doctor.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <memory>

#include "codegen/base/error.h"
#include "codegen/generator.h"
#include "runtime/cache/cubin_cache.h"
#include "runtime/choose/settings.h"
#include "runtime/compile/kernel_build.h"
#include "runtime/compile/kernel_caches.h"
#include "runtime/compile/nvrtc.h"
#include "runtime/driver/device.h"
#include "runtime/driver/driver.h"
#include "tuner/cli/cli_common.h"
#include "tuner/cli/disassembler.h"
#include "tuner/cli/verbs.h"
#include "tuner/search/tuning_files.h"

namespace marlin {
namespace {

using Json = nlohmann::ordered_json;

// One thing looked at. `state` is "ok", "note" (only what this serves is lost), "finding" or
// "missing" (nothing can be compiled).
struct Check {
  std::string name, state, text;
  Json details = Json::object();
};

constexpr const char* kVariables[] = {"MARLIN_CACHE_DIR", "MARLIN_SYSTEM_CACHE_DIRS",
                                      "MARLIN_CACHE_CAP", "MARLIN_DISABLE_JIT",
                                      "MARLIN_TUNING_DB", "MARLIN_NVRTC",
                                      "XDG_CACHE_HOME",   "XDG_DATA_HOME",
                                      "CUDA_HOME",        "CUDA_PATH",
                                      "LD_LIBRARY_PATH",  "CUDA_VISIBLE_DEVICES"};

// The oldest NVRTC that compiles every config (for architectures that it knows).
constexpr int kAllConfigs = 12010;

Check check_nvrtc() {
  Check result{"NVRTC", "ok", ""};
  try {
    const Nvrtc& library = nvrtc();
    result.text = fmt::format("{} at {}", library.identity(), library.path());
    result.details = {{"identity", library.identity()}, {"path", library.path()}};
    if (library.number() < kAllConfigs) {
      result.state = "note";
      result.text += fmt::format(
          ": {} compiles the kernels whose clusters split K, and with an "
          "older one others take their place",
          version_text(kAllConfigs));
    }
  } catch (const Error& error) {
    result.state = "missing";
    result.text = error.what();
  }
  return result;
}

// Compiles an empty kernel for each architecture: an older NVRTC does not know them all.
Check check_archs() {
  Check result{"architectures", "ok", ""};
  std::string refused;
  for (const ArchLimits& arch : known_archs()) {
    const std::string name(arch.name);
    try {
      nvrtc_compile({.source = "extern \"C\" __global__ void probe() {}",
                     .name = "probe.cu",
                     .arch = name,
                     .options = kernel_compile_options()});
      const std::string products = products_served_by(name);
      result.text += fmt::format("{}{}{}", result.text.empty() ? "" : "; ", name,
                                 products.empty() ? "" : ": " + products);
      result.details[name] = true;
    } catch (const Error& error) {
      refused += fmt::format("\n{}: {}", name, error.what());
      result.details[name] = false;
    }
  }
  if (!refused.empty()) {
    result.state = "finding";
    result.text += refused;
  }
  return result;
}

Check check_driver() {
  Check result{"driver", "ok", ""};
  try {
    const int version = driver().version;
    result.text = fmt::format("for CUDA {}.{}", version / 1000, version % 1000 / 10);
    result.details["cuda_version"] = version;
  } catch (const Error& error) {
    result.state = "note";
    result.text = fmt::format("{} (needed to launch only)", error.what());
  }
  return result;
}

Check check_gpu(int ordinal) {
  Check result{fmt::format("GPU {}", ordinal), "ok", ""};
  try {
    CUdevice device = 0;
    check(driver().cuDeviceGet(&device, ordinal), "cuDeviceGet");
    const std::string name = device_name(device);
    result.details["name"] = name;
    result.text = name;
    const Target& target = target_of_device(device);
    result.details.update(to_json(target));
    result.text += ", " + to_string(target);
  } catch (const Error& error) {
    result.state = "note";
    result.text += (result.text.empty() ? "" : ": ") + std::string(error.what());
  }
  return result;
}

int gpu_count() {
  int count = 0;
  if (gpu_available()) check(driver().cuDeviceGetCount(&count), "cuDeviceGetCount");
  return count;
}

// The nearest folder that is there, from the path upwards.
std::filesystem::path standing_part(std::filesystem::path path) {
  std::error_code ignored;
  while (!std::filesystem::exists(path, ignored) && path.has_relative_path()) {
    path = path.parent_path();
  }
  return path;
}

void count_entries(const CubinCache& cache, Check& result) {
  std::size_t sound = 0, damaged = 0, unreachable = 0;
  std::uint64_t bytes = 0;
  for (const ListedEntry& entry : cache.list()) {
    ++(entry.meta ? sound : damaged);
    if (entry.meta && entry.meta->key.schema != kKernelSchema) ++unreachable;
    bytes += entry.bytes;
  }
  result.details.update(
      Json{{"sound", sound}, {"damaged", damaged}, {"unreachable", unreachable}, {"bytes", bytes}});
  result.text += fmt::format(", {} entries, {} bytes, {} damaged", sound + damaged, bytes, damaged);
  if (unreachable > 0) result.text += fmt::format(", {} of another kernel schema", unreachable);
  if (damaged > 0) result.state = "finding";
}

Check check_cache(const std::string& name, const std::string& dir, bool read_only) {
  const CubinCache cache(dir, read_only);
  Check result{name, "ok", cache.dir(), {{"dir", cache.dir()}}};
  std::error_code ignored;
  const bool there = std::filesystem::exists(cache.dir(), ignored);
  try {
    if (there) count_entries(cache, result);
  } catch (const Error& error) {
    result.state = "finding";
    result.text = error.what();
  }
  if (!there) {
    result.state = read_only ? "finding" : "ok";
    result.text += read_only ? ", not there" : ", not there yet";
  }
  if (!read_only && access(standing_part(cache.dir()).c_str(), W_OK) != 0) {
    result.state = "finding";
    result.text += ", cannot be written: kernels are compiled anew in each process";
  }
  return result;
}

Check check_user_cache() {
  const std::string dir = default_cache_dir();
  if (!dir.empty()) return check_cache("cache", dir, false);
  return {"cache", "note", "none: kernels are kept in memory only"};
}

Check check_cap() {
  const std::uint64_t bytes = cache_cap();
  return {"cache cap", "ok", fmt::format("{} bytes", bytes), {{"bytes", bytes}}};
}

Check check_disassembler() {
  const std::string tool = find_disassembler();
  if (tool.empty()) {
    return {"disassembler", "note",
            fmt::format("{} (for inspect --emit sass only)", kInstallDisassembler)};
  }
  return {"disassembler", "ok", tool, {{"path", tool}}};
}

void count_records(const TuningFile& file, Check& result) {
  const LoadedDb db = load_db(file);
  const std::size_t choices = standing_choices(db).size();
  result.details.update(Json{{"choices", choices}, {"damaged", db.bad.size()}});
  result.text += fmt::format(", {} choices, {} damaged lines", choices, db.bad.size());
  if (!db.bad.empty()) result.state = "finding";
}

// A database that need not be there.
Check check_tuning_file(const std::string& path) {
  Check result{"tuning database", "ok", path, {{"path", path}}};
  try {
    const auto file = TuningFile::read(path);
    if (file) count_records(*file, result);
    if (!file) result.text += ", not there";
  } catch (const Error& error) {
    result.state = "finding";
    result.text = error.what();
  }
  return result;
}

// The user's, those in cache folders that have one, and the shipped one.
std::vector<Check> check_tuning() {
  const Settings settings = settings_from({.disable_jit = false});
  std::vector<Check> checks;
  if (settings.tuning_db.empty()) {
    checks.push_back({"tuning database", "note", "none of the user's own"});
  } else {
    checks.push_back(check_tuning_file(settings.tuning_db));
  }
  for (const std::string& path : tuning_paths(settings, false)) {
    std::error_code ignored;
    if (std::filesystem::exists(path, ignored)) checks.push_back(check_tuning_file(path));
  }
  Check shipped{"tuning database", "ok", "shipped", {{"path", nullptr}}};
  count_records(TuningFile::shipped(), shipped);
  checks.push_back(shipped);
  return checks;
}

// What is set for finding kernels, and the prebuilt folders it names.
std::vector<Check> check_settings() {
  const Settings settings = settings_from({});
  std::vector<Check> checks;
  for (const std::string& problem : settings.problems) {
    checks.push_back({"environment", "finding", problem});
  }
  for (const std::string& dir : settings.system_dirs) {
    checks.push_back(check_cache("system cache", dir, true));
  }
  Check jit{"compiling on demand", "ok", "yes"};
  if (settings.disable_jit) jit.text = "no: a kernel that is in no cache is an error";
  jit.details["disable_jit"] = settings.disable_jit;
  checks.push_back(jit);
  return checks;
}

std::vector<Check> examine() {
  std::vector<Check> checks = {check_nvrtc()};
  if (checks.front().state != "missing") checks.push_back(check_archs());
  checks.push_back(check_driver());
  const int gpus = gpu_count();
  for (int ordinal = 0; ordinal < gpus; ++ordinal) checks.push_back(check_gpu(ordinal));
  checks.push_back(check_user_cache());
  checks.push_back(check_cap());
  for (const Check& check : check_settings()) checks.push_back(check);
  for (const Check& check : check_tuning()) checks.push_back(check);
  checks.push_back(check_disassembler());
  return checks;
}

// 0 without an NVRTC: what is compiled elsewhere serves here.
int nvrtc_number() {
  try {
    return nvrtc().number();
  } catch (const Error&) {
    return 0;
  }
}

struct DoctorOptions {
  ShapeOptions shapes;
  TargetOptions targets;
  bool chained = false, json = false;

  bool asks_for_a_kernel() const { return !shapes.shapes.empty() || !shapes.sets.empty(); }
};

// Whether a cache has the kernel of this config; what is passed over goes into `checks`.
bool check_caches(KernelCaches& caches, const KernelText& text, Check& kernel,
                  std::vector<Check>& checks) {
  CacheSearch search{
      .key_under = [&](const std::string& nvrtc) { return cache_key(key_fields(text, nvrtc)); },
      .use =
          [&](const FoundKernel& found) {
            const std::string config = to_string(text.plan.config),
                              origin = to_string(found.origin);
            kernel.text = fmt::format("'{}' in the {}: {}", config, origin, found.path);
            kernel.details = {{"config", config}, {"origin", origin}, {"path", found.path}};
          }};
  const bool found = caches.find(search);
  for (const std::string& line : search.passed_over) {
    const bool known = std::any_of(checks.begin(), checks.end(),
                                   [&](const Check& check) { return check.text == line; });
    if (!known) checks.push_back({"passed over", "note", line});
  }
  return found;
}

// Where the kernel would come from, as KernelStore looks for it.
void check_kernel(const Problem& problem, const Target& target, const Choice& choice,
                  const DoctorOptions& options, std::vector<Check>& checks) {
  KernelCaches caches(settings_from({}));
  const Settings& settings = caches.settings();
  std::vector<Choice> choices = {choice};
  if (settings.disable_jit) {
    const TuningLayers prebuilt = TuningLayers::open(tuning_paths(settings, false));
    for (Choice& other :
         prebuilt_choices(problem, target, gpu_name_of(target), prebuilt, options.chained)) {
      choices.push_back(std::move(other));
    }
  }
  Check kernel{"kernel", "ok", ""};
  const bool found = std::any_of(choices.begin(), choices.end(), [&](const Choice& one) {
    return check_caches(caches, write_kernel(problem, target, one.config), kernel, checks);
  });
  if (!found) {
    kernel.state = settings.disable_jit ? "finding" : "ok";
    kernel.text = settings.disable_jit ? "in no cache, and compiling is disabled: it is an error"
                                       : "in no cache: it is compiled when it is first asked for";
  }
  checks.push_back(kernel);
}

// The kernel that one problem gets.
std::vector<Check> examine_kernel(const DoctorOptions& options) {
  const Problem problem = kernel_problem(options.shapes.resolve_one().problem);
  const Target target = options.targets.resolve_one();
  const Settings settings = settings_from({});
  std::vector<std::string> problems = settings.problems;
  TuningLayers::open(tuning_paths(settings), &problems);
  std::vector<Check> checks;
  std::transform(problems.begin(), problems.end(), std::back_inserter(checks),
                 [](const std::string& line) {
                   return Check{"passed over", "finding", line};
                 });
  const int nvrtc = settings.disable_jit ? 0 : nvrtc_number();
  const Choice choice =
      choice_for("", problem, target, gpu_name_of(target), options.chained, nvrtc);
  const std::string config = to_string(choice.config), by = to_string(choice.by);
  checks.push_back(
      {"config",
       "ok",
       fmt::format(
           "'{}' for {} on {}, by {}", config, to_string(problem), to_string(target),
           choice.layer.empty() ? "the cost model" : fmt::format("{}: {}", choice.layer, by)),
       {{"config", config}, {"chosen_by", by}, {"layer", choice.layer}}});
  check_kernel(problem, target, choice, options, checks);
  return checks;
}

Exit exit_of(const std::vector<Check>& checks) {
  Exit exit = Exit::done;
  for (const Check& check : checks) {
    if (check.state == "missing") return Exit::environment;
    if (check.state == "finding") exit = Exit::findings;
  }
  return exit;
}

void print_json(const std::vector<Check>& checks) {
  Json result = json_result("doctor");
  result["checks"] = Json::array();
  for (const Check& check : checks) {
    result["checks"].push_back({{"name", check.name},
                                {"state", check.state},
                                {"text", check.text},
                                {"details", check.details}});
  }
  result["environment"] = Json::object();
  for (const char* name : kVariables) {
    if (const char* value = std::getenv(name)) result["environment"][name] = value;
  }
  print(text_of(result));
}

void print_text(const std::vector<Check>& checks) {
  std::vector<std::vector<std::string>> rows;
  rows.reserve(checks.size() + std::size(kVariables));
  for (const Check& check : checks) rows.push_back({check.state, check.name, check.text});
  for (const char* name : kVariables) {
    if (const char* value = std::getenv(name)) rows.push_back({"set", name, value});
  }
  print(table(rows));
}

Exit run_doctor(const DoctorOptions& options) {
  const std::vector<Check> checks =
      options.asks_for_a_kernel() ? examine_kernel(options) : examine();
  options.json ? print_json(checks) : print_text(checks);
  return exit_of(checks);
}

}  // namespace

void add_doctor(CLI::App& app, Exit& exit) {
  auto options = std::make_shared<DoctorOptions>();
  CLI::App* verb =
      app.add_subcommand("doctor", "Say what of this machine serves, and what is wrong");
  verb->footer(
      "\nLooks at NVRTC and the architectures it compiles for, the driver, the GPUs, the cache\n"
      "folders, the tuning databases, the disassembler and the environment variables that are "
      "set.\n"
      "ok: it serves; note: not there, and only what is named is lost; finding: to be mended;\n"
      "missing: nothing can be compiled. Exit code 0 when all that compiling without a GPU needs "
      "is\n"
      "fine, 1 with findings, 3 without NVRTC.\n"
      "\nWith a shape it says which config that gets here and why, where its kernel is found, and\n"
      "what is passed over on the way.\n"
      "\nExamples:\n"
      "  marlin doctor\n"
      "  MARLIN_NVRTC=/opt/cuda/lib64/libnvrtc.so.13 marlin doctor --json\n"
      "  MARLIN_SYSTEM_CACHE_DIRS=DIR MARLIN_DISABLE_JIT=1 marlin doctor --shape 16x4096x4096\n");
  options->shapes.add_to(*verb);
  options->targets.add_to(*verb);
  verb->add_flag("--chained", options->chained, "with a shape: its kernel for chained launches");
  verb->add_flag("--json", options->json, "the same as JSON");
  verb->callback([options, &exit] { exit = run_doctor(*options); });
}

}  // namespace marlin
