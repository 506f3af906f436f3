// Shape -> Target -> Config -> Plan -> Source -> Cubin -> Kernel, each looked up before it is made.
// Entry points: KernelStore::get, KernelStore::adopt, process_store.
#include "runtime/launch/kernel_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "codegen/generator.h"
#include "runtime/choose/select.h"
#include "runtime/compile/nvrtc.h"
#include "runtime/driver/device.h"
#include "runtime/driver/driver.h"

namespace marlin {
namespace {

void refuse_while_capturing(CUstream stream, const Problem& problem) {
  if (!capture_under_way(stream)) return;
  throw Error(ErrorCode::capturing,
              fmt::format("the kernel for {} is not in memory, and a stream capture is under way: "
                          "call Compiled::get() for it once before the capture",
                          to_string(problem)));
}

Target target_for(const Options& options) {
  Target target = options.target ? *options.target : target_of_current_context().target;
  target.arch = arch_named(target.arch);
  return target;
}

std::string listed(const std::vector<std::string>& lines) {
  std::string text = lines.empty() ? "" : "\nPassed over:";
  for (const std::string& line : lines) text += "\n  " + line;
  return text;
}

// The first folder that a prebuilt kernel could be put into and found in.
std::string usable_dir(const Settings& settings) {
  std::vector<std::string> dirs = settings.system_dirs;
  if (!settings.cache_dir.empty()) dirs.insert(dirs.begin(), settings.cache_dir);
  for (const std::string& dir : dirs) {
    if (CubinCache(dir, true).refusal().empty()) return dir;
  }
  return {};
}

// The command names the config where others would not come to it by themselves.
[[noreturn]] void refuse_jit(const Plan& plan, bool name_config, const Settings& settings,
                             const std::vector<std::string>& passed_over) {
  const std::string command =
      prebuild_command(plan, name_config ? to_string(plan.config) : "", usable_dir(settings));
  throw Error(
      ErrorCode::jit_disabled,
      fmt::format("no cache has the kernel for {} on {}, and compiling is disabled; this "
                  "command makes it: {}{}",
                  to_string(plan.problem), to_string(plan.target), command, listed(passed_over)));
}

}  // namespace

// The way from a problem to its kernel, and what is passed over on it.
class KernelStore::Maker {
 public:
  Maker(KernelCaches& caches, const TableKey& key, Target target)
      : caches_(caches), device_(key.device), problem_(key.problem), target_(std::move(target)) {}

  // From a cache; null when none has it.
  std::unique_ptr<Kernel> find(const Choice& choice) {
    search_ = search_for(choice);
    caches_.find(search_);
    note(search_);
    return std::move(kernel_);
  }

  // The kernel of the last choice, which find() has not found, compiled. Throws Error, with all
  // that was passed over where the driver does not take it.
  std::unique_ptr<Kernel> build(const CompileStep& compile) {
    try {
      caches_.build(search_, [&] { return compile(*text_, caches_.failed_dir()); });
    } catch (const RefusedCubin& error) {
      throw Error(error.code(), error.what() + listed(passed_over_));
    }
    return std::move(kernel_);
  }

  const Plan& plan() const { return text_->plan; }  // of the last choice
  const Problem& problem() const { return problem_; }
  const Target& target() const { return target_; }
  const Settings& settings() const { return caches_.settings(); }
  std::vector<std::string>& passed_over() { return passed_over_; }

 private:
  CacheSearch search_for(const Choice& choice) {
    text_ = write_kernel(problem_, target_, choice.config);
    return {.key_under =
                [this](const std::string& nvrtc) { return cache_key(key_fields(*text_, nvrtc)); },
            .use =
                [this, by = choice.by](const FoundKernel& found) {
                  kernel_ = std::make_unique<Kernel>(*text_, found, device_, by);
                }};
  }

  // Each reason once: several configs may have been looked for.
  void note(const CacheSearch& search) {
    for (const std::string& line : search.passed_over) {
      if (std::find(passed_over_.begin(), passed_over_.end(), line) == passed_over_.end()) {
        passed_over_.push_back(line);
      }
    }
  }

  KernelCaches& caches_;
  int device_;
  Problem problem_;
  Target target_;
  std::optional<KernelText> text_;
  CacheSearch search_;
  std::unique_ptr<Kernel> kernel_;
  std::vector<std::string> passed_over_;
};

KernelStore& process_store() {
  static auto& store = *new KernelStore;  // never ends: a kernel may be in use until the very last
  return store;
}

const Kernel* KernelStore::get(const Problem& problem, const Options& options) {
  const TableKey key = key_of(problem, options);
  if (const Kernel* kernel = table_.find(key)) return kernel;
  require_valid(key.problem);
  refuse_while_capturing(options.stream, key.problem);
  return flights_.run(key, [&] {
    const Kernel* kernel = table_.find(key);  // made since the look above
    return kernel != nullptr ? kernel : table_.insert(key, make(key, options));
  });
}

Compiled KernelStore::compiled(const Problem& problem, const Options& options) {
  return {get(problem, options), problem.shape.m};
}

TableKey KernelStore::key_of(const Problem& problem, const Options& options) {
  const ContextTarget& here = target_of_current_context();
  TableKey key{here.device, here.target.sms, variant_of(options), kernel_problem(problem)};
  key.problem.batch_invariant = problem.batch_invariant || options.batch_invariant;
  return key;
}

Choice KernelStore::choose(const TableKey& key, const Options& options, const Settings& settings) {
  return choose_config(options.config.value_or(""), key.problem, target_for(options),
                       device_name(key.device), tuning_of(tuning_paths(settings))->layers,
                       options.chained);
}

KernelStore::Present KernelStore::present(const Problem& problem, const Options& options) {
  const TableKey key = key_of(problem, options);
  if (const Kernel* kernel = table_.find(key)) return {kernel->plan().config, kernel->chosen_by()};
  require_valid(key.problem);
  const Choice choice = choose(key, options, settings_for(options));
  return {choice.config, choice.by};
}

const Kernel* KernelStore::adopt(const Problem& problem, const Options& options,
                                 const Config& config, const CompileStep& compile) {
  const TableKey key = key_of(problem, options);
  const Kernel* before = table_.find(key);
  if (before != nullptr && before->plan().config == config) return before;
  require_valid(key.problem);
  const std::shared_ptr<KernelCaches> caches = caches_for(options);
  Maker maker(*caches, key, target_for(options));
  std::unique_ptr<Kernel> kernel = maker.find({config, ChosenBy::tuned});
  if (!kernel) kernel = maker.build(compile ? compile : compile_);
  kernel->set_passed_over(std::move(maker.passed_over()));
  const Kernel* kept = keep(std::move(kernel));
  table_.assign(key, kept);
  return kept;
}

void KernelStore::read_again(const std::string& path) {
  const std::lock_guard lock(mutex_);
  std::erase_if(tuning_, [&](const auto& entry) {
    return std::find(entry.first.begin(), entry.first.end(), path) != entry.first.end();
  });
}

void KernelStore::tune_once(const Problem& problem, const Options& options,
                            const std::function<void()>& tune) {
  const TableKey key = key_of(problem, options);
  const auto known = [&] {
    const std::lock_guard lock(mutex_);
    return tuned_.count(key) > 0;
  };
  if (known()) return;
  first_uses_.run(key, [&] {
    if (known()) return true;
    if (present(problem, options).by != ChosenBy::tuned) tune();
    const std::lock_guard lock(mutex_);
    return tuned_.insert(key).second;
  });
}

Settings KernelStore::settings_for(const Options& options) {
  return caches_for(options)->settings();
}

const Kernel* KernelStore::keep(std::unique_ptr<Kernel> kernel) {
  const std::lock_guard lock(mutex_);
  return kernels_.emplace_back(std::move(kernel)).get();
}

const Kernel* KernelStore::make(const TableKey& key, const Options& options) {
  const std::shared_ptr<KernelCaches> caches = caches_for(options);
  const Settings& settings = caches->settings();
  const std::string gpu = device_name(key.device);
  const auto tuning = tuning_of(tuning_paths(settings));
  const Choice choice = choose(key, options, settings);
  Maker maker(*caches, key, target_for(options));
  maker.passed_over() = settings.problems;
  for (const std::string& problem : tuning->problems) maker.passed_over().push_back(problem);
  std::unique_ptr<Kernel> kernel = settings.disable_jit
                                       ? find_prebuilt(maker, choice, gpu, options)
                                       : find_or_build(maker, choice, gpu, options);
  kernel->set_passed_over(std::move(maker.passed_over()));
  return keep(std::move(kernel));
}

// For this choice, else, where the NVRTC here cannot compile its config, for the best that it can.
std::unique_ptr<Kernel> KernelStore::find_or_build(Maker& maker, const Choice& choice,
                                                   const std::string& gpu, const Options& options) {
  if (auto kernel = maker.find(choice)) return kernel;
  const Target& target = maker.target();
  const int least = least_nvrtc(target, choice.config);
  const bool may_change = choice.by != ChosenBy::given && least > limits_of(target).least_nvrtc;
  if (!may_change || least <= nvrtc().number()) return maker.build(compile_);
  maker.passed_over().push_back(fmt::format("config '{}': needs NVRTC {} or newer, and {} is {}",
                                            to_string(choice.config), version_text(least),
                                            nvrtc().path(), nvrtc().version()));
  const Choice other = choose_config(options.config.value_or(""), maker.problem(), target, gpu,
                                     tuning_of(tuning_paths(maker.settings()))->layers,
                                     options.chained, nvrtc().number());
  if (auto kernel = maker.find(other)) return kernel;
  return maker.build(compile_);
}

// For this choice, else for another that its kernel may have been prebuilt with.
std::unique_ptr<Kernel> KernelStore::find_prebuilt(Maker& maker, const Choice& choice,
                                                   const std::string& gpu, const Options& options) {
  if (auto kernel = maker.find(choice)) return kernel;
  const Plan plan = maker.plan();
  if (!options.config) {
    const auto tuning = tuning_of(tuning_paths(maker.settings(), false));
    for (const Choice& other :
         prebuilt_choices(plan.problem, plan.target, gpu, tuning->layers, options.chained)) {
      if (other.config == choice.config) continue;
      if (auto kernel = maker.find(other)) return kernel;
    }
  }
  refuse_jit(plan, options.config || choice.by != ChosenBy::model, maker.settings(),
             maker.passed_over());
}

int KernelStore::variant_of(const Options& options) {
  const bool chained = options.chained && !options.config;  // a given config is the same kernel
  if (!options.config && !options.target) return chained ? 1 : 0;
  const std::string name =
      fmt::format("{}|{}|{}", options.config.value_or(""),
                  options.target ? to_string(*options.target) : std::string(), chained);
  const std::lock_guard lock(mutex_);
  return variants_.emplace(name, static_cast<int>(variants_.size()) + 2).first->second;
}

std::shared_ptr<KernelCaches> KernelStore::caches_for(const Options& options) {
  if (options.cache_dir || options.system_dirs || options.disable_jit || options.tuning_db) {
    return std::make_shared<KernelCaches>(settings_from(options));
  }
  const std::lock_guard lock(mutex_);
  if (!default_caches_) default_caches_ = std::make_shared<KernelCaches>(settings_from({}));
  return default_caches_;
}

// A file is read once in the life of the store, and again after records were added to it.
std::shared_ptr<const KernelStore::Tuning> KernelStore::tuning_of(
    const std::vector<std::string>& paths) {
  const std::lock_guard lock(mutex_);
  std::shared_ptr<const Tuning>& tuning = tuning_[paths];
  if (!tuning) {
    std::vector<std::string> problems;
    TuningLayers layers = TuningLayers::open(paths, &problems);
    tuning = std::make_shared<const Tuning>(Tuning{std::move(layers), std::move(problems)});
  }
  return tuning;
}

}  // namespace marlin
