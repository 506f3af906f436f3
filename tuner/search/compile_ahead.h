// CompileAhead: kernels compiled on the processor's cores, into the cache where there is one, while
// a GPU measures others.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "codegen/plan/config.h"
#include "codegen/problem/problem.h"
#include "codegen/problem/target.h"
#include "runtime/compile/kernel_build.h"
#include "runtime/compile/kernel_caches.h"

namespace marlin {

class CompileAhead {
 public:
  struct Job {
    Problem problem;
    Config config;
  };

  // Begins at once, in the order of the jobs.
  CompileAhead(Target target, std::vector<Job> jobs, unsigned threads, Settings settings);
  // Waits for the compiles under way and drops the rest.
  ~CompileAhead();
  CompileAhead(const CompileAhead&) = delete;
  CompileAhead& operator=(const CompileAhead&) = delete;

  // Waits until this kernel is in the cache; why it is not, or empty. A job that was not given is
  // nobody's: empty at once. Safe to call from many threads.
  std::string wait(const Problem& problem, const Config& config);
  // The compiled kernel, waited for, as a KernelStore's compile step gives it. Where there is no
  // user's cache that has it, it is kept here; of any other it is compiled now. Safe to call from
  // many threads. Throws as compile_kernel().
  CacheEntry kernel(const KernelText& text, const std::string& failed_dir);

  std::size_t compiled() const { return compiled_; }  // so far, not found in a cache

 private:
  struct Result {
    std::string failure;              // empty: there is a kernel
    std::optional<CacheEntry> entry;  // where no user's cache has it
  };
  void work();
  Result make(const Job& job);
  const Result* find(const Problem& problem, const Config& config);

  Target target_;
  std::vector<Job> jobs_;
  std::map<std::string, std::size_t> index_;  // by name_of(job)
  KernelCaches caches_;
  std::vector<std::optional<Result>> results_;
  std::atomic<std::size_t> next_{0}, compiled_{0};
  std::mutex mutex_;
  std::condition_variable ready_;
  std::vector<std::thread> threads_;
};

}  // namespace marlin
