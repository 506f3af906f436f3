// The key covers every input of a compile and nothing else (promise 8), and the places a cache is
// looked for.
#include <cstdlib>
#include <optional>
#include <set>

#include "codegen/base/error.h"
#include "tests/unit/runtime/cubin_cache_fixture.h"

namespace marlin::test {
namespace {

TEST(Sha256, PublishedExamples) {  // FIPS 180-4's examples
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex(std::string(1000000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(CacheKey, EveryFieldCounts) {
  const CacheKeyFields base = make_entry(1).meta.key;
  std::set<std::string> keys{cache_key(base)};
  std::size_t variants = 1;
  const auto vary = [&](auto change) {
    CacheKeyFields fields = base;
    change(fields);
    keys.insert(cache_key(fields));
    EXPECT_EQ(keys.size(), ++variants);
  };
  vary([](auto& f) { f.schema = 2; });
  vary([](auto& f) { f.source_sha256 = sha256_hex("another source"); });
  vary([](auto& f) { f.arch = "sm_90"; });
  vary([](auto& f) { f.entry = "other"; });
  vary([](auto& f) { f.nvrtc = "13.0 0123abce"; });
  vary([](auto& f) { f.options.pop_back(); });
  vary([](auto& f) { f.options.emplace_back(); });
  vary([](auto& f) { std::swap(f.options[0], f.options[1]); });
  vary([](auto& f) { f.options = {f.options[0] + f.options[1]}; });
  vary([](auto& f) { f.options = {f.options[0] + "\noption 15:" + f.options[1]}; });
  vary([](auto& f) { std::swap(f.entry, f.nvrtc); });
  vary([](auto& f) {
    f.arch += "x";
    f.entry.erase(0, 1);
  });
}

TEST(CacheKey, IsTheHashOfTheLabelledFields) {
  const CacheKeyFields fields{.schema = 7,
                              .source_sha256 = std::string(64, 'a'),
                              .options = {"-x", ""},
                              .arch = "sm_80",
                              .entry = "k",
                              .nvrtc = "13.0"};
  EXPECT_EQ(cache_key(fields), sha256_hex("schema 1:7\nsource 64:" + std::string(64, 'a') +
                                          "\noptions 1:2\noption 2:-x\noption 0:\narch 5:sm_80\n"
                                          "entry 1:k\nnvrtc 4:13.0\n"));
}

TEST(CacheKey, FormOfAKey) {
  EXPECT_TRUE(is_cache_key(std::string(64, '0')));
  EXPECT_FALSE(is_cache_key(std::string(63, '0')));
  EXPECT_FALSE(is_cache_key(std::string(65, '0')));
  EXPECT_FALSE(is_cache_key(std::string(64, 'A')));
  EXPECT_FALSE(is_cache_key("../" + std::string(61, '0')));
}

TEST(CacheKey, AMovedCacheKeepsItsEntries) {
  const ScratchDir scratch;
  const CacheEntry entry = make_entry(1);
  ASSERT_TRUE(CubinCache(scratch / "here").store(entry));
  fs::rename(scratch / "here", scratch / "there");
  EXPECT_EQ(CubinCache(scratch / "there").load(key_of(entry)), entry);
  EXPECT_EQ(CubinCache(scratch / "there", true).load(key_of(entry)), entry);
}

// Sets an environment variable, nothing unsets it, and puts it back.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    set(value);
  }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;
  ~Variable() { set(old_ ? old_->c_str() : nullptr); }

 private:
  void set(const char* value) { value ? setenv(name_, value, 1) : unsetenv(name_); }
  const char* name_;
  std::optional<std::string> old_;
};

TEST(DefaultCacheDir, OwnVariableThenXdgThenHomeThenNone) {
  struct {
    const char *own, *xdg, *home, *expected;
  } const cases[] = {
      {"/own", "/xdg", "/home/u", "/own"},
      {"relative", "/xdg", "/home/u", "relative"},
      {"", "/xdg", "/home/u", ""},
      {nullptr, "/xdg", "/home/u", "/xdg/marlin"},
      {nullptr, "", "/home/u", "/home/u/.cache/marlin"},
      {nullptr, "relative", "/home/u", "/home/u/.cache/marlin"},
      {nullptr, nullptr, "/home/u", "/home/u/.cache/marlin"},
      {nullptr, nullptr, nullptr, ""},
      {nullptr, nullptr, "", ""},
      {nullptr, nullptr, "relative", ""},
  };
  for (const auto& c : cases) {
    const Variable own("MARLIN_CACHE_DIR", c.own), xdg("XDG_CACHE_HOME", c.xdg),
        home("HOME", c.home);
    EXPECT_EQ(default_cache_dir(), c.expected);
  }
}

TEST(CubinCache, RelativeFolderIsFixedWhenItIsNamed) {
  EXPECT_EQ(CubinCache("some/../cache/").dir(), (fs::current_path() / "cache").string());
  EXPECT_EQ(CubinCache("").dir(), "");
}

TEST(CacheCap, BytesWithAUnit) {
  EXPECT_EQ(parse_byte_count("0"), 0U);
  EXPECT_EQ(parse_byte_count("123"), 123U);
  EXPECT_EQ(parse_byte_count("2K"), 2048U);
  EXPECT_EQ(parse_byte_count("512M"), std::uint64_t{512} << 20);
  EXPECT_EQ(parse_byte_count("1G"), kDefaultCacheCap);
  for (const char* bad : {"", "G", "-1", "1 G", "1Gi", "1T", "1.5G", "99999999999999999999",
                          "18446744073709551615K"}) {
    EXPECT_THROW(parse_byte_count(bad), Error) << bad;
  }
  const Variable unset("MARLIN_CACHE_CAP", nullptr);
  EXPECT_EQ(cache_cap(), kDefaultCacheCap);
  const Variable set("MARLIN_CACHE_CAP", "3M");
  EXPECT_EQ(cache_cap(), std::uint64_t{3} << 20);
}

}  // namespace
}  // namespace marlin::test
