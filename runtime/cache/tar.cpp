// Named bytes <-> a ustar archive of plain files.
// Entry points: TarWriter, TarReader.
#include "runtime/cache/tar.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "codegen/base/error.h"

namespace marlin {
namespace {

constexpr std::size_t kBlock = 512;

struct Header {
  std::array<char, 100> name;
  std::array<char, 8> mode, uid, gid;
  std::array<char, 12> size, mtime;
  std::array<char, 8> checksum;
  char type;
  std::array<char, 100> link;
  std::array<char, 8> magic;  // "ustar", NUL, "00"
  std::array<char, 32> user, group;
  std::array<char, 8> major, minor;
  std::array<char, 155> prefix;
  std::array<char, 12> unused;
};
static_assert(sizeof(Header) == kBlock);

constexpr std::string_view kMagic(
    "ustar\0"
    "00",
    8);

template <std::size_t N>
void put_octal(std::array<char, N>& field, std::uint64_t value) {
  const std::string digits = fmt::format("{:0{}o}", value, N - 1);
  std::memcpy(field.data(), digits.data(), N - 1);
}

template <std::size_t N>
std::string_view text_in(const std::array<char, N>& field) {
  const std::string_view all(field.data(), N);
  return all.substr(0, all.find('\0'));
}

// Nothing when the field holds other than octal digits, with the blanks that writers add.
template <std::size_t N>
std::optional<std::uint64_t> octal_in(const std::array<char, N>& field) {
  std::string_view digits = text_in(field);
  digits = digits.substr(0, digits.find_last_not_of(' ') + 1);
  if (digits.empty()) return std::nullopt;
  std::uint64_t value = 0;
  for (const char digit : digits) {
    if (digit < '0' || digit > '7') return std::nullopt;
    value = value * 8 + static_cast<std::uint64_t>(digit - '0');
  }
  return value;
}

// Of all bytes of the header, with its own field taken as blanks.
std::uint64_t checksum_of(Header header) {
  header.checksum.fill(' ');
  std::array<unsigned char, kBlock> bytes;
  std::memcpy(bytes.data(), &header, kBlock);
  std::uint64_t sum = 0;
  for (const unsigned char byte : bytes) sum += byte;
  return sum;
}

std::size_t padding_of(std::uint64_t bytes) { return (kBlock - bytes % kBlock) % kBlock; }

bool all_zero(std::string_view bytes) {
  return bytes.find_first_not_of('\0') == std::string_view::npos;
}

}  // namespace

void TarWriter::add(std::string_view name, std::string_view bytes) {
  Header header = {};
  if (name.size() > header.name.size()) {
    throw Error(ErrorCode::io,
                fmt::format("{}: the name has over {} bytes", name, header.name.size()));
  }
  std::memcpy(header.name.data(), name.data(), name.size());
  put_octal(header.mode, 0644);
  put_octal(header.uid, 0);
  put_octal(header.gid, 0);
  put_octal(header.size, bytes.size());
  put_octal(header.mtime, 0);
  header.type = '0';
  std::memcpy(header.magic.data(), kMagic.data(), kMagic.size());
  put_octal(header.checksum, checksum_of(header));
  file_.write({reinterpret_cast<const char*>(&header), kBlock});
  file_.write(bytes);
  file_.write(std::string(padding_of(bytes.size()), '\0'));
}

void TarWriter::finish() {
  file_.write(std::string(2 * kBlock, '\0'));
  file_.commit();
}

TarReader::TarReader(const std::string& path, std::size_t max_member_bytes)
    : path_(path),
      max_member_bytes_(max_member_bytes),
      fd_(open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)) {
  struct stat info;
  if (!fd_.valid() || fstat(fd_.get(), &info) != 0) {
    throw Error(ErrorCode::io, fmt::format("{}: {}", path, std::generic_category().message(errno)));
  }
  if (!S_ISREG(info.st_mode)) throw Error(ErrorCode::io, path + ": is not a plain file");
  size_ = static_cast<std::uint64_t>(info.st_size);
}

std::string TarReader::read(std::size_t bytes) {
  if (size_ - offset_ < bytes) {
    throw Error(ErrorCode::invalid_argument, path_ + ": the archive ends in the middle");
  }
  std::string text(bytes, '\0');
  std::size_t filled = 0;
  while (filled < bytes) {
    const ssize_t got = pread(fd_.get(), text.data() + filled, bytes - filled,
                              static_cast<off_t>(offset_ + filled));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) throw Error(ErrorCode::io, path_ + ": cannot be read");
    filled += static_cast<std::size_t>(got);
  }
  offset_ += bytes;
  return text;
}

std::optional<TarMember> TarReader::next() {
  const std::string block = read(kBlock);
  if (all_zero(block)) {
    require_end();
    return std::nullopt;
  }
  Header header;
  std::memcpy(&header, block.data(), kBlock);
  const auto refuse = [&](std::string_view why) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("{}: member \"{}\" {}", path_, text_in(header.name), why));
  };
  if (octal_in(header.checksum) != checksum_of(header)) refuse("has a damaged header");
  if (text_in(header.magic) != "ustar") refuse("is not of a ustar archive");
  if (header.type != '0' && header.type != '\0') refuse("is not a plain file");
  if (!text_in(header.prefix).empty()) refuse("has a name of over 100 bytes");
  const auto size = octal_in(header.size);
  if (!size) refuse("has no size");
  if (*size > max_member_bytes_) refuse(fmt::format("has over {} bytes", max_member_bytes_));
  TarMember member{std::string(text_in(header.name)), read(*size)};
  if (!all_zero(read(padding_of(*size)))) refuse("is followed by stray bytes");
  return member;
}

void TarReader::require_end() {
  if (size_ - offset_ < kBlock) {
    throw Error(ErrorCode::invalid_argument, path_ + ": the archive ends in the middle");
  }
  while (offset_ < size_) {
    const auto bytes = std::min<std::uint64_t>(size_ - offset_, std::uint64_t{1} << 16);
    if (!all_zero(read(bytes))) {
      throw Error(ErrorCode::invalid_argument, path_ + ": stray bytes after the archive's end");
    }
  }
}

}  // namespace marlin
