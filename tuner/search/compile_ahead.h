// CompileAhead: kernels compiled into the cache on the processor's cores while a GPU measures
// others.
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
#include "runtime/compile/kernel_caches.h"

namespace marlin {

class CompileAhead {
 public:
  struct Job {
    Problem problem;
    Config config;
  };

  // Begins at once, in the order of the jobs. The caches are those of the environment; without a
  // user's cache folder nothing would come of it: Error{invalid_argument}.
  CompileAhead(Target target, std::vector<Job> jobs, unsigned threads);
  // Waits for the compiles under way and drops the rest.
  ~CompileAhead();
  CompileAhead(const CompileAhead&) = delete;
  CompileAhead& operator=(const CompileAhead&) = delete;

  // Waits until this kernel is in the cache; why it is not, or empty. A job that was not given is
  // nobody's: empty at once. Safe to call from many threads.
  std::string wait(const Problem& problem, const Config& config);

  std::size_t compiled() const { return compiled_; }  // so far, not found in a cache

 private:
  void work();
  std::string make(const Job& job);

  Target target_;
  std::vector<Job> jobs_;
  std::map<std::string, std::size_t> index_;  // by name_of(job)
  KernelCaches caches_;
  std::vector<std::optional<std::string>> results_;
  std::atomic<std::size_t> next_{0}, compiled_{0};
  std::mutex mutex_;
  std::condition_variable ready_;
  std::vector<std::thread> threads_;
};

}  // namespace marlin
