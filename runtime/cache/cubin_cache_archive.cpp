// A cache folder -> one archive, and an archive or another folder -> checked entries of a cache.
// Entry points: CubinCache::export_to, CubinCache::import_from.
#include <fmt/format.h>

#include <filesystem>

#include "codegen/base/error.h"
#include "runtime/cache/cubin_cache.h"
#include "runtime/cache/cubin_cache_layout.h"
#include "runtime/cache/tar.h"

namespace marlin {
namespace {

std::string member_name(std::string_view key) {
  return fmt::format("{}/{}/{}", kLayoutFolder, shard_of(key), entry_file(key));
}

// The member's entry, when its name is the one that the entry has in every cache. As no other name
// is taken, none can lead out of the folder.
CacheEntry checked_entry(const std::string& archive, const TarMember& member) {
  const auto refuse = [&](std::string_view why) {
    throw Error(
        ErrorCode::invalid_argument,
        fmt::format("{}: member \"{}\" {}; nothing was imported", archive, member.name, why));
  };
  const std::string& name = member.name;
  const std::size_t slash = name.rfind('/');
  const std::string file = slash == std::string::npos ? name : name.substr(slash + 1);
  const auto key = key_of(file.substr(0, 2), file);
  if (!key || member_name(*key) != name) {
    refuse(fmt::format("is not named {}/ab/<key>{} or {}", kLayoutFolder, kEntrySuffix,
                       kTuningFileName));
  }
  try {
    CacheEntry entry = decode_entry(member.bytes);
    if (cache_key(entry.meta.key) == *key) return entry;
  } catch (const Error& error) {
    refuse(fmt::format("is damaged: {}", error.what()));
  }
  refuse("holds the entry of another key");
  return {};
}

void publish(CubinCache& cache, const CacheEntry& entry, ImportResult& result) {
  if (cache.load(cache_key(entry.meta.key))) {
    ++result.present;
    return;
  }
  std::string why;
  if (!cache.store(entry, &why)) throw Error(ErrorCode::io, why);
  ++result.published;
}

ImportResult import_archive(CubinCache& cache, const std::string& archive) {
  TarReader reader(archive, kMaxEntryBytes);
  while (const auto member = reader.next()) {
    if (member->name != kTuningFileName) checked_entry(archive, *member);
  }
  reader.rewind();
  ImportResult result;
  // Checked again, as the archive may change between the two passes.
  while (auto member = reader.next()) {
    if (member->name == kTuningFileName) {
      result.choices = std::move(member->bytes);
    } else {
      publish(cache, checked_entry(archive, *member), result);
    }
  }
  return result;
}

std::string choices_in(const std::string& dir) {
  const auto folder = CacheFolder::open(dir);
  return folder ? folder->read(kTuningFileName, kMaxChoicesBytes).value_or("") : "";
}

ImportResult import_folder(CubinCache& cache, const std::string& dir) {
  const CubinCache source(dir, true);
  const std::vector<ListedEntry> listed = source.list();
  for (const ListedEntry& entry : listed) {
    if (entry.why.empty()) continue;
    throw Error(ErrorCode::invalid_argument,
                fmt::format("{}: {}: {}; nothing was imported", dir, entry.path, entry.why));
  }
  ImportResult result{.choices = choices_in(dir)};
  for (const ListedEntry& entry : listed) {
    std::string why;
    const auto loaded = source.load(entry.key, &why);
    if (!loaded) throw Error(ErrorCode::io, fmt::format("{}: cannot be read: {}", entry.path, why));
    publish(cache, *loaded, result);
  }
  return result;
}

}  // namespace

int CubinCache::export_to(const std::string& archive) const {
  TarWriter writer(archive);
  if (const std::string choices = choices_in(dir()); !choices.empty()) {
    writer.add(kTuningFileName, choices);
  }
  int exported = 0;
  visit_entries([&](ListedEntry&& listed, std::string_view file) {
    if (!listed.meta) return;
    writer.add(member_name(listed.key), file);
    ++exported;
  });
  writer.finish();
  return exported;
}

ImportResult CubinCache::import_from(const std::string& archive_or_dir) {
  require_writable();
  std::error_code error;
  const bool is_folder = std::filesystem::is_directory(archive_or_dir, error);
  return is_folder ? import_folder(*this, archive_or_dir) : import_archive(*this, archive_or_dir);
}

}  // namespace marlin
