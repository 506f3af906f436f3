// The random cases that other tests draw: every value of every option that a family's rules allow
// comes up.
#include "tests/unit/codegen/legal_cases.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

namespace marlin {
namespace {

constexpr int kCases = 1000;

using Options = std::map<std::string, std::set<int>>;

Options options_in(const std::vector<LegalCase>& cases) {
  Options found;
  for (const LegalCase& c : cases) {
    EXPECT_EQ(why_illegal(c.problem, c.target, c.config), std::nullopt) << c;
    for (const auto& [name, value] : options_of(c)) found[name].insert(value);
  }
  return found;
}

// first, first + step, .. last
std::set<int> steps(int first, int last, int step = 1) {
  std::set<int> all;
  for (int i = first; i <= last; i += step) all.insert(i);
  return all;
}

Options stripe_options() {
  return {{"group", {-1, 32, 64, 128}}, {"exact_m", {0, 1}},     {"tile_m", steps(8, 64, 8)},
          {"tile_n", {64, 128, 256}},   {"warps_n", {1, 2, 4}},  {"warps_k", {1, 2, 4, 8, 16}},
          {"warp_k", {32, 64, 128}},    {"stages", steps(2, 8)}, {"scale_on", {0, 1}},
          {"split of one", {1}},        {"split", {2, 3, 4}},    {"span", {2, 3, 4}},
          {"stripes of one", {1}},      {"stripes", {2}},        {"blocks_per_sm", steps(1, 4)}};
}

Options decode_options() {
  return {{"group", {-1, 32, 64, 128}},    {"exact_m", {0, 1}},      {"tile_m", steps(8, 32, 8)},
          {"tile_n", {64, 128, 256, 512}}, {"warps_n", {1, 2, 4}},   {"warps_k", {1, 2, 4, 8, 16}},
          {"warp_k", {64, 128}},           {"stages", steps(2, 8)},  {"scale_on", {1}},
          {"cluster of one", {1}},         {"cluster", steps(2, 8)}, {"blocks_per_sm", steps(1, 8)},
          {"early_weights", {0, 1}}};
}

// One stripe would be whole waves.
Options wgmma_options() {
  return {{"group", {-1, 32, 64, 128}}, {"exact_m", {0, 1}},
          {"tile_m", steps(8, 256, 8)}, {"tile_n", {64, 128, 192, 256, 384, 512}},
          {"warps_n", {4, 8, 12, 16}},  {"warps_k", {1}},
          {"warp_k", {64, 128}},        {"stages", steps(2, 8)},
          {"scale_on", {0, 1}},         {"split of one", {1}},
          {"split", steps(2, 8)},       {"stripes", {2}},
          {"cluster", steps(2, 8)},     {"blocks_per_sm", steps(1, 4)},
          {"early_weights", {0, 1}},    {"burst", {1, 2, 4}},
          {"raster", {1, 2, 3, 4}},     {"multicast", {1, 2}},
          {"whole_stage", {0, 1}},      {"sum_sets", {1, 2}},
          {"late_packed", {0, 1}}};
}

TEST(RandomCases, OfTheStripeFamilyHaveAllOptions) {
  EXPECT_EQ(options_in(RandomCases(2024).take(kCases)), stripe_options());
}

TEST(RandomCases, OfTheDecodeFamilyHaveAllOptions) {
  EXPECT_EQ(options_in(RandomCases(2025, {32, 16, 80, 144}).take(kCases, Family::decode)),
            decode_options());
}

TEST(RandomCases, OfTheWgmmaFamilyHaveAllOptions) {
  EXPECT_EQ(options_in(RandomCases(7, {600, 40, 40, 132}).take(3 * kCases, Family::wgmma)),
            wgmma_options());
}

// What is small enough to be simulated leaves out no option either, nor one beside another kind of
// partition.
TEST(RandomCases, ThatCoverHaveTheOptionsOfAllTheyWereTakenFrom) {
  const CaseLimits limits = {100, 8, 16, 7};
  for (const Family family : {Family::stripe, Family::decode, Family::wgmma}) {
    const std::vector<LegalCase> all = RandomCases(1, limits).take(kCases, family);
    const std::vector<LegalCase> some = RandomCases(1, limits).covering(kCases, family);
    EXPECT_EQ(options_in(some), options_in(all));
    EXPECT_LT(some.size(), all.size() / 5);
    std::set<std::string> kinds;
    for (const LegalCase& c : some) kinds.insert(partition_of(c));
    EXPECT_EQ(kinds.size(), family == Family::decode ? 2U : family == Family::wgmma ? 4U : 5U);
  }
}

}  // namespace
}  // namespace marlin
