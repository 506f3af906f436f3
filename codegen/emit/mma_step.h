// One k16 step of the families with mma.sync: two steps alternate between two buffers of fragments.
// Which stage is read is in the expressions for the addresses of its packed weights, activations
// and scales.
#pragma once

#include <string_view>

#include "codegen/emit/text.h"
#include "codegen/plan/plan.h"

namespace marlin {

struct MmaStep {
  const Plan& plan;
  const WarpTile& warp;
  const PackedUnit& packed;
  const ActivationRows& activations;

  void declare_registers(Text& text) const;
  void load(Text& text, int step, std::string_view packed_at, std::string_view rows_at) const;
  void load_scales(Text& text, std::string_view scales) const;
  // Where scales go on accumulators, the first step of those that share a scale starts their sums.
  void multiply(Text& text, int step) const;
  void add_group(Text& text) const;
};

// That of a family's own plan.
template <class Own>
MmaStep mma_step(const Plan& plan, const Own& own) {
  return {plan, own.warp, own.packed, own.activations};
}

}  // namespace marlin
