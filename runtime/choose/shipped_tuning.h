// The table of embedded tuning data that the build generates from data/.
#pragma once

#include "templates/table.h"

namespace marlin::embedded {

extern const Entry kTuning[];  // in ascending order of name, each file ending in a newline
extern const std::size_t kTuningSize;

}  // namespace marlin::embedded
