// A cache folder -> the list of what is in it, and less of it.
// Entry points: CubinCache::list, CubinCache::gc, CubinCache::clear.
#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <tuple>

#include "codegen/base/error.h"
#include "runtime/cache/cubin_cache.h"
#include "runtime/cache/cubin_cache_layout.h"

namespace marlin {
namespace {

std::int64_t now_ns() {
  using namespace std::chrono;
  return duration_cast<nanoseconds>(system_clock::now().time_since_epoch()).count();
}

// Reads one .mcb file; what is wrong with it goes into the listing.
std::string read_listed(const CacheFolder& shard, const std::string& name, ListedEntry& listed) {
  try {
    if (const auto info = shard.stat(name)) {
      listed.bytes = info->bytes;
      listed.used_s = info->modified_ns / 1'000'000'000;
    }
    if (listed.key.empty()) throw Error(ErrorCode::io, "its name is not a key of this folder");
    auto file = shard.read(name, kMaxEntryBytes);
    if (!file) throw Error(ErrorCode::io, "disappeared while it was read");
    CacheEntry entry = decode_entry(*file);
    if (cache_key(entry.meta.key) != listed.key) {
      throw Error(ErrorCode::io, "holds the entry of another key");
    }
    listed.meta = std::move(entry.meta);
    return std::move(*file);
  } catch (const Error& error) {
    listed.why = error.what();
    return {};
  }
}

struct Candidate {
  std::int64_t modified_ns;
  std::string shard, name;
  std::uint64_t bytes;
};

// Removes temporaries of the files that we publish in this folder and nobody works on any more.
template <typename IsOurs>
int remove_temporaries(const CacheFolder& folder, std::chrono::seconds age, IsOurs is_ours) {
  const std::int64_t newest = now_ns() - std::chrono::nanoseconds(age).count();
  int removed = 0;
  for (const std::string& name : folder.names()) {
    const auto published = published_name(name);
    if (!published || !is_ours(*published)) continue;
    const auto info = folder.stat(name);
    if (info && info->plain && info->modified_ns <= newest && folder.remove(name)) ++removed;
  }
  return removed;
}

int remove_temporaries(const CacheFolder& root, const CacheFolder& layout,
                       std::chrono::seconds age) {
  return remove_temporaries(root, age,
                            [](const std::string& name) {
                              return name == kTagFile || name == kManifestFile ||
                                     name == kBuiltWithFile;
                            }) +
         remove_temporaries(layout, age,
                            [](const std::string& name) { return name == kNvrtcFile; });
}

}  // namespace

void CubinCache::visit_entries(const Visit& visit) const {
  const auto root = enabled() ? CacheFolder::open(dir()) : std::nullopt;
  const auto layout = root ? root->subfolder(kLayoutFolder) : std::nullopt;
  if (!layout) return;
  visit_shards(
      *layout,
      [&](const std::string& shard_name, const CacheFolder& shard) {
        for (const std::string& name : shard.names()) {
          if (!has_entry_suffix(name)) continue;
          ListedEntry listed{.key = key_of(shard_name, name).value_or(""),
                             .path = fmt::format("{}/{}/{}", kLayoutFolder, shard_name, name)};
          const std::string file = read_listed(shard, name, listed);
          visit(std::move(listed), file);
        }
      },
      [&](const std::string& name, const char* why) {
        visit({.path = fmt::format("{}/{}", kLayoutFolder, name), .why = why}, {});
      });
}

std::vector<ListedEntry> CubinCache::list() const {
  std::vector<ListedEntry> all;
  std::set<std::string> keys;
  visit_entries([&](ListedEntry&& listed, std::string_view) {
    keys.insert(listed.key);
    all.push_back(std::move(listed));
  });
  std::string why;
  const auto contents = manifest(&why);
  if (!why.empty()) all.push_back({.path = kManifestFile, .why = why});
  built_with(&why);
  if (!why.empty()) all.push_back({.path = kBuiltWithFile, .why = why});
  if (!contents) return all;
  for (const CubinMeta& meta : contents->entries) {
    const std::string key = cache_key(meta.key);
    if (keys.count(key) != 0) continue;
    const std::string path = fmt::format("{}/{}/{}", kLayoutFolder, shard_of(key), entry_file(key));
    all.push_back({.key = key, .path = path, .why = "is in the manifest and not in the folder"});
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const ListedEntry& a, const ListedEntry& b) { return a.path < b.path; });
  return all;
}

GcResult CubinCache::gc(const GcOptions& options) const {
  require_writable();
  GcResult result;
  const auto root = CacheFolder::open(dir());
  const auto layout = root ? root->subfolder(kLayoutFolder) : std::nullopt;
  if (!layout) return result;
  result.temporaries_removed = remove_temporaries(*root, *layout, options.temporary_age);
  std::vector<Candidate> candidates;
  const auto collect = [&](const std::string& shard_name, const CacheFolder& shard) {
    result.temporaries_removed += remove_temporaries(
        shard, options.temporary_age,
        [&](const std::string& name) { return key_of(shard_name, name).has_value(); });
    for (const std::string& name : shard.names()) {
      if (!key_of(shard_name, name)) continue;
      const auto info = shard.stat(name);
      if (!info || !info->plain) continue;
      candidates.push_back({info->modified_ns, shard_name, name, info->bytes});
      result.kept_bytes += info->bytes;
      ++result.kept;
    }
  };
  visit_shards(*layout, collect, ignore_refused);
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
    return std::tie(a.modified_ns, a.name) < std::tie(b.modified_ns, b.name);
  });
  for (const Candidate& oldest : candidates) {
    if (result.kept_bytes <= options.cap_bytes) break;
    const auto shard = layout->subfolder(oldest.shard);
    if (!shard || !shard->remove(oldest.name)) continue;
    ++result.removed;
    --result.kept;
    result.removed_bytes += oldest.bytes;
    result.kept_bytes -= oldest.bytes;
  }
  if (result.removed > 0 && root->stat(kManifestFile)) write_manifest();
  return result;
}

int CubinCache::clear() const {
  require_writable();
  int removed = 0;
  const auto root = CacheFolder::open(dir());
  const auto layout = root ? root->subfolder(kLayoutFolder) : std::nullopt;
  if (!layout) return removed;
  remove_temporaries(*root, *layout, std::chrono::seconds{0});
  root->remove(kManifestFile);
  root->remove(kBuiltWithFile);
  layout->remove(kNvrtcFile);
  visit_shards(
      *layout,
      [&](const std::string& shard_name, const CacheFolder& shard) {
        remove_temporaries(shard, std::chrono::seconds{0}, [&](const std::string& name) {
          return key_of(shard_name, name).has_value();
        });
        for (const std::string& name : shard.names()) {
          if (has_entry_suffix(name) && shard.remove(name)) ++removed;
        }
      },
      ignore_refused);
  return removed;
}

}  // namespace marlin
