// Shapes and configs -> cubins in the user's cache or in memory, on several threads.
// Entry points: CompileAhead::wait, CompileAhead::kernel.
#include "tuner/search/compile_ahead.h"

#include <algorithm>

#include "codegen/base/error.h"

namespace marlin {
namespace {

std::string name_of(const Problem& problem, const Config& config) {
  return to_string(problem) + " " + to_string(config);
}

}  // namespace

CompileAhead::CompileAhead(Target target, std::vector<Job> jobs, unsigned threads,
                           Settings settings)
    : target_(std::move(target)),
      jobs_(std::move(jobs)),
      caches_(std::move(settings)),
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

CompileAhead::Result CompileAhead::make(const Job& job) {
  Result result;
  try {
    const KernelText text = write_kernel(job.problem, target_, job.config);
    bool compiled = false;
    CacheSearch search{
        .key_under = [&](const std::string& nvrtc) { return cache_key(key_fields(text, nvrtc)); },
        .use =
            [&](const FoundKernel& found) {
              compiled = found.origin == Origin::compiled;
              if (compiled && found.path.empty()) result.entry = found.entry;
            }};
    if (!caches_.find(search))
      caches_.build(search, [&] { return compile_kernel(text, caches_.failed_dir()); });
    if (compiled) ++compiled_;
  } catch (const std::exception& error) {
    result.failure = error.what();
  }
  return result;
}

void CompileAhead::work() {
  while (true) {
    const std::size_t index = next_++;
    if (index >= jobs_.size()) return;
    Result result = make(jobs_[index]);
    const std::lock_guard lock(mutex_);
    results_[index] = std::move(result);
    ready_.notify_all();
  }
}

const CompileAhead::Result* CompileAhead::find(const Problem& problem, const Config& config) {
  const auto found = index_.find(name_of(problem, config));
  if (found == index_.end()) return nullptr;
  std::unique_lock lock(mutex_);
  ready_.wait(lock, [&] { return results_[found->second].has_value(); });
  return &*results_[found->second];
}

std::string CompileAhead::wait(const Problem& problem, const Config& config) {
  const Result* result = find(problem, config);
  return result == nullptr ? "" : result->failure;
}

CacheEntry CompileAhead::kernel(const KernelText& text, const std::string& failed_dir) {
  const Result* result = find(text.plan.problem, text.plan.config);
  return result != nullptr && result->entry ? *result->entry : compile_kernel(text, failed_dir);
}

}  // namespace marlin
