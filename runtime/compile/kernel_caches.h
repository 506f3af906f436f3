// KernelCaches: the user's cache and the prebuilt ones, asked for an entry under every NVRTC that
// may have built it.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "codegen/base/error.h"
#include "marlin/options.h"
#include "runtime/cache/cubin_cache.h"
#include "runtime/choose/settings.h"
#include "runtime/driver/driver.h"

namespace marlin {

struct FoundKernel {
  CacheEntry entry;
  Origin origin = Origin::user_cache;
  std::string path = {};  // of the entry's file; empty without a cache folder
};

// One look-up and what becomes of it.
struct CacheSearch {
  // The key of the entry that is wanted, built by the NVRTC of this identity.
  std::function<std::string(const std::string& nvrtc)> key_under;
  // Called with each entry that is found, until it does not throw RefusedCubin: that is a miss, as
  // damage is.
  std::function<void(const FoundKernel&)> use;

  // What was passed over and why, a line each, beginning with the folder, index or entry.
  std::vector<std::string> passed_over = {};
  // Whether an entry of the user's cache was refused: it must not be served again.
  bool user_entry_refused = false;
};

// Safe to use from many threads at once, with a search for each.
class KernelCaches {
 public:
  explicit KernelCaches(Settings settings);

  const Settings& settings() const { return settings_; }
  // Where sources that failed to compile are kept; empty without a cache folder.
  std::string failed_dir() const;

  // From the user's cache, then from the prebuilt ones, in each first under the NVRTC of this
  // process, then under those that the folder's index names, then under those in the entries
  // themselves. Whether an entry was used. Never throws for what is wrong with a cache.
  bool find(CacheSearch& search);

  // Compiled now, or by another process that was at it already, and kept in the user's cache.
  // Throws what `compile` and search.use throw, RefusedCubin too: then nothing is left to try.
  void build(CacheSearch& search, const std::function<CacheEntry()>& compile);

 private:
  using Identities = std::vector<std::string>;
  // What is known of a folder beyond this process's NVRTC.
  struct Folder {
    std::optional<Identities> indexed, others;
    std::string index_problem;
  };

  bool find_in(const CubinCache& cache, Origin origin, CacheSearch& search);
  bool try_under(const CubinCache& cache, Origin origin, const Identities& identities,
                 CacheSearch& search, Identities& tried);
  std::optional<std::string> own_identity();
  Identities indexed(const CubinCache& cache, std::string& problem);
  Identities others(const CubinCache& cache);

  Settings settings_;
  CubinCache user_;
  std::deque<CubinCache> prebuilt_;

  std::mutex mutex_;
  std::optional<std::string> identity_;  // of the NVRTC of this process, once known
  std::map<std::string, Folder> folders_;
};

}  // namespace marlin
