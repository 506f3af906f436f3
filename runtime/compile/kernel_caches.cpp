// The key of an entry -> the entry out of the caches, or compiled and kept in the user's.
// Entry points: KernelCaches::find, KernelCaches::build.
#include "runtime/compile/kernel_caches.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "runtime/compile/kernel_build.h"

namespace marlin {

KernelCaches::KernelCaches(Settings settings)
    : settings_(std::move(settings)),
      user_(CacheSettings{.dir = settings_.cache_dir, .cap_bytes = settings_.cap_bytes}) {
  for (const std::string& dir : settings_.system_dirs) prebuilt_.emplace_back(dir, true);
}

std::string KernelCaches::failed_dir() const { return failed_dir_of(user_); }

bool KernelCaches::find(CacheSearch& search) {
  if (user_.enabled() && find_in(user_, Origin::user_cache, search)) return true;
  return std::any_of(prebuilt_.begin(), prebuilt_.end(), [&](const CubinCache& cache) {
    return find_in(cache, Origin::system_cache, search);
  });
}

bool KernelCaches::find_in(const CubinCache& cache, Origin origin, CacheSearch& search) {
  std::string why = cache.refusal();
  if (why.empty() && !cache.is_there()) why = cache.dir() + ": is not there";
  if (!why.empty()) {
    search.passed_over.push_back(why);
    return false;
  }
  Identities tried;
  const std::size_t before = search.passed_over.size();
  const std::optional<std::string> own =
      origin == Origin::user_cache ? own_identity() : std::nullopt;
  if (own && try_under(cache, origin, {*own}, search, tried)) return true;
  std::string problem;
  if (try_under(cache, origin, indexed(cache, problem), search, tried)) return true;
  if (try_under(cache, origin, others(cache), search, tried)) return true;
  if (!problem.empty()) search.passed_over.push_back(problem);
  if (search.passed_over.size() == before) {
    search.passed_over.push_back(fmt::format("{}: has no entry for it", cache.dir()));
  }
  return false;
}

bool KernelCaches::try_under(const CubinCache& cache, Origin origin, const Identities& identities,
                             CacheSearch& search, Identities& tried) {
  for (const std::string& identity : identities) {
    if (std::find(tried.begin(), tried.end(), identity) != tried.end()) continue;
    tried.push_back(identity);
    const std::string key = search.key_under(identity);
    std::string why;
    auto entry = cache.load(key, &why);
    if (!why.empty()) search.passed_over.push_back(why);
    if (!entry) continue;
    try {
      search.use({std::move(*entry), origin, cache.path_of(key)});
      return true;
    } catch (const RefusedCubin& error) {
      search.passed_over.push_back(fmt::format("{}: {}", cache.path_of(key), error.what()));
      search.user_entry_refused |= origin == Origin::user_cache;
    }
  }
  return false;
}

void KernelCaches::build(CacheSearch& search, const std::function<CacheEntry()>& compile) {
  if (search.user_entry_refused) {
    const FoundKernel anew{compile(), Origin::compiled};
    search.use(anew);
    user_.store(anew.entry);
    return;
  }
  // The key names the NVRTC that compiles, which is open from here on.
  const std::string key = search.key_under(remembered_nvrtc_identity(user_));
  BuiltEntry built = load_or_build(user_, key, compile);
  search.use({std::move(built.entry), built.from_cache ? Origin::user_cache : Origin::compiled,
              user_.enabled() ? user_.path_of(key) : ""});
}

// Nothing without an NVRTC: what it built before is then found by what the folder tells only.
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

KernelCaches::Identities KernelCaches::indexed(const CubinCache& cache, std::string& problem) {
  const std::lock_guard lock(mutex_);
  Folder& folder = folders_[cache.dir()];
  if (!folder.indexed) {
    Identities identities = cache.built_with(&folder.index_problem);
    // One that is not there yet may be there when it is asked for again.
    if (identities.empty() && folder.index_problem.empty()) return {};
    folder.indexed = std::move(identities);
  }
  problem = folder.index_problem;
  return *folder.indexed;
}

// Looked for once in the life of the process: kernels that come later come with an index.
KernelCaches::Identities KernelCaches::others(const CubinCache& cache) {
  const std::lock_guard lock(mutex_);
  Folder& folder = folders_[cache.dir()];
  if (!folder.others) folder.others = cache.unindexed_identities();
  return *folder.others;
}

}  // namespace marlin
