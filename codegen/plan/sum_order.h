// SumOrder: the order in which a kernel adds up the products of one output over K.
#pragma once

#include <string>

#include "codegen/plan/config.h"

namespace marlin {

// Two kernels of one weight matrix whose orders are equal give a row of A the same bits of C,
// whatever other rows there are: the same instruction adds sixteen products of K at a time to the
// same running sum, and the partial sums of warps and blocks are cut and added alike. The height
// and the width of tiles, stages, commit groups and sets of sums play no part in it.
struct SumOrder {
  Family family = Family::wgmma;  // the instruction: wgmma, or mma.sync with its own k order
  ScaleOn scale_on = ScaleOn::weights;
  int scaled_k = 0;  // K of a sum that is scaled and added on; 0: none, or the whole K at once
  int warps_k = 1;   // warps of a block that have a part of each stage's K, added in their order
  int warp_k = 0;    // and how much each; 0: one warp has all
  int splits = 1;    // blocks that have a part of K each, added in their order
  int split_k = 0;   // K of the shorter parts
  int longer = 0;    // parts that have warp_k more than these, the first ones

  friend bool operator==(const SumOrder&, const SumOrder&) = default;
};

// "wgmma accumulators of 128, 2 parts of 2048", for messages.
std::string to_string(const SumOrder& order);

}  // namespace marlin
