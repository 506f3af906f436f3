// KernelCaches: the user's cache and the prebuilt ones, asked for a kernel under every NVRTC that
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
#include "runtime/compile/kernel_build.h"

namespace marlin {

// compile_kernel(), or a test's stand-in for it.
using CompileStep = std::function<CacheEntry(const KernelText&, const std::string& failed_dir)>;

struct FoundKernel {
  CacheEntry entry;
  Origin origin = Origin::user_cache;
};

// Safe to use from many threads at once.
class KernelCaches {
 public:
  explicit KernelCaches(Settings settings);

  const Settings& settings() const { return settings_; }

  // From the user's cache, then from the prebuilt ones. Never throws for what is wrong with a
  // cache.
  std::optional<FoundKernel> find(const KernelText& kernel);

  // Compiled now, or by another process that was at it already, and kept in the user's cache.
  FoundKernel build(const KernelText& kernel, const CompileStep& compile);

 private:
  using Identities = std::vector<std::string>;

  std::optional<std::string> own_identity();
  Identities prebuilt_with(const CubinCache& cache);

  Settings settings_;
  CubinCache user_;
  std::deque<CubinCache> prebuilt_;

  std::mutex mutex_;
  std::optional<std::string> identity_;          // of the NVRTC of this process, once known
  std::map<std::string, Identities> manifests_;  // folder -> the identities it lists
};

}  // namespace marlin
