// A key -> the entry kept under it, and back; one compile for a key among processes.
// Entry points: CubinCache::load, CubinCache::store, load_or_build.
#include "runtime/cache/cubin_cache.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <limits>
#include <stdexcept>
#include <thread>

#include "codegen/base/error.h"
#include "runtime/base/environment.h"
#include "runtime/cache/cubin_cache_layout.h"

namespace marlin {
namespace {

// A folder's size is looked at with the first entry a process stores and then every so many.
constexpr unsigned kStoresBetweenGc = 32;

constexpr std::string_view kTagText =
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# This folder holds GPU code compiled by marlin. It can be deleted at any time.\n"
    "# The format of this file is described at https://bford.info/cachedir/\n";

// Folders are named in messages and reached again later, whatever the current folder is then.
std::string absolute(const std::string& dir) {
  if (dir.empty()) return dir;
  std::error_code error;
  const std::filesystem::path path = std::filesystem::absolute(dir, error).lexically_normal();
  if (error) return dir;
  return (path.has_filename() ? path : path.parent_path()).string();
}

void explain(std::string* why, const std::string& text) {
  if (why != nullptr) *why = text;
}

CacheEntry checked_entry(std::string_view file, std::string_view key, const std::string& path) {
  try {
    CacheEntry entry = decode_entry(file);
    if (cache_key(entry.meta.key) == key) return entry;
    throw Error(ErrorCode::io, "holds the entry of another key");
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("{}: {}", path, error.what()));
  }
}

}  // namespace

std::string default_cache_dir() {
  if (const auto dir = variable("MARLIN_CACHE_DIR")) return *dir;
  return user_folder("XDG_CACHE_HOME", ".cache");
}

std::uint64_t cache_cap(std::string* why) {
  explain(why, "");
  const std::string text = variable("MARLIN_CACHE_CAP").value_or("");
  if (text.empty()) return kDefaultCacheCap;
  try {
    return parse_byte_count(text);
  } catch (const Error& error) {
    explain(why,
            fmt::format("MARLIN_CACHE_CAP: {}; {} bytes are used", error.what(), kDefaultCacheCap));
    return kDefaultCacheCap;
  }
}

std::uint64_t parse_byte_count(std::string_view text) {
  constexpr std::string_view kUnits = "KMG";
  std::uint64_t count = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, count);
  std::uint64_t unit = 1;
  bool known = error == std::errc() && end - rest <= 1;
  if (known && rest != end) {
    const std::size_t power = kUnits.find(*rest);
    known = power != std::string_view::npos;
    unit = std::uint64_t{1} << (10 * (known ? power + 1 : 0));
  }
  if (!known || count > std::numeric_limits<std::uint64_t>::max() / unit) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("\"{}\" is not a byte count such as 1073741824, 512M or 1G", text));
  }
  return count * unit;
}

CubinCache::CubinCache(CacheSettings settings) : settings_(std::move(settings)) {
  settings_.dir = absolute(settings_.dir);
}

CubinCache::CubinCache(std::string dir, bool read_only)
    : CubinCache(CacheSettings{.dir = std::move(dir), .read_only = read_only}) {}

std::string CubinCache::path_of(std::string_view key) const {
  return fmt::format("{}/{}/{}/{}", dir(), kLayoutFolder, shard_of(key), entry_file(key));
}

void CubinCache::require_writable() const {
  if (!enabled()) throw Error(ErrorCode::io, "there is no cache folder");
  if (read_only()) throw Error(ErrorCode::io, fmt::format("{} is read-only", dir()));
}

std::string CubinCache::refusal() const {
  try {
    const auto root = enabled() ? CacheFolder::open(dir()) : std::nullopt;
    if (root) root->subfolder(kLayoutFolder);
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

bool CubinCache::is_there() const {
  std::error_code error;
  return enabled() && std::filesystem::exists(dir(), error);
}

std::optional<CacheEntry> CubinCache::load(std::string_view key, std::string* why) const {
  explain(why, "");
  if (!enabled()) return std::nullopt;
  try {
    if (!is_cache_key(key)) throw std::invalid_argument("a key has 64 hexadecimal digits");
    const auto root = CacheFolder::open(dir());
    const auto layout = root ? root->subfolder(kLayoutFolder) : std::nullopt;
    const auto shard = layout ? layout->subfolder(shard_of(key)) : std::nullopt;
    if (!shard) return std::nullopt;
    const auto touch = read_only() ? CacheFolder::Touch::no : CacheFolder::Touch::yes;
    const auto file = shard->read(entry_file(key), kMaxEntryBytes, touch);
    if (file) return checked_entry(*file, key, path_of(key));
  } catch (const std::exception& error) {
    explain(why, error.what());
  }
  return std::nullopt;
}

bool CubinCache::store(const CacheEntry& entry, std::string* why) noexcept {
  try {
    explain(why, "");
    require_writable();
    const std::string file = encode_entry(entry);
    const std::string key = cache_key(entry.meta.key);
    const CacheFolder root = CacheFolder::create(dir());
    if (!root.stat(kTagFile)) root.publish(kTagFile, kTagText);
    root.create_subfolder(kLayoutFolder)
        .create_subfolder(shard_of(key))
        .publish(entry_file(key), file, settings_.on_publish);
  } catch (const std::exception& error) {
    explain(why, error.what());
    return false;
  }
  try {
    index(entry.meta.key.nvrtc);
    if (stores_++ % kStoresBetweenGc == 0) gc({.cap_bytes = settings_.cap_bytes});
  } catch (const std::exception&) {
    // The entry is stored, and found without the index, too; the folder stays too large until
    // somebody manages to tidy it.
  }
  return true;
}

KeyLock CubinCache::try_lock(std::string_view key) const noexcept {
  try {
    require_writable();
    const CacheFolder layout = CacheFolder::create(dir()).create_subfolder(kLayoutFolder);
    UniqueFd fd(openat(layout.fd(), kLockFile,
                       O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600));
    if (!fd.valid()) return KeyLock(KeyLock::State::unavailable);
    // One byte of a file that stays, at an offset the key gives: no lock files to clean up.
    // Two keys with the same first 60 bits would only wait for each other.
    struct flock range = {};
    range.l_type = F_WRLCK;
    range.l_whence = SEEK_SET;
    range.l_start = static_cast<off_t>(std::stoull(std::string(key.substr(0, 15)), nullptr, 16));
    range.l_len = 1;
    // An open file description's lock, unlike a process's, also keeps threads apart.
    if (fcntl(fd.get(), F_OFD_SETLK, &range) == 0) {
      return KeyLock(KeyLock::State::held, std::move(fd));
    }
    const bool busy = errno == EAGAIN || errno == EACCES;
    return KeyLock(busy ? KeyLock::State::busy : KeyLock::State::unavailable);
  } catch (const std::exception&) {
    return KeyLock(KeyLock::State::unavailable);
  }
}

namespace {

// The entry, once somebody has published it; or nothing, with the lock where it could be had.
std::optional<CacheEntry> load_or_lock(const CubinCache& cache, std::string_view key,
                                       std::chrono::milliseconds wait, KeyLock& lock) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point deadline = Clock::now() + wait;
  std::chrono::milliseconds pause{1};
  while (true) {
    lock = cache.try_lock(key);
    if (auto found = cache.load(key)) return found;
    if (lock.state() != KeyLock::State::busy || Clock::now() >= deadline) return std::nullopt;
    std::this_thread::sleep_for(pause);
    pause = std::min(2 * pause, std::chrono::milliseconds{50});
  }
}

}  // namespace

BuiltEntry load_or_build(CubinCache& cache, std::string_view key,
                         const std::function<CacheEntry()>& build, std::chrono::milliseconds wait) {
  if (auto found = cache.load(key)) return {.entry = std::move(*found), .from_cache = true};
  KeyLock lock(KeyLock::State::unavailable);
  if (auto found = load_or_lock(cache, key, wait, lock)) {
    return {.entry = std::move(*found), .from_cache = true};
  }
  BuiltEntry built{.entry = build()};
  if (cache_key(built.entry.meta.key) != key) {
    throw std::logic_error("the entry that was built has another key than was asked for");
  }
  cache.store(built.entry, &built.store_error);
  return built;
}

}  // namespace marlin
