// Family -> what it brings. Entry points: families, info.
#include "codegen/families/family.h"

#include "codegen/families/decode/decode.h"
#include "codegen/families/stripe/stripe.h"
#include "codegen/families/wgmma/wgmma.h"

namespace marlin {

const std::vector<KernelFamily>& families() {
  static const std::vector<KernelFamily> all = {
      {Family::stripe, 1, stripe_configs, stripe_sum_order, stripe_rule, stripe_plan, stripe_source,
       stripe_cost},
      {Family::decode, 1, decode_configs, decode_sum_order, decode_rule, decode_plan, decode_source,
       decode_cost},
      {Family::wgmma, 1, wgmma_configs, wgmma_sum_order, wgmma_rule, wgmma_plan, wgmma_source,
       wgmma_cost},
  };
  return all;
}

const KernelFamily& info(Family family) { return families()[static_cast<std::size_t>(family)]; }

}  // namespace marlin
