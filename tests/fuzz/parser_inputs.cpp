// Any bytes -> parsers, and whether they keep their promises. Entry points: check_entry_input and
// those beside it.
#include "tests/fuzz/parser_inputs.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <initializer_list>
#include <optional>
#include <stdexcept>
#include <string>

#include "codegen/base/error.h"
#include "codegen/generator.h"
#include "runtime/base/sha256.h"
#include "runtime/base/unique_fd.h"
#include "runtime/cache/cubin_cache.h"
#include "runtime/cache/cubin_elf.h"
#include "runtime/cache/cubin_entry.h"
#include "runtime/cache/tar.h"
#include "runtime/compile/nvrtc.h"
#include "runtime/compile/nvrtc_find.h"
#include "tests/fuzz/tuning_input.h"
#include "tuner/cli/cli_common.h"

namespace marlin::test {
namespace {

// The value, or nothing where the parser refused with one of these codes.
template <typename Parse>
auto parsed(std::initializer_list<ErrorCode> codes, std::string_view input, const Parse& parse)
    -> std::optional<decltype(parse())> {
  try {
    return parse();
  } catch (const Error& error) {
    const bool ours = std::find(codes.begin(), codes.end(), error.code()) != codes.end();
    require(ours && *error.what() != '\0', "an error of the kind that is documented", input);
  }
  return std::nullopt;
}

// A file in memory, for parsers that are given a path.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view bytes) : fd_(memfd_create("input", MFD_CLOEXEC)) {
    if (write(fd_.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) {
      throw std::runtime_error("no file in memory");
    }
  }
  std::string path() const { return fmt::format("/proc/self/fd/{}", fd_.get()); }

 private:
  UniqueFd fd_;
};

// The bytes with their last 32 the checksum of the rest, so that what is behind it is reached.
std::string with_checksum(std::string_view entry) {
  constexpr std::size_t kDigest = 32;
  if (entry.size() < kDigest) return std::string(entry);
  std::string result(entry.substr(0, entry.size() - kDigest));
  for (const std::uint8_t byte : sha256(result)) result += static_cast<char>(byte);
  return result;
}

void check_entry(std::string_view input) {
  const auto meta = parsed({ErrorCode::io}, input, [&] { return decode_meta(input); });
  const auto entry = parsed({ErrorCode::io}, input, [&] { return decode_entry(input); });
  if (!entry) return;
  require(meta && *meta == entry->meta, "the same metadata", input);
  require(decode_entry(encode_entry(*entry)) == *entry, "the same entry again", input);
}

// Header blocks with their checksums set right.
std::string with_header_checksums(std::string_view archive) {
  constexpr std::size_t kBlock = 512, kSum = 148, kSumBytes = 8, kMagic = 257;
  std::string result(archive);
  for (std::size_t at = 0; at + kBlock <= result.size(); at += kBlock) {
    if (result.compare(at + kMagic, 5, "ustar") != 0) continue;
    result.replace(at + kSum, kSumBytes, kSumBytes, ' ');
    unsigned sum = 0;
    for (std::size_t i = 0; i < kBlock; ++i) sum += static_cast<unsigned char>(result[at + i]);
    result.replace(at + kSum, kSumBytes, fmt::format("{:07o}", sum) + '\0');
  }
  return result;
}

void check_archive(std::string_view input) {
  constexpr std::size_t kMost = 1 << 20;
  const MemoryFile file(input);
  TarReader reader(file.path(), kMost);
  std::size_t bytes = 0;
  const auto next = [&] { return reader.next(); };
  while (const auto member = parsed({ErrorCode::invalid_argument}, input, next)) {
    if (!*member) break;
    bytes += (*member)->bytes.size();
    require(bytes <= input.size(), "no more bytes than there are", input);
    require((*member)->name.size() <= 100, "a name of at most 100 bytes", input);
    parsed({ErrorCode::io}, input, [&] { return decode_entry((*member)->bytes); });
  }
}

// A folder that one process uses again and again.
const std::string& folder() {
  static const std::string path = [] {
    std::string name = std::filesystem::temp_directory_path() / "marlin-fuzz-XXXXXX";
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no folder");
    std::filesystem::create_directory(name + "/v1");
    return name;
  }();
  return path;
}

void put(const char* name, std::string_view bytes) {
  CacheFolder::open(folder())->remove(name);
  const UniqueFd file(open((folder() + "/" + name).c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644));
  if (write(file.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) {
    throw std::runtime_error("no file");
  }
}

}  // namespace

// As it is, and with checksums that are right.
void check_tuning_input(std::string_view input) {
  const std::string text(input), with_sums = sealed(input);
  check_database(text);
  if (with_sums != text) check_database(with_sums);
}

void check_entry_input(std::string_view input) {
  check_entry(input);
  check_entry(with_checksum(input));
}

void check_archive_input(std::string_view input) {
  check_archive(input);
  check_archive(with_header_checksums(input));
}

void check_index_input(std::string_view input) {
  const CubinCache cache(folder(), true);
  for (const char* name : {"manifest.json", "built_with.json", "v1/nvrtc.json"}) put(name, input);
  std::string why;
  const auto manifest = cache.manifest(&why);
  require(manifest.has_value() == why.empty(), "a manifest or a reason", input);
  if (manifest) {
    for (const CubinMeta& meta : manifest->entries) {
      require(is_cache_key(cache_key(meta.key)), "entries with keys", input);
    }
  }
  const auto built_with = cache.built_with(&why);
  require(built_with.empty() || why.empty(), "identities or a reason", input);
  cache.recall_nvrtc("/lib/a", 1, 2);
  cache.list();
}

void check_shapes_input(std::string_view input) {
  const MemoryFile file(input);
  ShapeOptions options;
  options.sets = {file.path()};
  options.default_m = {1, 16};
  const auto problems = parsed({ErrorCode::invalid_argument, ErrorCode::invalid_shape}, input,
                               [&] { return options.resolve(); });
  if (!problems) return;
  require(!problems->empty(), "at least one shape", input);
  for (const NamedProblem& named : *problems) {
    require(!broken_rule(named.problem), "valid shapes", input);
  }
}

void check_text_input(std::string_view input) {
  const auto config =
      parsed({ErrorCode::invalid_config}, input, [&] { return parse_config(input); });
  if (config) require(parse_config(to_string(*config)) == *config, "the same config again", input);
  const auto scheme =
      parsed({ErrorCode::invalid_scheme}, input, [&] { return parse_scheme(input); });
  if (scheme) require(to_string(*scheme) == input, "the same scheme again", input);
  const auto arch = parsed({ErrorCode::invalid_target}, input, [&] { return arch_named(input); });
  if (arch) require_valid(Target{*arch, 1});
  parsed({ErrorCode::invalid_argument}, input, [&] { return parse_byte_count(input); });
  version_number(input);
}

void check_elf_input(std::string_view input) {
  for (const char* arch : {"sm_80", "sm_90", "sm_90a"}) {
    const auto why = why_not_cubin_for(input, arch);
    require(!why || !why->empty(), "a reason where it is refused", input);
  }
  const MemoryFile file(input);
  const auto build = parsed({ErrorCode::io}, input, [&] { return build_of(file.path()); });
  if (build) require(!build->empty(), "something that names the build", input);
}

}  // namespace marlin::test
