// A kernel's text -> its cubin out of the caches, or compiled and kept in the user's.
// Entry points: KernelCaches::find, KernelCaches::build.
#include "runtime/compile/kernel_caches.h"

#include <algorithm>
#include <utility>

namespace marlin {
namespace {

std::optional<CacheEntry> load_any(const CubinCache& cache, const KernelText& kernel,
                                   const std::vector<std::string>& identities) {
  for (const std::string& identity : identities) {
    if (auto entry = cache.load(cache_key(key_fields(kernel, identity)))) return entry;
  }
  return std::nullopt;
}

}  // namespace

KernelCaches::KernelCaches(Settings settings)
    : settings_(std::move(settings)),
      user_(CacheSettings{.dir = settings_.cache_dir, .cap_bytes = settings_.cap_bytes}) {
  for (const std::string& dir : settings_.system_dirs) prebuilt_.emplace_back(dir, true);
}

std::optional<FoundKernel> KernelCaches::find(const KernelText& kernel) {
  if (user_.enabled()) {
    Identities identities = prebuilt_with(user_);  // the user's folder may be a prebuilt one
    if (const auto own = own_identity()) identities.insert(identities.begin(), *own);
    if (auto entry = load_any(user_, kernel, identities)) {
      return FoundKernel{std::move(*entry), Origin::user_cache};
    }
  }
  for (const CubinCache& cache : prebuilt_) {
    if (auto entry = load_any(cache, kernel, prebuilt_with(cache))) {
      return FoundKernel{std::move(*entry), Origin::system_cache};
    }
  }
  return std::nullopt;
}

FoundKernel KernelCaches::build(const KernelText& kernel, const CompileStep& compile) {
  // The key names the NVRTC that compiles, which is open from here on.
  const std::string key = cache_key(key_fields(kernel, remembered_nvrtc_identity(user_)));
  BuiltEntry built =
      load_or_build(user_, key, [&] { return compile(kernel, failed_dir_of(user_)); });
  return {std::move(built.entry), built.from_cache ? Origin::user_cache : Origin::compiled};
}

// Nothing without an NVRTC: what it built before is then found by the folder's own list only.
std::optional<std::string> KernelCaches::own_identity() {
  const std::lock_guard lock(mutex_);
  if (identity_) return identity_;
  try {
    identity_ =
        settings_.disable_jit ? recalled_nvrtc_identity(user_) : remembered_nvrtc_identity(user_);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::no_nvrtc) throw;
  }
  return identity_;
}

KernelCaches::Identities KernelCaches::prebuilt_with(const CubinCache& cache) {
  const std::lock_guard lock(mutex_);
  const auto found = manifests_.find(cache.dir());
  if (found != manifests_.end()) return found->second;
  Identities identities = cache.built_with();
  if (!identities.empty()) manifests_.emplace(cache.dir(), identities);
  return identities;
}

}  // namespace marlin
