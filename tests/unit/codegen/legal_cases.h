// Random legal (shape, target, config) cases, far beyond the configs that legal_configs proposes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <ostream>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "codegen/generator.h"
#include "codegen/plan/config.h"

namespace marlin {

struct LegalCase {
  Problem problem;
  Target target;
  Config config;

  friend std::ostream& operator<<(std::ostream& out, const LegalCase& c) {
    return out << to_string(c.problem) << " | " << to_string(c.target) << " | "
               << to_string(c.config);
  }
};

// How the work is cut: the kinds of partition, a count of 1 apart from several.
inline std::string partition_of(const LegalCase& c) {
  const auto [kind, count] = c.config.partition;
  const char* names[] = {"split", "span", "stripes", "cluster"};
  return names[static_cast<int>(kind)] + std::string(count == 1 ? " of one" : "");
}

// What a case chooses, by name. Counts without a bound of their own count up to "many".
class ChosenOptions {
 public:
  explicit ChosenOptions(const LegalCase& c) {
    const auto& [problem, target, config] = c;
    values_ = {{"group", problem.scheme.group}, {"exact_m", problem.shape.exact_m}};
    const auto [kind, count] = config.partition;
    const bool bounded = kind == Partition::Kind::cluster || config.family() == Family::wgmma;
    most_count_ = kind == Partition::Kind::stripes ? 2 : bounded ? 8 : kMany;
    count_name_ = partition_of(c);
    visit_config(config, *this);
  }
  std::map<std::string, int> take() { return std::move(values_); }

  // As visit_config asks of a visitor.
  template <class Options>
  void family(const Options&) {}
  void number(const std::string& name, const char*, int value, bool = false) {
    if (name == "count") {
      values_[count_name_] = std::min(value, most_count_);
    } else {
      values_[name] = value;
    }
  }
  template <class Enum, class Names>
  void choice(const std::string& name, Enum value, const Names&) {
    if (name != "partition") values_[name] = static_cast<int>(value);
  }
  void flag(const char* name, const char*, bool value) { values_[name] = value; }
  void count(const std::string& name, const char*, int value) {
    values_[name] = name == "raster" ? std::min(value, kMany) : value;
  }

 private:
  static constexpr int kMany = 4;
  std::map<std::string, int> values_;
  std::string count_name_;
  int most_count_ = 0;
};

inline std::map<std::string, int> options_of(const LegalCase& c) { return ChosenOptions(c).take(); }

struct CaseLimits {
  std::int64_t m = 300, n64 = 64, k64 = 64;  // the largest m, n / 64 and k / 64
  int sms = 144;
};

class RandomCases {
 public:
  explicit RandomCases(unsigned seed, CaseLimits limits = {}) : random_(seed), limits_(limits) {}

  Problem problem() {
    Problem problem;
    problem.shape.m = upto(2) == 1 ? upto(limits_.m) : upto(std::min<std::int64_t>(limits_.m, 64));
    problem.shape.n = 64 * upto(limits_.n64);
    problem.shape.k = 64 * upto(limits_.k64);
    problem.scheme.group = problem.shape.k % 128 == 0 && upto(3) > 1 ? 128
                           : upto(2) == 1                            ? -1
                                          : 32 * static_cast<int>(upto(2));
    problem.shape.exact_m = upto(2) == 1;
    return problem;
  }

  Target target() {
    const auto& archs = known_archs();
    const auto arch = static_cast<std::size_t>(upto(static_cast<int>(archs.size())) - 1);
    return {std::string(archs[arch].name), static_cast<int>(upto(limits_.sms))};
  }

  // Any config of the stripe family whose fields make sense one by one.
  Config config(const Problem& problem) {
    Config config;
    config.tile_m =
        static_cast<int>(8 * upto(std::min<std::int64_t>(8, (problem.shape.m + 7) / 8)));
    config.tile_n = 64 << (upto(3) - 1);
    config.warps_n = 1 << (upto(3) - 1);
    config.warps_k = 1 << (upto(5) - 1);
    config.warp_k = 32 << (upto(3) - 1);
    config.stages = static_cast<int>(1 + upto(7));
    config.scale_on = upto(2) == 1 ? ScaleOn::weights : ScaleOn::accumulators;
    config.blocks_per_sm = blocks(4);
    config.partition.kind = static_cast<Partition::Kind>(upto(3) - 1);
    config.partition.count = static_cast<int>(config.partition.kind == Partition::Kind::stripes
                                                  ? upto(limits_.sms * config.blocks_per_sm)
                                                  : upto(16));
    return config;
  }

  // The same of the decode family.
  Config decode_config(const Problem& problem) {
    Config config;
    config.options = DecodeOptions{};
    config.tile_m = static_cast<int>((problem.shape.m + 7) / 8 * 8);
    config.warps_n = 1 << (upto(3) - 1);
    config.tile_n = config.warps_n << (5 + upto(2));
    config.warps_k = 1 << (upto(5) - 1);
    config.warp_k = 32 << upto(2);
    config.stages = static_cast<int>(1 + upto(7));
    config.scale_on = ScaleOn::accumulators;
    config.partition = {Partition::Kind::cluster, static_cast<int>(upto(8))};
    config.blocks_per_sm = blocks(8);
    config.decode().early_weights = upto(2) == 1;
    return config;
  }

  // The same of the wgmma family.
  Config wgmma_config(const Problem& problem) {
    Config config;
    config.options = WgmmaOptions{};
    config.tile_m =
        static_cast<int>(8 * upto(std::min<std::int64_t>(32, (problem.shape.m + 7) / 8)));
    config.warps_n = static_cast<int>(4 * upto(4));
    config.warps_k = 1;
    config.tile_n = config.warps_n << (3 + upto(3));
    config.warp_k = 32 << upto(2);
    config.stages = static_cast<int>(1 + upto(7));
    config.scale_on = upto(2) == 1 ? ScaleOn::weights : ScaleOn::accumulators;
    config.blocks_per_sm = blocks(4);
    config.partition = wgmma_partition(config.blocks_per_sm);
    config.wgmma().early_weights = upto(2) == 1;
    config.wgmma().k_steps_per_commit = 1 << (upto(3) - 1);
    config.wgmma().raster = upto(2) == 1 ? 1 : static_cast<int>(upto(4));
    config.wgmma().multicast = upto(3) == 1 ? 2 : 1;
    config.wgmma().whole_stage = upto(3) == 1;
    if (config.wgmma().whole_stage) config.wgmma().k_steps_per_commit = 1;
    config.wgmma().sum_sets = upto(3) == 1 ? 2 : 1;
    config.wgmma().late_packed = upto(3) == 1;
    return config;
  }

  // The next legal case of a family. Most of what is drawn is illegal, the more so where an option
  // seldom fits: the rest is drawn anew some times, so that a large tile or a deep cut gets its
  // share of the cases.
  LegalCase next(Family family = Family::stripe) {
    constexpr int kTries = 50;
    for (;;) {
      const LegalCase wish = draw(family);
      for (int i = 0; i < kTries; ++i) {
        LegalCase c = draw(family);
        c.problem.shape.m = wish.problem.shape.m;
        c.config.tile_m = wish.config.tile_m;
        c.config.tile_n = wish.config.tile_n;
        c.config.warps_n = wish.config.warps_n;
        c.config.warps_k = wish.config.warps_k;
        c.config.partition = wish.config.partition;
        if (!why_illegal(c.problem, c.target, c.config)) return c;
      }
    }
  }

  std::vector<LegalCase> take(int count, Family family = Family::stripe) {
    std::vector<LegalCase> cases;
    while (static_cast<int>(cases.size()) < count) cases.push_back(next(family));
    return cases;
  }

  // 1..limit
  std::int64_t upto(std::int64_t limit) {
    return 1 + static_cast<std::int64_t>(random_() % static_cast<std::uint64_t>(limit));
  }

  // Of `tries` legal cases of a family those that show an option, or an option together with a kind
  // of partition, that none before them shows: few cases for what takes long.
  std::vector<LegalCase> covering(int tries, Family family = Family::stripe) {
    std::vector<LegalCase> cases;
    std::set<std::string> shown;
    for (int i = 0; i < tries; ++i) {
      LegalCase c = next(family);
      bool shows_more = false;
      for (const auto& [name, value] : options_of(c)) {
        for (const std::string& beside : {std::string(), partition_of(c)}) {
          shows_more |= shown.insert(name + std::to_string(value) + beside).second;
        }
      }
      if (shows_more) cases.push_back(std::move(c));
    }
    return cases;
  }

 private:
  LegalCase draw(Family family) {
    LegalCase c;
    c.problem = problem();
    c.target = target();
    c.config = family == Family::decode  ? decode_config(c.problem)
               : family == Family::wgmma ? wgmma_config(c.problem)
                                         : config(c.problem);
    return c;
  }

  // More often 1 than not: few tiles leave room for many blocks.
  int blocks(int most) { return upto(2) == 1 ? 1 : static_cast<int>(upto(most)); }

  // Whole tiles, parts exchanged through L2, stripes, clusters.
  Partition wgmma_partition(int blocks_per_sm) {
    using Kind = Partition::Kind;
    switch (upto(4)) {
      case 1: return {Kind::split, 1};
      case 2: return {Kind::split, static_cast<int>(1 + upto(7))};
      case 3: return {Kind::stripes, static_cast<int>(upto(limits_.sms * blocks_per_sm))};
      default: return {Kind::cluster, static_cast<int>(1 + upto(7))};
    }
  }

  std::mt19937_64 random_;
  CaseLimits limits_;
};

}  // namespace marlin
