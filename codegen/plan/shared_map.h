// SharedMap: what lies where in a block's shared memory, for the kernel to name and to show.
#pragma once

#include <string>
#include <vector>

namespace marlin {

// So many areas of `each` bytes from `offset` on.
struct SharedRegion {
  const char* name;  // of the kernel's constant: "kPacked"
  int offset = 0;
  int count = 0;
  int each = 0;
  std::string what;
};

using SharedMap = std::vector<SharedRegion>;

}  // namespace marlin
