// Operand: what the pointers of a launch point to, by name.
#pragma once

namespace marlin {

enum class Operand {
  a,          // activations
  b,          // packed weights
  scales,     // of the weights
  c,          // output
  workspace,  // counters and partial sums
};

}  // namespace marlin
