// NamedShape: a product to measure or tune, with the layer it comes from.
#pragma once

#include <string>

#include "codegen/problem/shape.h"

namespace marlin {

// One product to work on, and its layer ("8B.qkv"; empty when the shape came without a name).
// shape.m is as asked: the kernel that serves it is kernel_shape(shape).
struct NamedShape {
  std::string layer;
  Shape shape;
};

}  // namespace marlin
