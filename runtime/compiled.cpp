// Shape -> Target -> Config -> Plan -> Source -> Cubin -> Kernel, each looked up before it is made.
// Entry points: Compiled::get, KernelStore::get.
#include "marlin/compiled.h"

#include <fmt/format.h>

#include "codegen/config.h"
#include "runtime/device.h"
#include "runtime/driver.h"
#include "runtime/kernel_store.h"
#include "runtime/select.h"

namespace marlin {
namespace {

// m goes up to its rung where the kernel is to serve fewer rows as well; a shape that breaks a rule
// stays as it is and is refused when its kernel is not found.
Shape kernel_shape_of(Shape shape) {
  if (!shape.exact_m && shape.m >= 1 && shape.m <= kMaxM) shape.m = rung_for(shape.m);
  return shape;
}

void refuse_while_capturing(CUstream stream, const Shape& shape) {
  if (!is_capturing(nullptr) && (stream == nullptr || !is_capturing(stream))) return;
  throw Error(ErrorCode::capturing,
              fmt::format("the kernel for {} is not in memory, and a stream capture is under way: "
                          "call Compiled::get() for it once before the capture",
                          to_string(shape)));
}

// The command names the config where others would not come to it by themselves.
[[noreturn]] void refuse_jit(const Plan& plan, bool name_config, const Settings& settings) {
  std::string dir = settings.cache_dir;
  if (dir.empty() && !settings.system_dirs.empty()) dir = settings.system_dirs.front();
  throw Error(ErrorCode::jit_disabled,
              fmt::format("no cache has the kernel for {} on {}, and compiling is disabled; this "
                          "command makes it: {}",
                          to_string(plan.shape), to_string(plan.target),
                          prebuild_command(plan, name_config ? to_string(plan.config) : "", dir)));
}

}  // namespace

KernelStore& process_store() {
  static auto& store = *new KernelStore;  // never ends: a kernel may be in use until the very last
  return store;
}

const Kernel* KernelStore::get(const Shape& shape, const Options& options) {
  const TableKey key = {current_device(), variant_of(options), kernel_shape_of(shape)};
  if (const Kernel* kernel = table_.find(key)) return kernel;
  require_valid(key.shape);
  refuse_while_capturing(options.stream, key.shape);
  return flights_.run(key, [&] {
    const Kernel* kernel = table_.find(key);  // made since the look above
    return kernel != nullptr ? kernel : table_.insert(key, make(key, options));
  });
}

const Kernel* KernelStore::make(const TableKey& key, const Options& options) {
  const Target target = options.target ? *options.target : target_of_device(key.device);
  const std::shared_ptr<KernelCaches> caches = caches_for(options);
  const Settings& settings = caches->settings();
  const std::string gpu = device_name(key.device);
  Choice choice = choose_config(options.config.value_or(""), key.shape, target, gpu,
                                *tuning_of(tuning_paths(settings)), options.chained);
  KernelText text = write_kernel(key.shape, target, choice.config);
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
  const Shape shape = text.plan.shape;
  const Target target = text.plan.target;
  for (Choice& other : prebuilt_choices(shape, target, gpu, *tuning, chained)) {
    if (other.config == choice.config) continue;
    KernelText written = write_kernel(shape, target, other.config);
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

Compiled Compiled::get(const Shape& shape, const Options& options) {
  return {process_store().get(shape, options), shape.m};
}

Compiled Compiled::get(const Shape& shape) {
  static const Options defaults;
  return get(shape, defaults);
}

Result Compiled::try_get(const Shape& shape, const Options& options) {
  try {
    return {get(shape, options), std::nullopt};
  } catch (const Error& error) {
    return {std::nullopt, error};
  }
}

Result Compiled::try_get(const Shape& shape) {
  static const Options defaults;
  return try_get(shape, defaults);
}

void Compiled::launch(CUstream_st* stream, const LaunchArgs& args) const {
  kernel_->launch(stream, args, m_);
}

std::size_t Compiled::workspace_bytes() const {
  return static_cast<std::size_t>(kernel_->plan().workspace_bytes);
}

const Shape& Compiled::shape() const { return kernel_->plan().shape; }
const Target& Compiled::target() const { return kernel_->plan().target; }
const std::string& Compiled::config() const { return kernel_->config(); }
const std::string& Compiled::source() const { return kernel_->source(); }
const Resources& Compiled::resources() const { return kernel_->resources(); }
Origin Compiled::origin() const { return kernel_->origin(); }
ChosenBy Compiled::chosen_by() const { return kernel_->chosen_by(); }

const char* to_string(ChosenBy by) {
  switch (by) {
    case ChosenBy::given: return "given";
    case ChosenBy::tuned: return "tuned";
    case ChosenBy::nearest: return "nearest";
    case ChosenBy::model: return "model";
  }
  return "unknown";
}

const char* to_string(Origin origin) {
  switch (origin) {
    case Origin::user_cache: return "user cache";
    case Origin::system_cache: return "system cache";
    case Origin::compiled: return "compiled";
  }
  return "unknown";
}

}  // namespace marlin
