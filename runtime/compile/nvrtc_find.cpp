// Environment and loaded libraries -> the NVRTC files to try; an ELF file -> what names its build.
// Entry points: nvrtc_candidates, build_of.
#include "runtime/compile/nvrtc_find.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <link.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <string_view>

#include "codegen/base/error.h"
#include "runtime/base/sha256.h"
#include "runtime/base/unique_fd.h"
#include "runtime/compile/nvrtc.h"

namespace marlin {
namespace {

constexpr std::array kNames = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"};

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

bool is_file(const std::string& path) {
  struct stat info = {};
  return ::stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

// The path of a library that is in the process already.
std::optional<std::string> loaded_path(const char* name) {
  void* handle = dlopen(name, RTLD_LAZY | RTLD_NOLOAD);
  if (handle == nullptr) return std::nullopt;
  link_map* map = nullptr;
  std::optional<std::string> path;
  if (dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0 && map->l_name[0] == '/') path = map->l_name;
  dlclose(handle);  // gives back the reference that dlopen took
  return path;
}

void add_parts(std::vector<std::string>& folders, const std::string& list) {
  std::istringstream parts(list);
  for (std::string part; std::getline(parts, part, ':');) {
    if (!part.empty()) folders.push_back(part);
  }
}

std::vector<std::string> folders_to_search() {
  std::vector<std::string> folders;
  add_parts(folders, environment("LD_LIBRARY_PATH"));
  for (const char* home : {"CUDA_HOME", "CUDA_PATH"}) {
    if (const std::string root = environment(home); !root.empty())
      folders.push_back(root + "/lib64");
  }
  for (const char* runtime : {"libcudart.so.13", "libcudart.so.12"}) {
    if (const auto path = loaded_path(runtime)) {
      const std::string folder = path->substr(0, path->rfind('/'));
      folders.push_back(folder);
      // pip's CUDA 12 has a folder for each library: nvidia/cuda_runtime/lib,
      // nvidia/cuda_nvrtc/lib.
      folders.push_back(folder + "/../../cuda_nvrtc/lib");
    }
  }
  add_parts(folders,
            "/usr/local/cuda/lib64:/usr/lib/x86_64-linux-gnu:/usr/lib/aarch64-linux-gnu:"
            "/usr/lib64:/usr/lib:/usr/local/lib");
  return folders;
}

// Notes are {name size, descriptor size, type, name, descriptor}, each part padded to 4 bytes.
std::optional<std::string> build_id_in(std::string_view notes) {
  while (notes.size() >= sizeof(Elf64_Nhdr)) {
    Elf64_Nhdr header;
    std::memcpy(&header, notes.data(), sizeof header);
    const auto padded = [](std::uint64_t size) { return (size + 3) & ~std::uint64_t{3}; };
    const std::uint64_t name_at = sizeof header;
    const std::uint64_t desc_at = name_at + padded(header.n_namesz);
    const std::uint64_t desc_end = desc_at + header.n_descsz;
    if (desc_end > notes.size()) return std::nullopt;
    if (header.n_type == NT_GNU_BUILD_ID && header.n_descsz > 0 &&
        notes.substr(name_at, header.n_namesz) == std::string_view("GNU\0", 4)) {
      std::string digits;
      for (const char byte : notes.substr(desc_at, header.n_descsz)) {
        digits += fmt::format("{:02x}", static_cast<unsigned char>(byte));
      }
      return digits;
    }
    notes.remove_prefix(std::min<std::uint64_t>(padded(desc_end), notes.size()));
  }
  return std::nullopt;
}

bool read_at(int fd, std::uint64_t offset, void* to, std::size_t size) {
  return ::pread(fd, to, size, static_cast<off_t>(offset)) == static_cast<ssize_t>(size);
}

std::optional<std::string> build_id_of_file(int fd) {
  constexpr std::uint64_t kMaxNotes = 1 << 16;  // real ones are under 100 bytes
  Elf64_Ehdr elf;
  if (!read_at(fd, 0, &elf, sizeof elf) || std::memcmp(elf.e_ident, ELFMAG, SELFMAG) != 0 ||
      elf.e_ident[EI_CLASS] != ELFCLASS64) {
    return std::nullopt;
  }
  for (unsigned i = 0; i < elf.e_phnum; ++i) {
    Elf64_Phdr segment;
    if (!read_at(fd, elf.e_phoff + i * sizeof segment, &segment, sizeof segment)) break;
    if (segment.p_type != PT_NOTE || segment.p_filesz > kMaxNotes) continue;
    std::string notes(segment.p_filesz, '\0');
    if (!read_at(fd, segment.p_offset, notes.data(), notes.size())) continue;
    if (auto id = build_id_in(notes)) return id;
  }
  return std::nullopt;
}

}  // namespace

std::vector<std::string> nvrtc_candidates() {
  if (std::string named = environment("MARLIN_NVRTC"); !named.empty()) return {named};
  std::vector<std::string> candidates;
  for (const char* name : kNames) {
    if (auto path = loaded_path(name)) candidates.push_back(*path);
  }
  const std::vector<std::string> folders = folders_to_search();
  const auto add_from = [&](const std::string& folder, const char* name) {
    if (std::string path = folder + "/" + name; is_file(path)) candidates.push_back(path);
  };
  // A name without a version may be of any age, so it is tried after every versioned one.
  for (const std::string& folder : folders) {
    for (const char* name : {kNames[0], kNames[1]}) add_from(folder, name);
  }
  for (const std::string& folder : folders) add_from(folder, kNames[2]);
  candidates.insert(candidates.end(), kNames.begin(), kNames.end());
  return candidates;
}

std::string find_nvrtc() {
  const std::string first = nvrtc_candidates().front();
  const std::unique_ptr<char, decltype(&std::free)> resolved(::realpath(first.c_str(), nullptr),
                                                             &std::free);
  return resolved != nullptr && first.find('/') != first.npos ? resolved.get() : "";
}

std::string build_of(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) {
    throw Error(ErrorCode::io, fmt::format("{}: {}", path, std::strerror(errno)));
  }
  if (auto id = build_id_of_file(fd.get())) return *id;
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  if (!file || !bytes) throw Error(ErrorCode::io, fmt::format("{} cannot be read", path));
  return "sha256:" + sha256_hex(bytes.str());
}

}  // namespace marlin
