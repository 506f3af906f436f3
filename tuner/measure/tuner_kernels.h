// The CUDA text of tuner/kernels/, embedded in the tuner alone, as the build generates it.
#pragma once

#include <cstddef>

#include "templates/table.h"

namespace marlin::embedded {

extern const Entry kTunerKernels[];  // in ascending order of name, e.g. "fill.cu"
extern const std::size_t kTunerKernelsSize;

}  // namespace marlin::embedded
