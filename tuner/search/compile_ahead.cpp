// Shapes and configs -> cubins in the user's cache, on several threads.
// Entry point: CompileAhead::wait.
#include "tuner/search/compile_ahead.h"

#include <algorithm>

#include "codegen/base/error.h"
#include "runtime/compile/kernel_build.h"

namespace marlin {
namespace {

std::string name_of(const Problem& problem, const Config& config) {
  return to_string(problem) + " " + to_string(config);
}

Settings settings_with_cache() {
  Settings settings = settings_from({});
  if (settings.cache_dir.empty()) {
    throw Error(ErrorCode::invalid_argument,
                "tuning passes kernels through the user's cache: set MARLIN_CACHE_DIR");
  }
  return settings;
}

}  // namespace

CompileAhead::CompileAhead(Target target, std::vector<Job> jobs, unsigned threads)
    : target_(std::move(target)),
      jobs_(std::move(jobs)),
      caches_(settings_with_cache()),
      results_(jobs_.size()) {
  for (std::size_t i = 0; i < jobs_.size(); ++i) {
    index_.emplace(name_of(jobs_[i].problem, jobs_[i].config), i);
  }
  const auto wanted = std::min<std::size_t>(std::max(threads, 1U), jobs_.size());
  for (std::size_t t = 0; t < wanted; ++t) threads_.emplace_back([this] { work(); });
}

CompileAhead::~CompileAhead() {
  next_ = jobs_.size();
  for (std::thread& thread : threads_) thread.join();
}

std::string CompileAhead::make(const Job& job) {
  try {
    const KernelText text = write_kernel(job.problem, target_, job.config);
    bool compiled = false;
    CacheSearch search{
        .key_under = [&](const std::string& nvrtc) { return cache_key(key_fields(text, nvrtc)); },
        .use = [&](const FoundKernel& found) { compiled = found.origin == Origin::compiled; }};
    if (!caches_.find(search))
      caches_.build(search, [&] { return compile_kernel(text, caches_.failed_dir()); });
    if (compiled) ++compiled_;
    return "";
  } catch (const std::exception& error) {
    return error.what();
  }
}

void CompileAhead::work() {
  while (true) {
    const std::size_t index = next_++;
    if (index >= jobs_.size()) return;
    std::string result = make(jobs_[index]);
    const std::lock_guard lock(mutex_);
    results_[index] = std::move(result);
    ready_.notify_all();
  }
}

std::string CompileAhead::wait(const Problem& problem, const Config& config) {
  const auto found = index_.find(name_of(problem, config));
  if (found == index_.end()) return "";
  std::unique_lock lock(mutex_);
  ready_.wait(lock, [&] { return results_[found->second].has_value(); });
  return *results_[found->second];
}

}  // namespace marlin
