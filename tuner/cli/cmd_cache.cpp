// marlin cache path|ls|info|verify|gc|clear|export|import: what is in a cache folder, and what may
// be done to it. Entry point: add_cache.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>
#include <filesystem>
#include <map>
#include <memory>
#include <set>

#include "codegen/base/error.h"
#include "codegen/generator.h"
#include "runtime/cache/cubin_cache.h"
#include "tuner/cli/cli_common.h"
#include "tuner/cli/verbs.h"
#include "tuner/search/tuning_files.h"

namespace marlin {
namespace {

using Json = nlohmann::ordered_json;

struct CacheOptions {
  std::string dir, key, archive, cap;
  bool json = false;
};

// Beginning of every JSON result of these verbs.
Json cache_result(std::string_view verb, const std::string& dir) {
  Json result = json_result(fmt::format("cache {}", verb));
  result["dir"] = dir;
  return result;
}

std::string folder_of(const CacheOptions& options) {
  if (!options.dir.empty()) return options.dir;
  std::string dir = default_cache_dir();
  if (dir.empty()) {
    throw Error(ErrorCode::invalid_argument,
                "no cache folder: MARLIN_CACHE_DIR is empty, or neither it nor XDG_CACHE_HOME nor "
                "HOME is set; give --dir");
  }
  return dir;
}

CubinCache open_cache(const CacheOptions& options) { return CubinCache(folder_of(options)); }

// For verbs that need a folder that is there when it was named.
CubinCache open_existing(const CacheOptions& options) {
  if (!options.dir.empty() && !std::filesystem::is_directory(options.dir)) {
    throw Error(ErrorCode::invalid_argument, fmt::format("--dir {}: no such folder", options.dir));
  }
  return open_cache(options);
}

std::string when(std::int64_t seconds) {
  if (seconds == 0) return "never";
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(static_cast<std::time_t>(seconds)));
}

std::uint64_t total_bytes(const std::vector<ListedEntry>& entries) {
  std::uint64_t bytes = 0;
  for (const ListedEntry& entry : entries) bytes += entry.bytes;
  return bytes;
}

Json describe(const ListedEntry& entry) {
  Json json = {{"path", entry.path}, {"bytes", entry.bytes}, {"used", when(entry.used_s)}};
  json["sound"] = entry.meta.has_value();
  if (entry.meta) {
    json["meta"] = nlohmann::json(*entry.meta);
  } else {
    json["why"] = entry.why;
  }
  return json;
}

Exit run_path(const CacheOptions& options) {
  const CubinCache cache = open_cache(options);
  options.json ? print(text_of(cache_result("path", cache.dir()))) : print(cache.dir() + "\n");
  return Exit::done;
}

Exit run_ls(const CacheOptions& options) {
  const CubinCache cache = open_existing(options);
  Json result = cache_result("ls", cache.dir());
  result["entries"] = Json::array();
  std::vector<std::vector<std::string>> rows = {
      {"key", "shape", "arch", "sms", "config", "bytes", "used"}};
  for (const ListedEntry& entry : cache.list()) {
    result["entries"].push_back(describe(entry));
    const std::string key = entry.key.empty() ? entry.path : entry.key.substr(0, 12);
    const std::string bytes = std::to_string(entry.bytes);
    if (entry.meta) {
      rows.push_back({key, entry.meta->problem, entry.meta->key.arch,
                      std::to_string(entry.meta->sms), entry.meta->config, bytes,
                      when(entry.used_s)});
    } else {
      rows.push_back({key, "damaged: " + entry.why, "", "", "", bytes, when(entry.used_s)});
    }
  }
  if (options.json) {
    print(text_of(result));
  } else if (rows.size() > 1) {
    print(table(rows));
  }
  return Exit::done;
}

// The one entry whose key begins with options.key.
Exit info_of_entry(const CacheOptions& options, const CubinCache& cache) {
  std::vector<ListedEntry> found;
  for (ListedEntry& entry : cache.list()) {
    if (entry.key.rfind(options.key, 0) == 0) found.push_back(std::move(entry));
  }
  if (found.size() != 1) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("{} entries whose key begins with '{}' in {}", found.size(),
                            options.key, cache.dir()));
  }
  Json result = cache_result("info", cache.dir());
  result["entry"] = describe(found.front());
  options.json ? print(text_of(result)) : print(text_of(result["entry"]));
  return found.front().meta ? Exit::done : Exit::findings;
}

Exit run_info(const CacheOptions& options) {
  const CubinCache cache = open_existing(options);
  if (!options.key.empty()) return info_of_entry(options, cache);
  const std::vector<ListedEntry> entries = cache.list();
  std::map<std::string, int> archs;
  std::set<std::string> compilers;
  int damaged = 0;
  for (const ListedEntry& entry : entries) {
    if (entry.meta) {
      ++archs[entry.meta->key.arch];
      compilers.insert(entry.meta->key.nvrtc);
    } else {
      ++damaged;
    }
  }
  const auto manifest = cache.manifest();
  Json result = cache_result("info", cache.dir());
  result["entries"] = entries.size();
  result["damaged"] = damaged;
  result["bytes"] = total_bytes(entries);
  result["cap_bytes"] = cache_cap();
  result["archs"] = archs;
  result["nvrtc"] = compilers;
  result["manifest"] = manifest.has_value();
  if (options.json) {
    print(text_of(result));
    return Exit::done;
  }
  std::string arch_text;
  for (const auto& [arch, number] : archs) arch_text += fmt::format("{} ({}) ", arch, number);
  print(table(
      {{"folder", cache.dir()},
       {"entries", fmt::format("{}, {} damaged", entries.size(), damaged)},
       {"bytes", fmt::format("{} of at most {}", total_bytes(entries), cache_cap())},
       {"architectures", arch_text},
       {"NVRTC", fmt::format("{}", fmt::join(compilers, ", "))},
       {"manifest", manifest ? fmt::format("{} entries", manifest->entries.size()) : "none"}}));
  return Exit::done;
}

// No look-up comes to an entry of another kernel schema; `gc` ends it in its turn.
std::string why_unreachable(const CubinMeta& meta) {
  return fmt::format("sound, and of kernel schema {}: this program looks for those of {}",
                     meta.key.schema, kKernelSchema);
}

Exit run_verify(const CacheOptions& options) {
  const CubinCache cache = open_existing(options);
  const std::vector<ListedEntry> entries = cache.list();
  Json result = cache_result("verify", cache.dir());
  result["entries"] = entries.size();
  result["findings"] = Json::array();
  std::string text;
  result["unreachable"] = Json::array();
  for (const ListedEntry& entry : entries) {
    const bool unreachable = entry.meta && entry.meta->key.schema != kKernelSchema;
    if (entry.meta && !unreachable) continue;
    const std::string why = unreachable ? why_unreachable(*entry.meta) : entry.why;
    result[unreachable ? "unreachable" : "findings"].push_back(
        {{"path", entry.path}, {"why", why}});
    text += fmt::format("{}: {}\n", entry.path, why);
  }
  const std::size_t findings = result["findings"].size();
  text += fmt::format("{} entries, {} findings in {}\n", entries.size(), findings, cache.dir());
  print(options.json ? text_of(result) : text);
  return findings == 0 ? Exit::done : Exit::findings;
}

Exit run_gc(const CacheOptions& options) {
  const std::uint64_t cap = options.cap.empty() ? cache_cap() : parse_byte_count(options.cap);
  const CubinCache cache = open_existing(options);
  const GcResult done = cache.gc({.cap_bytes = cap});
  Json result = cache_result("gc", cache.dir());
  result["cap_bytes"] = cap;
  result["removed"] = done.removed;
  result["removed_bytes"] = done.removed_bytes;
  result["temporaries_removed"] = done.temporaries_removed;
  result["kept"] = done.kept;
  result["kept_bytes"] = done.kept_bytes;
  options.json
      ? print(text_of(result))
      : print(fmt::format("removed {} entries ({} bytes) and {} temporaries, kept {} ({} bytes)\n",
                          done.removed, done.removed_bytes, done.temporaries_removed, done.kept,
                          done.kept_bytes));
  return Exit::done;
}

Exit run_clear(const CacheOptions& options) {
  const CubinCache cache = open_existing(options);
  const int removed = cache.clear();
  Json result = cache_result("clear", cache.dir());
  result["removed"] = removed;
  options.json ? print(text_of(result)) : print(fmt::format("removed {} entries\n", removed));
  return Exit::done;
}

Exit run_export(const CacheOptions& options) {
  const CubinCache cache = open_existing(options);
  const int exported = cache.export_to(options.archive);
  Json result = cache_result("export", cache.dir());
  result["archive"] = options.archive;
  result["exported"] = exported;
  report(options.json ? text_of(result)
                      : fmt::format("exported {} entries to {}\n", exported, options.archive),
         options.archive);
  return Exit::done;
}

Exit run_import(const CacheOptions& options) {
  CubinCache cache = open_cache(options);
  const ImportResult done = cache.import_from(options.archive);
  const LoadedDb choices =
      load_db(TuningFile(fmt::format("{}: {}", options.archive, kTuningFileName), done.choices));
  std::vector<BadLine> left_out = choices.bad;
  if (!choices.records.empty()) {
    for (const BadLine& bad : add_choices(cache.dir(), choices.records)) left_out.push_back(bad);
  }
  for (const BadLine& bad : left_out) warn("left out " + to_string(bad));
  Json result = cache_result("import", cache.dir());
  result["published"] = done.published;
  result["present"] = done.present;
  result["choices"] = choices.records.size();
  options.json
      ? print(text_of(result))
      : print(fmt::format("published {} entries, {} were present, and {} choices, in {}\n",
                          done.published, done.present, choices.records.size(), cache.dir()));
  return left_out.empty() ? Exit::done : Exit::findings;
}

}  // namespace

void add_cache(CLI::App& app, Exit& exit) {
  auto options = std::make_shared<CacheOptions>();
  CLI::App* cache =
      app.add_subcommand("cache", "Look into a cache folder, check it, tidy it, ship it");
  cache->require_subcommand(1);
  cache->footer(
      "\nThe folder is --dir, else $MARLIN_CACHE_DIR, else $XDG_CACHE_HOME/marlin, else\n"
      "~/.cache/marlin.\n"
      "\nExamples:\n"
      "  marlin cache ls\n"
      "  marlin cache verify --dir DIR\n"
      "  marlin cache gc --cap 256M\n"
      "  marlin cache export kernels.tar\n");
  const auto add = [&](const char* name, const char* help, Exit (*run)(const CacheOptions&)) {
    CLI::App* verb = cache->add_subcommand(name, help);
    verb->add_option("--dir", options->dir, "the cache folder")->type_name("DIR");
    verb->add_flag("--json", options->json, "the same as JSON");
    verb->callback([options, run, &exit] { exit = run(*options); });
    return verb;
  };
  add("path", "Print the folder", run_path);
  add("ls", "List the entries", run_ls);
  add("info", "Sum up the folder, or show one entry in full", run_info)
      ->add_option("key", options->key, "the first digits of an entry's key");
  add("verify", "Read and check everything; exit code 1 and its name for what is damaged",
      run_verify);
  add("gc", "Remove least recently used entries beyond a size, and what crashes left", run_gc)
      ->add_option("--cap", options->cap,
                   "bytes to keep, e.g. 256M (default: MARLIN_CACHE_CAP, 1G)")
      ->type_name("BYTES");
  add("clear", "Remove every entry", run_clear);
  add("export", "Write the sound entries, and the choices that lead to them, to a tar archive",
      run_export)
      ->add_option("archive", options->archive, "the file to write, - for stdout")
      ->required();
  add("import",
      "Check and publish what export wrote, or another cache folder's entries and choices",
      run_import)
      ->add_option("archive", options->archive, "a tar archive or a cache folder")
      ->required();
}

}  // namespace marlin
