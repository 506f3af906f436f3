// What the parts of a kernel cost -> what it costs. Entry point: Cost::clocks.
#include "codegen/cost/cost.h"

#include <algorithm>

namespace marlin {

double Cost::clocks() const {
  return std::max(compute, memory) + overlap_loss * std::min(compute, memory) + fixed;
}

}  // namespace marlin
