// CubinCache: a folder of cubins, one checked file for each, that any number of processes share.
//
//   DIR/CACHEDIR.TAG         tells back-up tools to pass by (bford.info/cachedir)
//   DIR/manifest.json        of a prebuilt folder: the metadata of what is in it
//   DIR/built_with.json      the index: the NVRTC identities in the keys of its entries
//   DIR/tuning.jsonl         of a prebuilt folder: the choices that lead to its entries, which the
//                            cache keeps and does not read (runtime/choose/tuning_db.h)
//   DIR/v1/ab/<key>.mcb      one entry (cubin_entry.h); ab is the key's first two digits
//   DIR/v1/lock              byte ranges of it are locked, one for each key being compiled
//   DIR/v1/nvrtc.json        identities of the NVRTC libraries seen
//
// What it promises. A reader gets a complete, verified entry or a miss. Damage is a miss. A write
// that fails leaves nothing behind and costs a later recompile only. Folders and files are used
// only when they belong to the user or to root and nobody else may write them; this is checked on
// the open descriptors. A checksum finds corruption, not an attacker: whoever may write the folder
// runs GPU code as its readers.
//
// All members are safe to call from many threads and processes at once.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/unique_fd.h"
#include "runtime/cache/cache_folder.h"
#include "runtime/cache/cubin_entry.h"

namespace marlin {

// MARLIN_CACHE_DIR (empty: none), else $XDG_CACHE_HOME/marlin, else ~/.cache/marlin, else none,
// which is the empty string: kernels are then kept in memory only.
std::string default_cache_dir();

inline constexpr std::uint64_t kDefaultCacheCap = std::uint64_t{1} << 30;

// MARLIN_CACHE_CAP: bytes, or a number with K, M or G (powers of 1024). kDefaultCacheCap where it
// is not set or empty; and where it is something else, which `why` then says.
std::uint64_t cache_cap(std::string* why = nullptr);

// "1073741824", "1G" -> bytes. Throws Error{invalid_argument} that names the rule.
std::uint64_t parse_byte_count(std::string_view text);

// How long another process's compile of the same kernel is waited for before compiling anyway.
inline constexpr std::chrono::milliseconds kDefaultLockWait{20000};

struct CacheSettings {
  std::string dir;         // "" is a cache that holds nothing and takes nothing
  bool read_only = false;  // never writes, locks or touches anything: prebuilt folders
  std::uint64_t cap_bytes = kDefaultCacheCap;
  PublishHook on_publish =
      nullptr;  // for fault-injection tests; called while an entry is published
};

// What list() found: a .mcb file, or something else that is not as it should be.
struct ListedEntry {
  std::string key = {};   // by its file name; empty when the name is not a key
  std::string path = {};  // relative to the cache folder
  std::uint64_t bytes = 0;
  std::int64_t used_s = 0;             // last stored or read, seconds since 1970
  std::optional<CubinMeta> meta = {};  // nothing when the file is damaged or refused
  std::string why = {};                // what is wrong with it; empty when it is sound
};

struct Manifest {
  std::vector<std::string> nvrtc;  // the identities its entries were built with, sorted
  std::vector<CubinMeta> entries;  // sorted by key
};

struct NvrtcMemo {
  std::string path;  // of the library, resolved
  std::uint64_t size = 0;
  std::int64_t mtime_ns = 0;
  std::string identity;
};

struct GcOptions {
  std::uint64_t cap_bytes = kDefaultCacheCap;
  std::chrono::seconds temporary_age{3600};  // temporaries older than this belong to nobody
};

struct GcResult {
  int removed = 0, temporaries_removed = 0, kept = 0;
  std::uint64_t removed_bytes = 0, kept_bytes = 0;
};

struct ImportResult {
  int published = 0;
  int present = 0;  // were there already, and sound
  std::string choices =
      {};  // what the source has as kTuningFileName, for the caller to check and add
};

inline constexpr const char* kTuningFileName = "tuning.jsonl";
inline constexpr std::size_t kMaxChoicesBytes = std::size_t{64} << 20;

// Held while one process compiles one key. The kernel drops it when its holder dies (a child that
// was forked meanwhile and still lives counts as a holder).
class KeyLock {
 public:
  enum class State {
    held,
    busy,         // somebody else has it
    unavailable,  // locking does not work here: do without
  };
  explicit KeyLock(State state, UniqueFd fd = {}) : state_(state), fd_(std::move(fd)) {}
  State state() const { return state_; }

 private:
  State state_;
  UniqueFd fd_;
};

class CubinCache {
 public:
  explicit CubinCache(CacheSettings settings);
  explicit CubinCache(std::string dir, bool read_only = false);

  const std::string& dir() const { return settings_.dir; }  // absolute, or empty
  bool enabled() const { return !settings_.dir.empty(); }
  bool read_only() const { return settings_.read_only; }
  std::string path_of(std::string_view key) const;  // where the entry is or would be
  // Why nothing in the folder is trusted, "DIR: others may write it (mode 0775)"; else empty, for a
  // folder that is not there, too.
  std::string refusal() const;
  bool is_there() const;  // the folder, be it trusted or not

  // The entry whose key fields hash to this key, or nothing. `why` is set to what is wrong when a
  // file is there and refused, and to nothing when there is none. Never throws.
  std::optional<CacheEntry> load(std::string_view key, std::string* why = nullptr) const;

  // Publishes the entry under cache_key(entry.meta.key). False, with the reason in `why`, when it
  // could not; never throws.
  bool store(const CacheEntry& entry, std::string* why = nullptr) noexcept;

  // Never waits and never throws.
  KeyLock try_lock(std::string_view key) const noexcept;

  // Every .mcb file, sorted by path, each read and checked in full, what the manifest names and is
  // not there, and a manifest or an index that is damaged. Throws Error{io} when the folder is
  // refused.
  std::vector<ListedEntry> list() const;

  // Removes least recently used entries until the rest is within the cap, and temporaries that
  // nobody owns any more. Never leaves the folder, never disturbs a reader. Throws Error{io} when
  // the folder is refused.
  GcResult gc(const GcOptions& options) const;
  // Removes every entry, temporary and memo, and the manifest. Returns the number of entries.
  int clear() const;

  // A tar archive (POSIX ustar) of the sound entries and of kTuningFileName, without which other
  // configs than theirs may be looked for; returns how many entries. Throws Error{io}.
  int export_to(const std::string& archive) const;
  // Publishes what export_to() wrote, or the entries of another cache folder. Refuses the whole,
  // before publishing any, when a member has another name than v1/ab/<key>.mcb or kTuningFileName,
  // is no plain file, is too large or is not a sound entry of that name. Throws
  // Error{invalid_argument} or Error{io}.
  ImportResult import_from(const std::string& archive_or_dir);

  // A prebuilt folder's manifest; nothing when there is none or it is damaged or refused.
  std::optional<Manifest> manifest(std::string* why = nullptr) const;
  // The index: a process computes with these the keys of entries that another NVRTC has built.
  // store() and write_manifest() keep it. Empty when there is none or it is damaged or refused,
  // which `why` says. Never throws.
  std::vector<std::string> built_with(std::string* why = nullptr) const;
  // The identities in entries that came into the folder after its index, by whatever way, or in all
  // where there is no index. Reads each of these entries. Never throws.
  std::vector<std::string> unindexed_identities() const;
  // Writes both from the sound entries that are here. Throws Error{io}.
  void write_manifest() const;

  // The identity remembered for a library file that has not changed since.
  std::optional<std::string> recall_nvrtc(std::string_view path, std::uint64_t size,
                                          std::int64_t mtime_ns) const;
  // False when it could not be written; never throws.
  bool remember_nvrtc(const NvrtcMemo& memo) const noexcept;

 private:
  using Visit = std::function<void(ListedEntry&& listed, std::string_view file)>;
  void visit_entries(const Visit& visit) const;
  void index(const std::string& identity);
  void write_index(const std::set<std::string>& identities) const;
  void require_writable() const;

  CacheSettings settings_;
  std::atomic<unsigned> stores_{0};
  std::mutex mutex_;
  std::set<std::string> indexed_;  // identities that the index is known to have
};

// What load_or_build() found or made.
struct BuiltEntry {
  CacheEntry entry;
  bool from_cache = false;
  std::string store_error = {};  // why a built entry could not be kept; empty when it was
};

// The cached entry, else what build() returns, which is then published. While one process builds a
// key the others on a local file system wait for it, at most `wait`, and then build for themselves.
// A built entry is returned as it was built, whatever becomes of its file. What build() throws
// passes through, and the next call tries again.
BuiltEntry load_or_build(CubinCache& cache, std::string_view key,
                         const std::function<CacheEntry()>& build,
                         std::chrono::milliseconds wait = kDefaultLockWait);

}  // namespace marlin
