// KernelFamily: what one way of writing the kernel brings. Legality, cost, search and databases go
// through the table of families and know none of them by name.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "codegen/config.h"
#include "codegen/cost.h"

namespace marlin {

struct KernelFamily {
  Family id;
  std::string_view name;  // as databases call it: "stripe"
  // Raised with every change of its kernels or of the meaning of its configs that makes earlier
  // timings worthless; a tuning record of another schema is not used.
  int schema;
  // The legal configs worth considering, in a fixed order; valid shapes and targets only.
  std::vector<Config> (*configs)(const Shape&, const Target&);
  // The rule against a config; valid shapes and targets only.
  std::optional<std::string> (*why_illegal)(const Shape&, const Target&, const Config&);
  // As the functions of these names in plan.h and source.h.
  Plan (*lay_out)(const Shape&, const Target&, const Config&);
  std::string (*emit_source)(const Plan&);
  // What its kernel costs on this board, alone or (true) in a chain of dependent launches.
  Cost (*cost)(const Plan&, const Board&, bool chained);
};

// In the order of Family's enumerators.
const std::vector<KernelFamily>& families();

const KernelFamily& info(Family family);

// The family of this name, or null.
const KernelFamily* find_family(std::string_view name);

// "stripe/1": names and schemas of all families, comma separated, as a tuning record says what was
// searched.
std::string searched_families();

}  // namespace marlin
