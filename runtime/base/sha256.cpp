// Bytes -> their SHA-256 digest, by libcrypto.
// Entry points: sha256, sha256_hex.
#include "runtime/base/sha256.h"

#include <openssl/evp.h>

#include <stdexcept>

namespace marlin {

Sha256Digest sha256(std::string_view bytes) {
  Sha256Digest digest;
  unsigned int size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1 ||
      size != digest.size()) {
    throw std::runtime_error("libcrypto could not compute a SHA-256 digest");
  }
  return digest;
}

std::string sha256_hex(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(2 * Sha256Digest{}.size());
  for (const std::uint8_t byte : sha256(bytes)) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

}  // namespace marlin
