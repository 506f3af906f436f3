// The seeds of the fuzz targets, and seeded mutations of them.
// Entry point: the tests of suite Fuzz.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include "runtime/choose/tuning_record.h"
#include "tests/fuzz/parser_inputs.h"

namespace marlin::test {
namespace {

struct FuzzCase {
  const char* name;  // of the folder with its seeds
  void (*check)(std::string_view);
  int mutations;

  friend std::ostream& operator<<(std::ostream& out, const FuzzCase& c) { return out << c.name; }
};

std::vector<std::string> corpus(const std::string& name) {
  std::vector<std::string> seeds;
  for (const auto& file : std::filesystem::directory_iterator(MARLIN_FUZZ_CORPUS "/" + name)) {
    std::ifstream in(file.path(), std::ios::binary);
    seeds.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  std::sort(seeds.begin(), seeds.end());
  return seeds;
}

class Fuzz : public testing::TestWithParam<FuzzCase> {};

TEST_P(Fuzz, SeedsHoldWhatTheyMust) {
  ASSERT_FALSE(corpus(GetParam().name).empty());
  for (const std::string& seed : corpus(GetParam().name)) {
    EXPECT_NO_THROW(GetParam().check(seed)) << seed;
  }
}

TEST_P(Fuzz, MutatedSeedsHoldWhatTheyMust) {
  constexpr unsigned kSeed = 5;
  std::mt19937 random(kSeed);
  const auto upto = [&](std::size_t limit) { return random() % limit; };
  const std::vector<std::string> seeds = corpus(GetParam().name);
  constexpr std::string_view kBytes = "0123456789-.e\"\\{}[],:\n\0";
  for (int i = 0; i < GetParam().mutations; ++i) {
    std::string text = seeds[upto(seeds.size())];
    for (std::size_t edits = 1 + upto(4); edits > 0; --edits) {
      const std::size_t at = upto(text.size() + 1);
      const std::string& other = seeds[upto(seeds.size())];
      switch (upto(4)) {
        case 0: text.insert(at, 1, kBytes[upto(kBytes.size())]); break;
        case 1: text.erase(at, upto(20)); break;
        case 2:
          text.insert(at, other, upto(std::min<std::size_t>(other.size(), 300)), upto(100));
          break;
        default: text.replace(at, 1, 1, static_cast<char>(upto(256)));
      }
    }
    ASSERT_NO_THROW(GetParam().check(text)) << text;
  }
}

INSTANTIATE_TEST_SUITE_P(All, Fuzz,
                         testing::Values(FuzzCase{"tuning", check_tuning_input, 4000},
                                         FuzzCase{"entry", check_entry_input, 4000},
                                         FuzzCase{"archive", check_archive_input, 2000},
                                         FuzzCase{"index", check_index_input, 1000},
                                         FuzzCase{"shapes", check_shapes_input, 4000},
                                         FuzzCase{"text", check_text_input, 10000},
                                         FuzzCase{"elf", check_elf_input, 4000}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(TuningSeeds, HoldRecords) {
  ASSERT_GE(corpus("tuning").size(), 7U);
  for (const std::string& seed : corpus("tuning")) {
    const ParsedLine parsed = parse_line(std::string_view(seed).substr(0, seed.find('\n')));
    EXPECT_TRUE(parsed.record) << parsed.problem << "\n" << seed;
  }
}

}  // namespace
}  // namespace marlin::test
