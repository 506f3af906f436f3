// Plan of the decode family -> what its kernel costs. Entry point: decode_cost.
#include <algorithm>
#include <cmath>

#include "codegen/decode_family.h"

namespace marlin {

Cost decode_cost(const Plan& plan, const Board& board) {
  (void)board;
  return {.compute = 0, .memory = double(plan.threads), .fixed = 0};
}

}  // namespace marlin
