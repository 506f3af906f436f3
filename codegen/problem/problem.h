// Problem: what a kernel is asked for, and the rules every problem must keep.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "epilogue.h"
#include "grouping.h"
#include "scheme.h"
#include "shape.h"

namespace marlin {

// C[m, n] = epilogue(A[m, k] * dequantised(B)[k, n]): A and C are row-major.
struct Problem {
  Shape shape;
  Scheme scheme = {};
  Epilogue epilogue = Epilogue::identity;
  Grouping grouping = Grouping::dense;
  // A row of C gets the same bits for every m and whatever the other rows are: all kernels of this
  // weight matrix and target add up K in one order (generator.h, invariant_order()).
  bool batch_invariant = false;

  friend bool operator==(const Problem&, const Problem&) = default;
};

// The rule a problem breaks ("n = 4100 is not a multiple of 64"), or nothing when it keeps them
// all.
std::optional<std::string> broken_rule(const Problem& problem);

// Throws Error{invalid_shape} with the broken rule.
void require_valid(const Problem& problem);

// Whether one scale serves the whole k of a column. Then the Marlin format stores scales in another
// order than for several groups.
bool one_group(const Problem& problem);

// The problem a kernel is written for: m goes up to its rung where the kernel is to serve fewer
// rows as well. An m out of range stays as it is, for broken_rule to refuse.
Problem kernel_problem(Problem problem);

// "16x28672x4096 g128", with " exact" where m is exact, the strides where they are not k and n, and
// " batch-invariant".
std::string to_string(const Problem& problem);

}  // namespace marlin
