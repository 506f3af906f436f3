// KernelFamily: what one way of writing the kernel brings. Legality, cost, search and databases go
// through the table of families and know none of them by name.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "codegen/cost/cost.h"
#include "codegen/cost/gpu_model.h"
#include "codegen/plan/plan.h"
#include "codegen/plan/sum_order.h"

namespace marlin {

struct KernelFamily {
  Family id;
  int schema;  // as generator.h says
  // The legal configs worth considering, in a fixed order; valid shapes and targets only. Of a
  // batch-invariant problem also some whose order of summation is not the one it has.
  std::vector<Config> (*configs)(const Problem&, const Target&);
  // The order in which a plan's kernel adds up K; nothing where it depends on the tile.
  std::optional<SumOrder> (*sum_order)(const Plan&);
  // The rule against a config; valid shapes and targets only.
  std::optional<std::string> (*why_illegal)(const Problem&, const Target&, const Config&);
  // The plan without asking whether the config is legal (tile sizes must divide the shape) and
  // without what only emitting needs, the entry's name and the stripes.
  Plan (*lay_out)(const Problem&, const Target&, const Config&);
  std::string (*emit_source)(const Plan&);  // as in generator.h
  // What its kernel costs on this gpu, alone or (true) in a chain of dependent launches.
  Cost (*cost)(const Plan&, const GpuModel&, bool chained);
};

// In the order of Family's enumerators.
const std::vector<KernelFamily>& families();

const KernelFamily& info(Family family);

}  // namespace marlin
