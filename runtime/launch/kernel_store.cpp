// Shape -> Target -> Config -> Plan -> Source -> Cubin -> Kernel, each looked up before it is made.
// Entry points: KernelStore::get, process_store.
#include "runtime/launch/kernel_store.h"

#include <fmt/format.h>

#include "runtime/choose/select.h"
#include "runtime/driver/device.h"
#include "runtime/driver/driver.h"

namespace marlin {
namespace {

void refuse_while_capturing(CUstream stream, const Problem& problem) {
  if (!is_capturing(nullptr) && (stream == nullptr || !is_capturing(stream))) return;
  throw Error(ErrorCode::capturing,
              fmt::format("the kernel for {} is not in memory, and a stream capture is under way: "
                          "call Compiled::get() for it once before the capture",
                          to_string(problem)));
}

// The command names the config where others would not come to it by themselves.
[[noreturn]] void refuse_jit(const Plan& plan, bool name_config, const Settings& settings) {
  std::string dir = settings.cache_dir;
  if (dir.empty() && !settings.system_dirs.empty()) dir = settings.system_dirs.front();
  throw Error(ErrorCode::jit_disabled,
              fmt::format("no cache has the kernel for {} on {}, and compiling is disabled; this "
                          "command makes it: {}",
                          to_string(plan.problem), to_string(plan.target),
                          prebuild_command(plan, name_config ? to_string(plan.config) : "", dir)));
}

}  // namespace

KernelStore& process_store() {
  static auto& store = *new KernelStore;  // never ends: a kernel may be in use until the very last
  return store;
}

const Kernel* KernelStore::get(const Problem& problem, const Options& options) {
  const TableKey key = {current_device(), variant_of(options), kernel_problem(problem)};
  if (const Kernel* kernel = table_.find(key)) return kernel;
  require_valid(key.problem);
  refuse_while_capturing(options.stream, key.problem);
  return flights_.run(key, [&] {
    const Kernel* kernel = table_.find(key);  // made since the look above
    return kernel != nullptr ? kernel : table_.insert(key, make(key, options));
  });
}

const Kernel* KernelStore::make(const TableKey& key, const Options& options) {
  Target target = options.target ? *options.target : target_of_device(key.device);
  target.arch = arch_named(target.arch);
  const std::shared_ptr<KernelCaches> caches = caches_for(options);
  const Settings& settings = caches->settings();
  const std::string gpu = device_name(key.device);
  Choice choice = choose_config(options.config.value_or(""), key.problem, target, gpu,
                                *tuning_of(tuning_paths(settings)), options.chained);
  KernelText text = write_kernel(key.problem, target, choice.config);
  std::optional<FoundKernel> found = caches->find(text);
  if (!found && settings.disable_jit) {
    if (!options.config) found = find_prebuilt(gpu, options.chained, *caches, choice, text);
    if (!found) refuse_jit(text.plan, options.config || choice.by != ChosenBy::model, settings);
  }
  if (!found) found = caches->build(text, compile_);
  auto kernel = std::make_unique<Kernel>(std::move(text), *found, key.device, choice.by);
  const std::lock_guard lock(mutex_);
  return kernels_.emplace_back(std::move(kernel)).get();
}

std::optional<FoundKernel> KernelStore::find_prebuilt(const std::string& gpu, bool chained,
                                                      KernelCaches& caches, Choice& choice,
                                                      KernelText& text) {
  const auto tuning = tuning_of(tuning_paths(caches.settings(), false));
  const Problem problem = text.plan.problem;
  const Target target = text.plan.target;
  for (Choice& other : prebuilt_choices(problem, target, gpu, *tuning, chained)) {
    if (other.config == choice.config) continue;
    KernelText written = write_kernel(problem, target, other.config);
    if (auto found = caches.find(written)) {
      choice = std::move(other);
      text = std::move(written);
      return found;
    }
  }
  return std::nullopt;
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

// A file is read once in the life of the store.
std::shared_ptr<const TuningLayers> KernelStore::tuning_of(const std::vector<std::string>& paths) {
  const std::lock_guard lock(mutex_);
  std::shared_ptr<const TuningLayers>& layers = tuning_[paths];
  if (!layers) layers = std::make_shared<const TuningLayers>(TuningLayers::open(paths));
  return layers;
}

}  // namespace marlin
