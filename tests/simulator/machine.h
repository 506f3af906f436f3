// Runs the text of an emitted kernel on the CPU. All threads of a block, or of a warpgroup where
// these part, go through a statement together; what real threads may do in another order is caught
// by the record of who knows of whose accesses (memory.h), not by trying orders.
//
// The device primitives (templates/device/) are modelled here from the PTX manual and from what
// their comments promise; everything else, every address and every loop bound, is read from the
// text.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "codegen/plan/plan.h"
#include "tests/simulator/memory.h"
#include "tests/simulator/syntax.h"

namespace marlin::simulator {

struct LaunchShape {
  int grid_x = 1, grid_y = 1, grid_z = 1;
  int threads = 32;
  int shared_bytes = 0;
  int cluster = 1;               // blocks, along x
  int group_warps = 1;           // warps that meet at barriers of their own: so many in a row
  bool warpgroups_part = false;  // each goes its own way
  bool all_at_once = false;      // blocks wait for others outside their cluster
  // Whether the kernel may start before the one before it is done: it touches neither tokens nor
  // output before it has waited for that one.
  bool dependent = false;
};

// A matrix in memory and the box of it that one tensor copy moves.
struct TensorMap {
  Buffer* matrix = nullptr;
  TensorBox box;
  std::int64_t rows = 0;
};

struct Arguments {
  Buffer* a = nullptr;
  Buffer* b = nullptr;
  Buffer* scales = nullptr;
  Buffer* c = nullptr;
  Buffer* workspace = nullptr;
  int m = 0;
  std::map<std::string, TensorMap> maps;  // by the names of the parameters
};

// Warp-wide accesses of shared memory by the primitive that makes them.
using BankCounts = std::map<std::string, BankCount>;

// Runs the blocks in an order drawn from the seed (0: ascending), those of a cluster together when
// its first one comes. Throws std::runtime_error with the line of the source on anything a kernel
// must not do: a race or a stray access, a divergent barrier, a deadlock, an integer overflow,
// something the model does not know.
BankCounts run(const Kernel& kernel, const LaunchShape& launch, const Arguments& arguments,
               unsigned order_seed);

}  // namespace marlin::simulator
