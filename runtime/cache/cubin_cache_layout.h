// The names inside a cache folder and the walk through it; shared by the files that implement
// CubinCache.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "codegen/base/error.h"
#include "runtime/cache/cache_folder.h"
#include "runtime/cache/cache_key.h"

namespace marlin {

inline constexpr const char* kLayoutFolder = "v1";
inline constexpr const char* kTagFile = "CACHEDIR.TAG";
inline constexpr const char* kManifestFile = "manifest.json";
inline constexpr const char* kBuiltWithFile = "built_with.json";
inline constexpr const char* kLockFile = "lock";
inline constexpr const char* kNvrtcFile = "nvrtc.json";
inline constexpr std::string_view kEntrySuffix = ".mcb";

inline std::string shard_of(std::string_view key) { return std::string(key.substr(0, 2)); }

inline std::string entry_file(std::string_view key) {
  return std::string(key) + std::string(kEntrySuffix);
}

inline bool is_shard(std::string_view name) {
  return name.size() == 2 && name.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

inline bool has_entry_suffix(std::string_view name) {
  return name.size() > kEntrySuffix.size() &&
         name.substr(name.size() - kEntrySuffix.size()) == kEntrySuffix;
}

// The key whose entry is kept under this name in this shard; nothing when there is none.
inline std::optional<std::string> key_of(std::string_view shard, std::string_view name) {
  if (!has_entry_suffix(name)) return std::nullopt;
  const std::string_view key = name.substr(0, name.size() - kEntrySuffix.size());
  if (!is_cache_key(key) || key.substr(0, 2) != shard) return std::nullopt;
  return std::string(key);
}

// The folders ab/ of a cache, opened one at a time. What is no folder of ours (a link, for one) is
// handed to `refused` with the reason.
template <typename Visit, typename Refused>
void visit_shards(const CacheFolder& layout, Visit visit, Refused refused) {
  for (const std::string& name : layout.names()) {
    if (!is_shard(name)) continue;
    std::optional<CacheFolder> shard;
    try {
      shard = layout.subfolder(name);
    } catch (const Error& error) {
      refused(name, error.what());
    }
    if (shard) visit(name, *shard);
  }
}

inline void ignore_refused(const std::string&, const char*) {}

}  // namespace marlin
