// KernelStore: every kernel this process has, and the making of those it does not have yet.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "marlin/compiled.h"
#include "runtime/base/single_flight.h"
#include "runtime/choose/select.h"
#include "runtime/choose/tuning_db.h"
#include "runtime/compile/kernel_caches.h"
#include "runtime/launch/kernel.h"
#include "runtime/launch/kernel_table.h"

namespace marlin {

// compile_kernel(), or a test's stand-in for it.
using CompileStep = std::function<CacheEntry(const KernelText&, const std::string& failed_dir)>;

// Compiled::get() asks process_store(); tests make their own. All members are safe to
// call from many threads at once.
class KernelStore {
 public:
  explicit KernelStore(CompileStep compile = compile_kernel) : compile_(std::move(compile)) {}

  // As Compiled::get(). The kernel lives as long as the store.
  const Kernel* get(const Problem& problem, const Options& options);

 private:
  struct Tuning {
    TuningLayers layers;
    std::vector<std::string> problems;
  };

  class Maker;

  const Kernel* make(const TableKey& key, const Options& options);
  std::unique_ptr<Kernel> find_or_build(Maker& maker, const Choice& choice, const std::string& gpu,
                                        const Options& options);
  std::unique_ptr<Kernel> find_prebuilt(Maker& maker, const Choice& choice, const std::string& gpu,
                                        const Options& options);
  int variant_of(const Options& options);
  std::shared_ptr<KernelCaches> caches_for(const Options& options);
  std::shared_ptr<const Tuning> tuning_of(const std::vector<std::string>& paths);

  CompileStep compile_;
  KernelTable table_;
  SingleFlight<TableKey, const Kernel*, TableKeyHash> flights_;

  std::mutex mutex_;
  std::vector<std::unique_ptr<Kernel>> kernels_;
  std::map<std::string, int> variants_;  // what was asked for, but for the first two variants
  std::shared_ptr<KernelCaches> default_caches_;  // those of the environment
  std::map<std::vector<std::string>, std::shared_ptr<const Tuning>> tuning_;  // by paths
};

// The one that Compiled::get() and Linear ask.
KernelStore& process_store();

}  // namespace marlin
