// SHA-256 (FIPS 180-4), by libcrypto.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace marlin {

using Sha256Digest = std::array<std::uint8_t, 32>;

// Throws std::runtime_error when libcrypto has no SHA-256 to give.
Sha256Digest sha256(std::string_view bytes);

// The digest as 64 lower-case hexadecimal digits.
std::string sha256_hex(std::string_view bytes);

}  // namespace marlin
