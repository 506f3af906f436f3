// The seeds of the fuzz target tuning_fuzz, and seeded mutations of them.
// Entry point: the tests of suite TuningFuzz.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

#include "tests/fuzz/tuning_input.h"

namespace marlin::test {
namespace {

std::vector<std::string> corpus() {
  std::vector<std::string> seeds;
  for (const auto& file : std::filesystem::directory_iterator(MARLIN_FUZZ_CORPUS)) {
    std::ifstream in(file.path(), std::ios::binary);
    seeds.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  std::sort(seeds.begin(), seeds.end());
  return seeds;
}

TEST(TuningFuzz, TheSeedsHoldRecords) {
  ASSERT_GE(corpus().size(), 7U);
  for (const std::string& seed : corpus()) {
    const ParsedLine parsed = parse_line(std::string_view(seed).substr(0, seed.find('\n')));
    EXPECT_TRUE(parsed.record) << parsed.problem << "\n" << seed;
    EXPECT_NO_THROW(check_tuning_input(seed));
  }
}

TEST(TuningFuzz, MutatedSeedsHoldWhatTheyMust) {
  constexpr unsigned kSeed = 5;
  std::mt19937 random(kSeed);
  const auto upto = [&](std::size_t limit) { return random() % limit; };
  const std::vector<std::string> seeds = corpus();
  constexpr std::string_view kBytes = "0123456789-.e\"\\{}[],:\n\0";
  for (int i = 0; i < 4000; ++i) {
    std::string text = seeds[upto(seeds.size())];
    for (std::size_t edits = 1 + upto(4); edits > 0; --edits) {
      const std::size_t at = upto(text.size() + 1);
      switch (upto(4)) {
        case 0: text.insert(at, 1, kBytes[upto(kBytes.size())]); break;
        case 1: text.erase(at, upto(20)); break;
        case 2: text.insert(at, seeds[upto(seeds.size())], upto(300), upto(100)); break;
        default: text.replace(at, 1, 1, static_cast<char>(upto(256)));
      }
    }
    ASSERT_NO_THROW(check_tuning_input(text)) << text;
  }
}

}  // namespace
}  // namespace marlin::test
