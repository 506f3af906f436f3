// Shapes and configs -> loaded kernels, several at a time. Entry point: CompileQueue::wait.
#include "tuner/search/compile_queue.h"

#include <algorithm>
#include <chrono>
#include <random>

namespace marlin {
namespace {

CompileResult compile(const CompileJob& job) {
  Options options;
  if (!job.config.empty()) options.config = job.config;
  if (!job.keep) options.cache_dir = "";
  options.target = job.target;
  try {
    return {.kernel = Compiled::get(job.problem, options), .error = ""};
  } catch (const std::exception& error) {
    return {.kernel = std::nullopt, .error = error.what()};
  }
}

}  // namespace

CompileQueue::CompileQueue(const Gpu& gpu, std::vector<CompileJob> jobs, unsigned threads)
    : jobs_(std::move(jobs)), results_(jobs_.size()) {
  if (threads == 0) threads = std::max(1U, std::thread::hardware_concurrency());
  threads = static_cast<unsigned>(std::min<std::size_t>(threads, jobs_.size()));
  for (unsigned t = 0; t < threads; ++t) threads_.emplace_back([this, gpu] { work(gpu); });
}

CompileQueue::~CompileQueue() {
  next_ = jobs_.size();
  for (std::thread& thread : threads_) thread.join();
}

void CompileQueue::work(const Gpu& gpu) {
  std::string no_context;
  try {
    gpu.make_current();
  } catch (const Error& error) {
    no_context = error.what();
  }
  while (true) {
    const std::size_t index = next_++;
    if (index >= jobs_.size()) return;
    CompileResult result;
    if (no_context.empty()) {
      result = compile(jobs_[index]);
    } else {
      result.error = no_context;
    }
    const std::lock_guard lock(mutex_);
    results_[index] = std::move(result);
    ++finished_;
    ready_.notify_all();
  }
}

const CompileResult& CompileQueue::wait(std::size_t index) {
  std::unique_lock lock(mutex_);
  ready_.wait(lock, [&] { return results_[index].has_value(); });
  return *results_[index];
}

bool CompileQueue::wait_all(bool (*stop)()) {
  std::unique_lock lock(mutex_);
  while (finished_ < jobs_.size()) {
    if (stop()) return false;
    ready_.wait_for(lock, std::chrono::milliseconds(200));
  }
  return true;
}

std::vector<std::size_t> sample_evenly(std::size_t count, std::size_t most, std::size_t seed) {
  std::vector<std::size_t> picks;
  if (most == 0 || most >= count) {
    for (std::size_t i = 0; i < count; ++i) picks.push_back(i);
    return picks;
  }
  std::mt19937_64 random(seed);
  for (std::size_t i = 0; i < most; ++i) {
    const std::size_t begin = i * count / most, end = (i + 1) * count / most;
    picks.push_back(begin + random() % (end - begin));
  }
  return picks;
}

}  // namespace marlin
