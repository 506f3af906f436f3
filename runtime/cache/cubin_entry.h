// CacheEntry: a cubin and what is known about it, and the bytes of its file.
//
// A file is  magic "MARLINCB", u32 format version, u32 metadata bytes, u64 cubin bytes (little
// endian), the metadata as JSON, the cubin, and SHA-256 over all of that. Nothing may follow.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "runtime/cache/cache_key.h"

namespace marlin {

struct CubinMeta {
  CacheKeyFields key;
  std::string problem;   // to_string(Shape)
  std::string config;    // to_string(Config)
  int sms = 0;           // streaming multiprocessors the kernel was written for
  int threads = 0;       // of a block
  int cluster = 1;       // blocks of a cluster
  int shared_bytes = 0;  // dynamic shared memory of a block
  int registers = 0;     // of a thread
  int stack_bytes = 0;   // of a thread
  int spill_bytes = 0;   // stored and loaded by a thread
  double compile_ms = 0;

  friend bool operator==(const CubinMeta&, const CubinMeta&) = default;
};

struct CacheEntry {
  CubinMeta meta;
  std::string cubin;

  friend bool operator==(const CacheEntry&, const CacheEntry&) = default;
};

// Found by nlohmann::json. The names are those of the struct, with the key's fields and "key"
// (their hash) at the same level. from_json throws Error{io} that names the field at fault.
void to_json(nlohmann::json& object, const CubinMeta& meta);
void from_json(const nlohmann::json& object, CubinMeta& meta);

inline constexpr std::size_t kMaxMetaBytes = std::size_t{1} << 20;
inline constexpr std::size_t kMaxCubinBytes = std::size_t{64} << 20;
inline constexpr std::size_t kMaxEntryBytes = kMaxMetaBytes + kMaxCubinBytes + 64;

// The file's bytes. Throws Error{invalid_argument} when the entry is not one decode_entry() takes:
// an empty cubin, one for another architecture, text that is not UTF-8, a part beyond its limit.
std::string encode_entry(const CacheEntry& entry);

// The entry in a file's bytes. Throws Error{io} that says what is wrong with them: magic, version,
// lengths, checksum, metadata, or a cubin that is not for the architecture its key names.
CacheEntry decode_entry(std::string_view file);

// The metadata alone, without looking at cubin and checksum: what the file claims to hold.
CubinMeta decode_meta(std::string_view file);

}  // namespace marlin
