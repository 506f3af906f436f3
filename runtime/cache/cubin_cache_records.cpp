// What a cache folder knows beside its entries <-> small JSON files: manifest, NVRTC identities.
// Entry points: CubinCache::manifest, write_manifest, built_with, recall_nvrtc, remember_nvrtc.
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

std::vector<std::string> CubinCache::built_with() const {
  try {
    const auto root = enabled() ? CacheFolder::open(dir()) : std::nullopt;
    const auto value = root ? read_json(*root, kBuiltWithFile, kMaxSmallFileBytes) : std::nullopt;
    if (value) return value->at("nvrtc").get<std::vector<std::string>>();
  } catch (const std::exception&) {
    // As good as absent: its entries are then found by NVRTC's own identity or not at all.
  }
  return {};
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
  const json built_with = {{"version", kRecordVersion}, {"nvrtc", identities}};
  json contents = built_with;
  contents["entries"] = entries;
  write_json(root, kBuiltWithFile, built_with);
  write_json(root, kManifestFile, contents);
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
