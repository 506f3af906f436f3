// The table of embedded CUDA text that the build generates from the files of this folder.
#pragma once

#include <cstddef>

namespace marlin::embedded {

struct Entry {
  const char* name;  // path below templates/, e.g. "device/mma.cuh"
  const unsigned char* bytes;
  std::size_t size;
};

extern const Entry kTable[];  // in ascending order of name
extern const std::size_t kTableSize;

}  // namespace marlin::embedded
