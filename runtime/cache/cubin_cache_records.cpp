// What a cache folder knows beside its entries <-> small JSON files: manifest, NVRTC identities.
// Entry points: CubinCache::manifest, write_manifest, built_with, unindexed_identities,
// recall_nvrtc, remember_nvrtc.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "codegen/base/error.h"
#include "runtime/cache/cubin_cache.h"
#include "runtime/cache/cubin_cache_layout.h"

namespace marlin {
namespace {

using nlohmann::json;

constexpr int kRecordVersion = 1;
constexpr std::size_t kMaxManifestBytes = std::size_t{64} << 20;
constexpr std::size_t kMaxSmallFileBytes = std::size_t{64} << 10;
constexpr std::size_t kMemosKept = 8;

// Nothing when the file is absent; throws Error{io} when it is refused or not JSON of our version.
std::optional<json> read_json(const CacheFolder& folder, const char* name, std::size_t max_bytes) {
  const auto text = folder.read(name, max_bytes);
  if (!text) return std::nullopt;
  json value = json::parse(*text, nullptr, false);
  const auto path = folder.path() + "/" + name;
  if (!value.is_object()) throw Error(ErrorCode::io, path + ": is not a JSON object");
  if (value.value("version", json()) != kRecordVersion) {
    throw Error(ErrorCode::io, fmt::format("{}: is not of version {}", path, kRecordVersion));
  }
  return value;
}

void write_json(const CacheFolder& folder, const char* name, const json& value) {
  folder.publish(name, value.dump(1) + "\n");
}

json to_record(const NvrtcMemo& memo) {
  return {{"path", memo.path},
          {"size", memo.size},
          {"mtime_ns", memo.mtime_ns},
          {"identity", memo.identity}};
}

// A folder's time stamps are as coarse as its file system's, and an entry is there before the
// index.
constexpr std::int64_t kIndexMargin = 2'000'000'000;

// What our own errors begin with.
std::string in_file(const std::string& dir, const char* name, const std::exception& error) {
  const std::string what = error.what(), path = dir + "/" + name;
  return what.starts_with(dir) ? what : fmt::format("{}: {}", path, what);
}

// How many entries were read for it.
int collect_identities(const CacheFolder& shard, const std::string& shard_name,
                       std::set<std::string>& identities) {
  int read = 0;
  for (const std::string& name : shard.names()) {
    if (!key_of(shard_name, name)) continue;
    try {
      const auto file = shard.read(name, kMaxEntryBytes);
      if (file) identities.insert(decode_meta(*file).key.nvrtc);
    } catch (const Error&) {
      // Damage is named where the entry itself is asked for.
    }
    ++read;
  }
  return read;
}

bool is_of(const json& record, std::string_view path) {
  return record.is_object() && record.value("path", json()) == path;
}

}  // namespace

std::optional<Manifest> CubinCache::manifest(std::string* why) const {
  if (why != nullptr) why->clear();
  try {
    const auto root = enabled() ? CacheFolder::open(dir()) : std::nullopt;
    const auto value = root ? read_json(*root, kManifestFile, kMaxManifestBytes) : std::nullopt;
    if (!value) return std::nullopt;
    return Manifest{.nvrtc = value->at("nvrtc").get<std::vector<std::string>>(),
                    .entries = value->at("entries").get<std::vector<CubinMeta>>()};
  } catch (const std::exception& error) {
    if (why != nullptr) *why = error.what();
    return std::nullopt;
  }
}

std::vector<std::string> CubinCache::built_with(std::string* why) const {
  if (why != nullptr) why->clear();
  try {
    const auto root = enabled() ? CacheFolder::open(dir()) : std::nullopt;
    const auto value = root ? read_json(*root, kBuiltWithFile, kMaxSmallFileBytes) : std::nullopt;
    if (value) return value->at("nvrtc").get<std::vector<std::string>>();
  } catch (const std::exception& error) {
    if (why != nullptr) *why = in_file(dir(), kBuiltWithFile, error);
  }
  return {};
}

std::vector<std::string> CubinCache::unindexed_identities() const {
  constexpr int kEntriesWorthAnIndex = 64;
  std::set<std::string> identities;
  int entries = 0;
  try {
    const auto root = enabled() ? CacheFolder::open(dir()) : std::nullopt;
    const auto layout = root ? root->subfolder(kLayoutFolder) : std::nullopt;
    if (!layout) return {};
    const auto index = root->stat(kBuiltWithFile);
    const bool indexed = index && !built_with().empty();
    const auto collect = [&](const std::string& name, const CacheFolder& shard) {
      const auto info = layout->stat(name);
      const bool covered = indexed && info && info->modified_ns + kIndexMargin < index->modified_ns;
      if (!covered) entries += collect_identities(shard, name, identities);
    };
    visit_shards(*layout, collect, ignore_refused);
    if (read_only() || entries < kEntriesWorthAnIndex)
      return {identities.begin(), identities.end()};
    // So that the next process need not read them again.
    std::set<std::string> all = identities;
    for (const std::string& known : built_with()) all.insert(known);
    write_index(all);
  } catch (const std::exception&) {
    // What could be read until then is what there is.
  }
  return {identities.begin(), identities.end()};
}

void CubinCache::write_index(const std::set<std::string>& identities) const {
  write_json(CacheFolder::create(dir()), kBuiltWithFile,
             {{"version", kRecordVersion}, {"nvrtc", identities}});
}

// After the entry, so that whoever finds an index older than a folder of entries reads these.
void CubinCache::index(const std::string& identity) {
  const std::lock_guard lock(mutex_);
  if (indexed_.count(identity) != 0) return;
  std::vector<std::string> known = built_with();
  if (std::find(known.begin(), known.end(), identity) == known.end()) {
    for (const std::string& other : unindexed_identities()) known.push_back(other);
    known.push_back(identity);
    write_index({known.begin(), known.end()});
  }
  indexed_.insert(identity);
}

void CubinCache::write_manifest() const {
  require_writable();
  std::vector<CubinMeta> entries;
  std::set<std::string> identities;
  visit_entries([&](ListedEntry&& listed, std::string_view) {
    if (!listed.meta) return;
    identities.insert(listed.meta->key.nvrtc);
    entries.push_back(std::move(*listed.meta));
  });
  const CacheFolder root = CacheFolder::create(dir());
  write_index(identities);
  write_json(root, kManifestFile,
             {{"version", kRecordVersion}, {"nvrtc", identities}, {"entries", entries}});
}

std::optional<std::string> CubinCache::recall_nvrtc(std::string_view path, std::uint64_t size,
                                                    std::int64_t mtime_ns) const {
  try {
    const auto root = enabled() ? CacheFolder::open(dir()) : std::nullopt;
    const auto layout = root ? root->subfolder(kLayoutFolder) : std::nullopt;
    const auto value = layout ? read_json(*layout, kNvrtcFile, kMaxSmallFileBytes) : std::nullopt;
    if (!value) return std::nullopt;
    for (const json& record : value->at("libraries")) {
      if (is_of(record, path) && record.at("size") == size && record.at("mtime_ns") == mtime_ns) {
        return record.at("identity").get<std::string>();
      }
    }
  } catch (const std::exception&) {
    // NVRTC itself is asked then.
  }
  return std::nullopt;
}

bool CubinCache::remember_nvrtc(const NvrtcMemo& memo) const noexcept {
  try {
    require_writable();
    const CacheFolder layout = CacheFolder::create(dir()).create_subfolder(kLayoutFolder);
    json libraries = json::array({to_record(memo)});
    try {
      const auto old = read_json(layout, kNvrtcFile, kMaxSmallFileBytes);
      for (const json& record : old ? old->at("libraries") : json::array()) {
        if (libraries.size() < kMemosKept && !is_of(record, memo.path)) libraries.push_back(record);
      }
    } catch (const std::exception&) {
      // A damaged memo is replaced.
    }
    write_json(layout, kNvrtcFile, {{"version", kRecordVersion}, {"libraries", libraries}});
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

}  // namespace marlin
