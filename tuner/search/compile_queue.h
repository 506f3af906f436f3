// Kernels for many configs, compiled on several threads and handed over in order.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "marlin/compiled.h"
#include "tuner/measure/gpu.h"

namespace marlin {

struct CompileJob {
  Problem problem;               // as Compiled::get takes it
  std::string config;            // empty: the chosen one
  bool keep = true;              // false: the user's cache on disk is neither read nor written
  std::optional<Target> target;  // instead of the device's own
};

struct CompileResult {
  std::optional<Compiled> kernel;
  std::string error;  // why there is none
};

class CompileQueue {
 public:
  // Begins at once; threads 0 means one for each core.
  CompileQueue(const Gpu& gpu, std::vector<CompileJob> jobs, unsigned threads = 0);
  // Waits for the compiles under way and drops the rest.
  ~CompileQueue();
  CompileQueue(const CompileQueue&) = delete;
  CompileQueue& operator=(const CompileQueue&) = delete;

  std::size_t size() const { return jobs_.size(); }
  const CompileJob& job(std::size_t index) const { return jobs_[index]; }
  // Waits for this job. Never throws for a kernel that cannot be made: its result says why.
  const CompileResult& wait(std::size_t index);
  // Waits for all, or until `stop` says so; false when it stopped.
  bool wait_all(bool (*stop)());

 private:
  void work(const Gpu& gpu);

  std::vector<CompileJob> jobs_;
  std::vector<std::optional<CompileResult>> results_;
  std::atomic<std::size_t> next_{0};
  std::mutex mutex_;
  std::condition_variable ready_;
  std::size_t finished_ = 0;
  std::vector<std::thread> threads_;
};

// `most` of the indices below count, ascending: one drawn by the seed from each of `most` equal
// parts. All of them when most is 0 or not below count.
std::vector<std::size_t> sample_evenly(std::size_t count, std::size_t most, std::size_t seed);

}  // namespace marlin
