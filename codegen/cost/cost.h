// Cost: an estimate of a kernel's time, good enough to rank configs and to choose without any
// measurement.
#pragma once

namespace marlin {

// Clocks of the SM that has most to do.
struct Cost {
  double compute = 0;  // issue slots, tensor cores, shared memory
  double memory = 0;   // weights and scales
  double fixed = 0;    // launch, reductions, what nothing hides
  // Part of the lesser of compute and memory that the greater does not hide.
  double overlap_loss = 0;

  double clocks() const;
};

}  // namespace marlin
