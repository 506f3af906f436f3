// NamedShape: a product to measure or tune, with the layer it comes from.
#pragma once

#include <string>

#include "codegen/problem/problem.h"

namespace marlin {

// One product to work on, and its layer ("8B.qkv"; empty when the shape came without a name).
// shape.m is as asked: the kernel that serves it is kernel_shape(shape).
struct NamedProblem {
  std::string layer;
  Problem problem;
};

}  // namespace marlin
