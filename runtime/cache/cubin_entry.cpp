// CacheEntry <-> the bytes of its file; every byte read is checked before it is used.
// Entry points: encode_entry, decode_entry, decode_meta.
#include "runtime/cache/cubin_entry.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "codegen/base/error.h"
#include "runtime/base/sha256.h"
#include "runtime/cache/cubin_elf.h"

namespace marlin {
namespace {

using nlohmann::json;

constexpr std::string_view kMagic = "MARLINCB";
constexpr std::uint32_t kFormatVersion = 1;
constexpr std::size_t kHeaderBytes = 24;  // magic, version, two lengths
constexpr std::size_t kDigestBytes = 32;

[[noreturn]] void refuse(const std::string& why) { throw Error(ErrorCode::io, why); }

void append_little_endian(std::string& text, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i) & 0xff);
}

std::uint64_t little_endian(std::string_view text, std::size_t offset, int bytes) {
  std::uint64_t value = 0;
  for (int i = bytes; i-- > 0;) {
    value = value << 8 | static_cast<unsigned char>(text[offset + static_cast<std::size_t>(i)]);
  }
  return value;
}

// nlohmann's own get<int>() takes 1e99 and true for an integer.
int integer(const json& object, const char* name) {
  const json& value = object.at(name);
  if (!value.is_number_integer()) refuse(fmt::format("metadata: {} is not an integer", name));
  const auto wide = value.get<std::int64_t>();
  if (wide < 0 || wide > std::numeric_limits<int>::max()) {
    refuse(fmt::format("metadata: {} = {} is not in 0..2^31-1", name, wide));
  }
  return static_cast<int>(wide);
}

CubinMeta meta_from(const json& object) {
  CubinMeta meta;
  meta.key = {.schema = integer(object, "schema"),
              .source_sha256 = object.at("source_sha256").get<std::string>(),
              .options = object.at("options").get<std::vector<std::string>>(),
              .arch = object.at("arch").get<std::string>(),
              .entry = object.at("entry").get<std::string>(),
              .nvrtc = object.at("nvrtc").get<std::string>()};
  meta.problem = object.at("shape").get<std::string>();
  meta.config = object.at("config").get<std::string>();
  meta.sms = integer(object, "sms");
  meta.threads = integer(object, "threads");
  meta.cluster = integer(object, "cluster");
  meta.shared_bytes = integer(object, "shared_bytes");
  meta.registers = integer(object, "registers");
  meta.stack_bytes = integer(object, "stack_bytes");
  meta.spill_bytes = integer(object, "spill_bytes");
  meta.compile_ms = object.at("compile_ms").get<double>();
  if (!is_cache_key(meta.key.source_sha256)) refuse("metadata: source_sha256 is not a digest");
  if (object.at("key").get<std::string>() != cache_key(meta.key)) {
    refuse("metadata: the key is not that of its fields");
  }
  return meta;
}

}  // namespace

void to_json(json& object, const CubinMeta& meta) {
  object = {{"key", cache_key(meta.key)},
            {"schema", meta.key.schema},
            {"source_sha256", meta.key.source_sha256},
            {"options", meta.key.options},
            {"arch", meta.key.arch},
            {"entry", meta.key.entry},
            {"nvrtc", meta.key.nvrtc},
            {"shape", meta.problem},
            {"config", meta.config},
            {"sms", meta.sms},
            {"threads", meta.threads},
            {"cluster", meta.cluster},
            {"shared_bytes", meta.shared_bytes},
            {"registers", meta.registers},
            {"stack_bytes", meta.stack_bytes},
            {"spill_bytes", meta.spill_bytes},
            {"compile_ms", meta.compile_ms}};
}

void from_json(const json& object, CubinMeta& meta) {
  try {
    meta = meta_from(object);
  } catch (const json::exception& error) {
    refuse(fmt::format("metadata: {}", error.what()));
  }
}

std::string encode_entry(const CacheEntry& entry) {
  std::string file(kMagic);
  try {
    const std::string meta = json(entry.meta).dump();
    append_little_endian(file, kFormatVersion, 4);
    append_little_endian(file, meta.size(), 4);
    append_little_endian(file, entry.cubin.size(), 8);
    file += meta;
    file += entry.cubin;
    for (const std::uint8_t byte : sha256(file)) file += static_cast<char>(byte);
    if (decode_entry(file) == entry) return file;
  } catch (const json::exception& error) {
    throw Error(ErrorCode::invalid_argument, fmt::format("metadata: {}", error.what()));
  } catch (const Error& error) {
    throw Error(ErrorCode::invalid_argument, error.what());
  }
  throw Error(ErrorCode::invalid_argument, "metadata does not survive being written as JSON");
}

namespace {

// Where the parts of a file are; all of them are in it.
struct Parts {
  std::string_view meta, cubin, sealed, digest;
};

Parts parts_of(std::string_view file) {
  if (file.size() < kHeaderBytes + kDigestBytes) refuse("shorter than its header");
  if (file.substr(0, kMagic.size()) != kMagic) refuse("not a cubin cache entry: wrong magic");
  const std::uint64_t version = little_endian(file, 8, 4);
  if (version != kFormatVersion) {
    refuse(fmt::format("format version {}, not {}", version, kFormatVersion));
  }
  const std::uint64_t meta_bytes = little_endian(file, 12, 4);
  const std::uint64_t cubin_bytes = little_endian(file, 16, 8);
  if (meta_bytes > kMaxMetaBytes) refuse("metadata beyond its limit");
  if (cubin_bytes > kMaxCubinBytes) refuse("cubin beyond its limit");
  if (cubin_bytes == 0) refuse("the cubin is empty");
  const std::size_t sealed = kHeaderBytes + meta_bytes + cubin_bytes;
  if (file.size() != sealed + kDigestBytes) {
    refuse(fmt::format("{} bytes, not the {} of its header", file.size(), sealed + kDigestBytes));
  }
  return {file.substr(kHeaderBytes, meta_bytes),
          file.substr(kHeaderBytes + meta_bytes, cubin_bytes), file.substr(0, sealed),
          file.substr(sealed)};
}

CubinMeta parsed(std::string_view text) {
  const json meta = json::parse(text, nullptr, false);
  if (meta.is_discarded()) refuse("the metadata is not JSON");
  return meta.get<CubinMeta>();
}

}  // namespace

CubinMeta decode_meta(std::string_view file) { return parsed(parts_of(file).meta); }

CacheEntry decode_entry(std::string_view file) {
  const Parts parts = parts_of(file);
  const Sha256Digest digest = sha256(parts.sealed);
  const std::string_view wanted(reinterpret_cast<const char*>(digest.data()), digest.size());
  if (parts.digest != wanted) refuse("the checksum does not match");
  CacheEntry entry{parsed(parts.meta), std::string(parts.cubin)};
  if (const auto why = why_not_cubin_for(entry.cubin, entry.meta.key.arch)) refuse(*why);
  return entry;
}

}  // namespace marlin
