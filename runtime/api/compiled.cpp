// Shape -> the process's kernel for it, and what it tells of itself.
// Entry points: Compiled::get, Compiled::launch.
#include "marlin/compiled.h"

#include "runtime/launch/kernel_store.h"

namespace marlin {

Compiled Compiled::get(const Problem& problem, const Options& options) {
  return {process_store().get(problem, options), problem.shape.m};
}

Compiled Compiled::get(const Problem& problem) {
  static const Options defaults;
  return get(problem, defaults);
}

Result Compiled::try_get(const Problem& problem, const Options& options) {
  try {
    return {get(problem, options), std::nullopt};
  } catch (const Error& error) {
    return {std::nullopt, error};
  }
}

Result Compiled::try_get(const Problem& problem) {
  static const Options defaults;
  return try_get(problem, defaults);
}

Compiled Compiled::get(const Shape& shape) { return get(Problem{.shape = shape}); }
Compiled Compiled::get(const Shape& shape, const Options& options) {
  return get(Problem{.shape = shape}, options);
}
Result Compiled::try_get(const Shape& shape) { return try_get(Problem{.shape = shape}); }
Result Compiled::try_get(const Shape& shape, const Options& options) {
  return try_get(Problem{.shape = shape}, options);
}

void Compiled::launch(CUstream_st* stream, const LaunchArgs& args) const {
  kernel_->launch(stream, args, m_);
}

std::size_t Compiled::workspace_bytes() const {
  return static_cast<std::size_t>(kernel_->plan().workspace.bytes);
}

const Problem& Compiled::problem() const { return kernel_->plan().problem; }
const Target& Compiled::target() const { return kernel_->plan().target; }
const std::string& Compiled::config() const { return kernel_->config(); }
const std::string& Compiled::source() const { return kernel_->source(); }
const Resources& Compiled::resources() const { return kernel_->resources(); }
Origin Compiled::origin() const { return kernel_->origin(); }
const std::vector<std::string>& Compiled::passed_over() const { return kernel_->passed_over(); }
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
