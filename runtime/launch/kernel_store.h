// KernelStore: every kernel this process has, and the making of those it does not have yet.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "codegen/plan/config.h"
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
  // The same as a Compiled, which must not outlive the store.
  Compiled compiled(const Problem& problem, const Options& options);

  // The config of the kernel that get() has or would make, and how it was chosen; makes nothing.
  // Throws as get() does before it makes a kernel.
  struct Present {
    Config config;
    ChosenBy by = ChosenBy::model;
  };
  Present present(const Problem& problem, const Options& options);

  // The kernel of a config that was measured to be the best for this problem (its m is a rung or
  // exact): from now on get() gives it, unless the options name a config or a target. Where the
  // kernel in memory has this config it stays; one that had its place lives on, as Compileds and
  // graphs may have it. `compile` in place of the store's own where it is given. Works
  // beside captures, which it leaves intact. Throws as get() does otherwise.
  const Kernel* adopt(const Problem& problem, const Options& options, const Config& config,
                      const CompileStep& compile = nullptr);

  // Records were added to the tuning database at this path: choices yet to be made see them.
  void read_again(const std::string& path);

  // Runs `tune` unless it was run for this kernel before, in this store's life, or its config was
  // measured for this very problem on such a GPU. Threads that want the same wait for the one that
  // runs it; when that throws an Error each gets it, and the next call tries again.
  void tune_once(const Problem& problem, const Options& options, const std::function<void()>& tune);

  // By which kernels are found with these options.
  Settings settings_for(const Options& options);

 private:
  struct Tuning {
    TuningLayers layers;
    std::vector<std::string> problems;
  };

  class Maker;

  TableKey key_of(const Problem& problem, const Options& options);
  Choice choose(const TableKey& key, const Options& options, const Settings& settings);
  const Kernel* make(const TableKey& key, const Options& options);
  const Kernel* keep(std::unique_ptr<Kernel> kernel);
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
  SingleFlight<TableKey, bool, TableKeyHash> first_uses_;

  std::mutex mutex_;
  std::vector<std::unique_ptr<Kernel>> kernels_;
  std::map<std::string, int> variants_;  // what was asked for, but for the first two variants
  std::shared_ptr<KernelCaches> default_caches_;  // those of the environment
  std::map<std::vector<std::string>, std::shared_ptr<const Tuning>> tuning_;  // by paths
  std::unordered_set<TableKey, TableKeyHash> tuned_;                          // by tune_once()
};

// The one that Compiled::get() and Linear ask.
KernelStore& process_store();

}  // namespace marlin
