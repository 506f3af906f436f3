// A cubin's ELF header and ptxas note -> whether it is for a given architecture.
// Entry point: why_not_cubin_for.
#include "runtime/cache/cubin_elf.h"

#include <elf.h>
#include <fmt/format.h>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace marlin {
namespace {

// The ABIs of CUDA 12 (and before) and 13, and where each keeps the machine number in e_flags, as
// found in cubins that NVRTC 12.6 and 13.0 made for sm_75 to sm_121.
constexpr int kOsAbiCuda12 = 0x33;
constexpr int kOsAbiCuda13 = 0x41;
constexpr Elf64_Word kCuda12ArchSpecific = 0x800;  // set for sm_90a, not for sm_90

// A T at an offset, or nothing when it does not lie wholly inside the bytes.
template <typename T>
std::optional<T> read_at(std::string_view bytes, std::uint64_t offset) {
  if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

std::string_view slice(std::string_view bytes, std::uint64_t offset, std::uint64_t size) {
  if (offset > bytes.size() || bytes.size() - offset < size) return {};
  return bytes.substr(offset, size);
}

// The contents of the named section, empty when there is none or the table is out of bounds.
std::string_view section(std::string_view cubin, const Elf64_Ehdr& header, std::string_view name) {
  if (header.e_shentsize != sizeof(Elf64_Shdr)) return {};
  const auto at = [&](std::uint64_t index) {
    return read_at<Elf64_Shdr>(cubin, header.e_shoff + index * sizeof(Elf64_Shdr));
  };
  const auto names_header = at(header.e_shstrndx);
  if (!names_header) return {};
  const std::string_view names = slice(cubin, names_header->sh_offset, names_header->sh_size);
  for (int i = 0; i < header.e_shnum; ++i) {
    const auto candidate = at(i);
    if (!candidate) return {};
    if (candidate->sh_name >= names.size()) continue;
    const std::string_view rest = names.substr(candidate->sh_name);
    if (rest.substr(0, rest.find('\0')) != name) continue;
    return slice(cubin, candidate->sh_offset, candidate->sh_size);
  }
  return {};
}

// "sm_90a" out of ptxas's "-arch sm_90a"; empty where the cubin holds no such note.
std::string_view noted_arch(std::string_view cubin, const Elf64_Ehdr& header) {
  constexpr std::string_view kOption = "-arch ";
  std::string_view note = section(cubin, header, ".note.nv.tkinfo");
  const std::size_t found = note.find(kOption);
  if (found == std::string_view::npos) return {};
  note.remove_prefix(found + kOption.size());
  return note.substr(0, note.find_first_of(std::string_view(" \0", 2)));
}

std::optional<int> machine_number(const Elf64_Ehdr& header) {
  switch (header.e_ident[EI_OSABI]) {
    case kOsAbiCuda12: return header.e_flags & 0xff;
    case kOsAbiCuda13: return header.e_flags >> 8 & 0xff;
    default: return std::nullopt;
  }
}

// 90 out of "sm_90a"; nothing when the text is no architecture's name.
std::optional<int> number_in(std::string_view arch) {
  if (arch.substr(0, 3) != "sm_") return std::nullopt;
  int number = 0;
  const char* end = arch.data() + arch.size();
  const auto [rest, error] = std::from_chars(arch.data() + 3, end, number);
  if (error != std::errc() || end - rest > 1) return std::nullopt;
  return number;
}

}  // namespace

std::optional<std::string> why_not_cubin_for(std::string_view cubin, std::string_view arch) {
  const auto wanted = number_in(arch);
  if (!wanted) return fmt::format("\"{}\" is not an architecture such as sm_90a", arch);
  const auto header = read_at<Elf64_Ehdr>(cubin, 0);
  if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
      header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_ident[EI_DATA] != ELFDATA2LSB) {
    return "the cubin is not a 64-bit little-endian ELF file";
  }
  if (header->e_machine != EM_CUDA) {
    return fmt::format("the cubin is for ELF machine {}, not CUDA ({})", header->e_machine,
                       EM_CUDA);
  }
  const auto number = machine_number(*header);
  if (!number) {
    return fmt::format("the cubin has the unknown ABI {:#x}", header->e_ident[EI_OSABI]);
  }
  if (*number != *wanted) return fmt::format("the cubin is for sm_{}, not {}", *number, arch);
  if (header->e_ident[EI_OSABI] == kOsAbiCuda12 &&
      ((header->e_flags & kCuda12ArchSpecific) != 0) != (arch.back() == 'a')) {
    return fmt::format("the cubin is for another variant of sm_{} than {}", *number, arch);
  }
  const std::string_view noted = noted_arch(cubin, *header);
  if (!noted.empty() && noted != arch) {
    return fmt::format("the cubin is for {}, not {}", noted, arch);
  }
  return std::nullopt;
}

}  // namespace marlin
