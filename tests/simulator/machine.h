// Runs the text of an emitted kernel on the CPU, block after block. All threads of a block go
// through a statement together; what real threads may do in another order is caught by the record
// of shared memory (memory.h), not by trying orders.
//
// The device primitives (templates/device/) are modelled here from the PTX manual and from what
// their comments promise; everything else, every address and every loop bound, is read from the
// text.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/simulator/memory.h"
#include "tests/simulator/syntax.h"

namespace marlin::simulator {

struct LaunchShape {
  int grid_x = 1, grid_y = 1, grid_z = 1;
  int threads = 32;
  int shared_bytes = 0;
  int cluster = 1;      // blocks, along x
  int group_warps = 1;  // warps that meet at barriers of their own: so many in a row
  // Whether the kernel may start before the one before it is done: it touches neither tokens nor
  // output before it has waited for that one.
  bool dependent = false;
};

struct Arguments {
  Buffer* a = nullptr;
  Buffer* b = nullptr;
  Buffer* scales = nullptr;
  Buffer* c = nullptr;
  Buffer* workspace = nullptr;
  int m = 0;
};

// Warp-wide accesses of shared memory by the primitive that makes them.
using BankCounts = std::map<std::string, BankCount>;

// Runs the blocks in this order (numbers x + grid_x * (y + grid_y * z)), those of a cluster
// together when its first one comes. Throws std::runtime_error with the line of the source on
// anything a kernel must not do: a race or a stray access, a divergent barrier, an integer
// overflow, something the model does not know.
BankCounts run(const Kernel& kernel, const LaunchShape& launch, const Arguments& arguments,
               const std::vector<int>& block_order);

}  // namespace marlin::simulator
