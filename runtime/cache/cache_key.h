// CacheKeyFields: everything a cubin is made from, and the name it has in a cache because of it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace marlin {

// No driver version, no paths and no time stamps: a cache can be moved or shipped.
struct CacheKeyFields {
  int schema = 0;                    // kKernelSchema
  std::string source_sha256;         // sha256_hex() of the emitted source
  std::vector<std::string> options;  // NVRTC's options in the order they are given
  std::string arch;                  // "sm_90a", with its suffix
  std::string entry;                 // the kernel's extern "C" name
  std::string nvrtc;                 // nvrtc_identity(): version and build

  friend bool operator==(const CacheKeyFields&, const CacheKeyFields&) = default;
};

// SHA-256 over the fields, each with its label and length before it, as 64 hexadecimal digits.
std::string cache_key(const CacheKeyFields& fields);

// Whether the text has the form of a key: 64 lower-case hexadecimal digits.
bool is_cache_key(std::string_view text);

}  // namespace marlin
