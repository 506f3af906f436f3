// Family -> what it brings; legality and the list of configs over all families.
// Entry points: families, why_illegal, legal_configs.
#include "codegen/family.h"

#include <fmt/format.h>

#include "codegen/decode_family.h"
#include "codegen/stripe_family.h"
#include "codegen/wgmma_family.h"

namespace marlin {

const std::vector<KernelFamily>& families() {
  static const std::vector<KernelFamily> all = {
      {Family::stripe, "stripe", 1, stripe_configs, stripe_rule, stripe_plan, stripe_source,
       stripe_cost},
      {Family::decode, "decode", 1, decode_configs, decode_rule, decode_plan, decode_source,
       decode_cost},
      {Family::wgmma, "wgmma", 1, wgmma_configs, wgmma_rule, wgmma_plan, wgmma_source, wgmma_cost},
  };
  return all;
}

const KernelFamily& info(Family family) { return families()[static_cast<std::size_t>(family)]; }

const KernelFamily* find_family(std::string_view name) {
  for (const KernelFamily& family : families()) {
    if (family.name == name) return &family;
  }
  return nullptr;
}

std::string searched_families() {
  std::string text;
  for (const KernelFamily& family : families()) {
    text += fmt::format("{}{}/{}", text.empty() ? "" : ",", family.name, family.schema);
  }
  return text;
}

std::optional<std::string> why_illegal(const Shape& shape, const Target& target,
                                       const Config& config) {
  if (auto rule = broken_rule(shape)) return rule;
  require_valid(target);
  return info(config.family).why_illegal(shape, target, config);
}

std::vector<Config> legal_configs(const Shape& shape, const Target& target) {
  require_valid(shape);
  require_valid(target);
  std::vector<Config> configs;
  for (const KernelFamily& family : families()) {
    const std::vector<Config> more = family.configs(shape, target);
    configs.insert(configs.end(), more.begin(), more.end());
  }
  return configs;
}

}  // namespace marlin
