// Random legal (shape, target, config) cases, far beyond the configs that legal_configs proposes.
#pragma once

#include <cstdint>
#include <ostream>
#include <random>
#include <vector>

#include "codegen/generator.h"
#include "codegen/plan/config.h"

namespace marlin {

struct LegalCase {
  Shape shape;
  Target target;
  Config config;

  friend std::ostream& operator<<(std::ostream& out, const LegalCase& c) {
    return out << to_string(c.shape) << " | " << to_string(c.target) << " | "
               << to_string(c.config);
  }
};

struct CaseLimits {
  std::int64_t m = 300, n64 = 64, k64 = 64;  // the largest m, n / 64 and k / 64
  int sms = 144;
};

class RandomCases {
 public:
  explicit RandomCases(unsigned seed, CaseLimits limits = {}) : random_(seed), limits_(limits) {}

  Shape shape() {
    Shape shape;
    shape.m = upto(2) == 1 ? upto(limits_.m) : upto(std::min<std::int64_t>(limits_.m, 64));
    shape.n = 64 * upto(limits_.n64);
    shape.k = 64 * upto(limits_.k64);
    shape.group = shape.k % 128 == 0 && upto(3) > 1 ? 128
                  : upto(2) == 1                    ? -1
                                                    : 32 * static_cast<int>(upto(2));
    shape.exact_m = upto(2) == 1;
    return shape;
  }

  Target target() {
    const auto& archs = known_archs();
    const auto arch = static_cast<std::size_t>(upto(static_cast<int>(archs.size())) - 1);
    return {std::string(archs[arch].name), static_cast<int>(upto(limits_.sms))};
  }

  // Any config of the stripe family whose fields make sense one by one.
  Config config(const Shape& shape) {
    Config config;
    config.tile_m = static_cast<int>(8 * upto(std::min<std::int64_t>(8, (shape.m + 7) / 8)));
    config.tile_n = 64 << (upto(3) - 1);
    config.warps_n = 1 << (upto(3) - 1);
    config.warps_k = 1 << (upto(5) - 1);
    config.warp_k = 32 << (upto(3) - 1);
    config.stages = static_cast<int>(1 + upto(5));
    config.scale_on = upto(2) == 1 ? ScaleOn::weights : ScaleOn::accumulators;
    config.partition.kind = static_cast<Partition::Kind>(upto(3) - 1);
    config.partition.count = static_cast<int>(
        config.partition.kind == Partition::Kind::stripes ? upto(limits_.sms) : upto(8));
    config.blocks_per_sm = static_cast<int>(upto(2));
    return config;
  }

  // The same of the decode family.
  Config decode_config(const Shape& shape) {
    Config config;
    config.options = DecodeOptions{};
    config.tile_m = static_cast<int>((shape.m + 7) / 8 * 8);
    config.warps_n = 1 << (upto(3) - 1);
    config.tile_n = config.warps_n << (5 + upto(2));
    config.warps_k = 1 << (upto(5) - 1);
    config.warp_k = 32 << upto(2);
    config.stages = static_cast<int>(1 + upto(4));
    config.scale_on = ScaleOn::accumulators;
    config.partition = {Partition::Kind::cluster, static_cast<int>(upto(6))};
    config.blocks_per_sm = static_cast<int>(upto(2));
    config.decode().early_weights = upto(2) == 1;
    return config;
  }

  // The same of the wgmma family.
  Config wgmma_config(const Shape& shape) {
    Config config;
    config.options = WgmmaOptions{};
    config.tile_m = static_cast<int>(8 * upto(std::min<std::int64_t>(32, (shape.m + 7) / 8)));
    config.warps_n = 4 << (upto(3) - 1);
    config.warps_k = 1;
    config.tile_n = 64 << (upto(3) - 1);
    config.warp_k = 32 << upto(2);
    config.stages = static_cast<int>(1 + upto(7));
    config.scale_on = upto(2) == 1 ? ScaleOn::weights : ScaleOn::accumulators;
    const Partition::Kind kinds[] = {Partition::Kind::split, Partition::Kind::stripes,
                                     Partition::Kind::cluster};
    config.partition.kind = kinds[upto(3) - 1];
    config.partition.count =
        static_cast<int>(config.partition.kind == Partition::Kind::stripes   ? upto(limits_.sms)
                         : config.partition.kind == Partition::Kind::cluster ? upto(8)
                                                                             : 1);
    config.blocks_per_sm = static_cast<int>(upto(2));
    config.wgmma().burst = 1 << (upto(3) - 1);
    config.wgmma().raster = static_cast<int>(upto(4));
    config.wgmma().multicast = upto(4) == 1 ? 2 : 1;
    return config;
  }

  // The next legal case of a family, after as many tries as it takes.
  LegalCase next(Family family = Family::stripe) {
    for (;;) {
      LegalCase c;
      c.shape = shape();
      c.target = target();
      c.config = family == Family::decode  ? decode_config(c.shape)
                 : family == Family::wgmma ? wgmma_config(c.shape)
                                           : config(c.shape);
      if (!why_illegal(c.shape, c.target, c.config)) return c;
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

 private:
  std::mt19937_64 random_;
  CaseLimits limits_;
};

}  // namespace marlin
