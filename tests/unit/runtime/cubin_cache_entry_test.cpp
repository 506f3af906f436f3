// Damage of any kind is a miss and is mended by the next build (promise 2), and a cubin for another
// architecture is refused (promise 10).
#include <cmath>
#include <nlohmann/json.hpp>

#include "codegen/base/error.h"
#include "runtime/cache/cubin_elf.h"
#include "runtime/compile/nvrtc.h"
#include "tests/unit/runtime/cubin_cache_fixture.h"

namespace marlin::test {
namespace {

using nlohmann::json;

class CubinEntryFile : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(cache_.store(entry_));
    path_ = cache_.path_of(key_of(entry_));
    file_ = read_file(path_);
    ASSERT_EQ(file_, encode_entry(entry_));
  }

  // The damaged bytes are a miss with a reason.
  void expect_refused(const std::string& damaged, const std::string& what) {
    write_file(path_, damaged);
    std::string why;
    EXPECT_FALSE(cache_.load(key_of(entry_), &why)) << what;
    EXPECT_NE(why, "") << what;
  }

  ScratchDir scratch_;
  CubinCache cache_{scratch_ / "cache"};
  CacheEntry entry_ = make_entry(1);
  std::string path_, file_;
};

TEST_F(CubinEntryFile, RoundTrip) {
  std::string why = "unset";
  EXPECT_EQ(cache_.load(key_of(entry_), &why), entry_);
  EXPECT_EQ(why, "");
  EXPECT_FALSE(cache_.load(key_of(make_entry(2)), &why));
  EXPECT_EQ(why, "");
}

TEST_F(CubinEntryFile, TruncatedAtEveryByte) {
  for (std::size_t size = 0; size < file_.size(); ++size) {
    expect_refused(file_.substr(0, size), "truncated to " + std::to_string(size));
  }
}

TEST_F(CubinEntryFile, EveryBitFlipped) {
  for (std::size_t bit = 0; bit < 8 * file_.size(); ++bit) {
    std::string damaged = file_;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ 1 << bit % 8);
    expect_refused(damaged, "bit " + std::to_string(bit));
  }
}

TEST_F(CubinEntryFile, TrailingBytes) {
  expect_refused(file_ + '\0', "one byte more");
  expect_refused(file_ + file_, "two entries");
}

TEST_F(CubinEntryFile, ZeroesOfItsLength) {
  expect_refused(std::string(file_.size(), '\0'), "a hole");
}

TEST_F(CubinEntryFile, SwappedEntriesAreBothMisses) {
  const CacheEntry other = make_entry(2);
  ASSERT_TRUE(cache_.store(other));
  write_file(cache_.path_of(key_of(other)), file_);
  write_file(path_, encode_entry(other));
  std::string why;
  EXPECT_FALSE(cache_.load(key_of(entry_), &why));
  EXPECT_NE(why.find("another key"), std::string::npos) << why;
  EXPECT_FALSE(cache_.load(key_of(other)));
  EXPECT_EQ(damaged_in(cache_.dir()).size(), 2U);
}

TEST_F(CubinEntryFile, DamageIsMendedByTheNextBuild) {
  for (const std::string& damaged : {std::string(), file_.substr(0, 100), file_ + "x"}) {
    write_file(path_, damaged);
    int builds = 0;
    const auto build = [&] {
      ++builds;
      return entry_;
    };
    EXPECT_FALSE(load_or_build(cache_, key_of(entry_), build).from_cache);
    EXPECT_TRUE(load_or_build(cache_, key_of(entry_), build).from_cache);
    EXPECT_EQ(builds, 1);
    EXPECT_EQ(read_file(path_), file_);
  }
}

TEST_F(CubinEntryFile, LengthsAreCappedBeforeAnythingIsAllocated) {
  for (const std::size_t offset : {12U, 16U}) {  // of metadata, of the cubin
    std::string damaged = file_;
    for (std::size_t i = 0; i < 4; ++i) damaged[offset + i] = '\xff';
    expect_refused(damaged, "length at " + std::to_string(offset));
  }
  fs::resize_file(path_, kMaxEntryBytes + 1);
  std::string why;
  EXPECT_FALSE(cache_.load(key_of(entry_), &why));
  EXPECT_NE(why.find("over"), std::string::npos) << why;
}

// A file with these metadata and a right checksum: what only its author can have made wrong.
std::string sealed(const std::string& meta, const std::string& cubin) {
  std::string file = "MARLINCB";
  const auto append = [&](std::uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) file += static_cast<char>(value >> 8 * i);
  };
  append(1, 4);
  append(meta.size(), 4);
  append(cubin.size(), 8);
  file += meta + cubin;
  for (const std::uint8_t byte : sha256(file)) file += static_cast<char>(byte);
  return file;
}

TEST_F(CubinEntryFile, MetadataMustBeWhatWeWrite) {
  const json good = entry_.meta;
  EXPECT_EQ(decode_entry(sealed(good.dump(), entry_.cubin)), entry_);
  for (const auto& [name, value] : good.items()) {
    json without = good;
    without.erase(name);
    EXPECT_THROW(decode_entry(sealed(without.dump(), entry_.cubin)), Error) << name;
    for (const json& odd : {json(nullptr), json(true), json::array({1}), json::object()}) {
      json wrong = good;
      wrong[name] = odd;
      EXPECT_THROW(decode_entry(sealed(wrong.dump(), entry_.cubin)), Error) << name << odd;
    }
    if (!value.is_number_integer()) continue;
    for (const char* odd : {"-1", "2147483648", "18446744073709551615", "1.0", "1e3"}) {
      json wrong = good;
      wrong[name] = json::parse(odd);
      EXPECT_THROW(decode_entry(sealed(wrong.dump(), entry_.cubin)), Error) << name << odd;
    }
  }
}

TEST_F(CubinEntryFile, HostileMetadata) {
  const std::string deep(200000, '[');
  for (const std::string& meta :
       {std::string(), std::string("null"), std::string("{"), std::string("{}x"), deep,
        std::string(100000, '{'), std::string("{\"key\":1e999}"), std::string("{}\0", 3),
        std::string("\xff\xfe")}) {
    EXPECT_THROW(decode_entry(sealed(meta, entry_.cubin)), Error) << meta.substr(0, 20);
  }
}

TEST_F(CubinEntryFile, MetadataThatDisagreesWithTheKey) {
  json meta = entry_.meta;
  meta["arch"] = "sm_80";
  EXPECT_THROW(decode_entry(sealed(meta.dump(), entry_.cubin)), Error);
}

TEST(EncodeEntry, RefusesWhatCouldNotBeRead) {
  const auto expect_refused = [](auto change) {
    const ScratchDir scratch;
    CacheEntry entry = make_entry(1);
    change(entry);
    EXPECT_THROW(encode_entry(entry), Error);
    CubinCache cache(scratch / "cache");
    std::string why;
    EXPECT_FALSE(cache.store(entry, &why));
    EXPECT_NE(why, "");
    EXPECT_TRUE(cache.list().empty());
  };
  expect_refused([](CacheEntry& e) { e.cubin.clear(); });
  expect_refused([](CacheEntry& e) { e.cubin = "not ELF"; });
  expect_refused([](CacheEntry& e) { e.cubin.resize(kMaxCubinBytes + 1); });
  expect_refused([](CacheEntry& e) { e.meta.problem = "\xff"; });
  expect_refused([](CacheEntry& e) { e.meta.compile_ms = std::nan(""); });
  expect_refused([](CacheEntry& e) { e.meta.threads = -1; });
  expect_refused([](CacheEntry& e) { e.meta.config.assign(kMaxMetaBytes, 'x'); });
  expect_refused([](CacheEntry& e) { e.meta.key.source_sha256 = "short"; });
}

TEST(CubinArch, AnotherArchitectureUnderTheKeyIsRefused) {
  const ScratchDir scratch;
  CubinCache cache(scratch / "cache");
  const CacheEntry good = make_entry(1);
  ASSERT_TRUE(cache.store(good));
  CacheEntry wrong = good;
  wrong.cubin = stand_in_cubin(80, 64, 1);
  std::string why;
  EXPECT_FALSE(cache.store(wrong, &why));
  EXPECT_NE(why.find("sm_80"), std::string::npos) << why;
  write_file(cache.path_of(key_of(good)), sealed(json(wrong.meta).dump(), wrong.cubin));
  EXPECT_FALSE(cache.load(key_of(good), &why));
  EXPECT_NE(why.find("the cubin is for sm_80, not sm_90a"), std::string::npos) << why;
}

TEST(CubinArch, EveryOtherMachineNumberIsRefused) {
  for (int machine = 0; machine < 256; ++machine) {
    EXPECT_EQ(why_not_cubin_for(stand_in_cubin(machine, 0, 1), "sm_90a").has_value(),
              machine != 90);
    EXPECT_EQ(why_not_cubin_for(stand_in_cubin(machine, 0, 1), "sm_100").has_value(),
              machine != 100);
    EXPECT_EQ(why_not_cubin_for(stand_in_cubin(machine, 0, 1), "sm_120").has_value(),
              machine != 120);
  }
}

TEST(CubinArch, Cuda12KeepsTheNumberInTheLowestByte) {
  std::string cubin = stand_in_cubin(0, 0, 1);
  auto* header = reinterpret_cast<Elf64_Ehdr*>(cubin.data());
  header->e_ident[EI_OSABI] = 0x33;
  header->e_flags = 0x00560556;
  EXPECT_EQ(why_not_cubin_for(cubin, "sm_86"), std::nullopt);
  EXPECT_NE(why_not_cubin_for(cubin, "sm_80"), std::nullopt);
  EXPECT_NE(why_not_cubin_for(cubin, "sm_5"), std::nullopt);
  header->e_flags = 0x005a0d5a;  // as for sm_90a; 0x005a055a for sm_90
  EXPECT_EQ(why_not_cubin_for(cubin, "sm_90a"), std::nullopt);
  EXPECT_NE(why_not_cubin_for(cubin, "sm_90"), std::nullopt);
  header->e_flags = 0x005a055a;
  EXPECT_EQ(why_not_cubin_for(cubin, "sm_90"), std::nullopt);
  EXPECT_NE(why_not_cubin_for(cubin, "sm_90a"), std::nullopt);
}

TEST(CubinArch, OtherFilesAndNames) {
  const std::string cubin = stand_in_cubin(90, 0, 1);
  for (const char* arch :
       {"", "sm_", "90", "sm_90ab", "compute_90", "sm_9999999999999", "sm_-90"}) {
    EXPECT_NE(why_not_cubin_for(cubin, arch), std::nullopt) << arch;
  }
  const auto expect_refused = [&](std::size_t offset, char value) {
    std::string other = cubin;
    other[offset] = value;
    EXPECT_NE(why_not_cubin_for(other, "sm_90a"), std::nullopt) << offset;
  };
  expect_refused(0, 'E');
  expect_refused(EI_CLASS, ELFCLASS32);
  expect_refused(EI_DATA, ELFDATA2MSB);
  expect_refused(EI_OSABI, 0);
  expect_refused(offsetof(Elf64_Ehdr, e_machine), EM_X86_64);
  EXPECT_NE(why_not_cubin_for("", "sm_90a"), std::nullopt);
  EXPECT_NE(why_not_cubin_for(cubin.substr(0, sizeof(Elf64_Ehdr) - 1), "sm_90a"), std::nullopt);
}

class RealCubin : public ::testing::TestWithParam<const char*> {
 protected:
  std::string compile(const std::string& arch) {
    return nvrtc_compile({.source = "extern \"C\" __global__ void k(int* a) { *a = 1; }",
                          .name = "k.cu",
                          .arch = arch,
                          .options = {}})
        .cubin;
  }
};

TEST_P(RealCubin, IsForItsOwnArchitectureAlone) {
  std::string cubin;
  try {
    cubin = compile(GetParam());
  } catch (const Error& error) {
    if (error.code() != ErrorCode::no_nvrtc) throw;
    GTEST_SKIP() << "needs NVRTC: " << error.what();
  }
  for (const char* arch :
       {"sm_80", "sm_86", "sm_87", "sm_89", "sm_90", "sm_90a", "sm_100", "sm_120"}) {
    EXPECT_EQ(why_not_cubin_for(cubin, arch).has_value(), std::string(arch) != GetParam()) << arch;
  }
  for (std::size_t size = 0; size < cubin.size(); size += 7) {  // it must not read beyond the end
    why_not_cubin_for(std::string(cubin, 0, size), GetParam());
  }
}

INSTANTIATE_TEST_SUITE_P(CubinArch, RealCubin,
                         ::testing::Values("sm_80", "sm_86", "sm_87", "sm_89", "sm_90", "sm_90a",
                                           "sm_100", "sm_120"));

}  // namespace
}  // namespace marlin::test
