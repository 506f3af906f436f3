// What the fibers of one block share, and the blocks of one cluster: memory, barriers.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "tests/simulator/memory.h"

namespace marlin::simulator {

// A barrier in shared memory: a phase ends with so many arrivals once all bytes announced have
// come.
struct CopyBarrier {
  int arrivals = 0, pending = 0;
  std::int64_t bytes = 0;  // still to come; negative before they are announced
  int phase = 0;
  int copies = 0;          // the agent that its copies are
  Clocks::Clock gathered;  // by those who have arrived, in the phase and those before
  Clocks::Clock released;  // to those who wait for the latest phase that has ended
};

// Fibers that have come to a barrier and those that have to.
struct Meeting {
  int fibers = 0, arrived = 0, generation = 0;
  Clocks::Clock gathered;

  // The generation that ends when all have arrived.
  int arrive() {
    const int mine = generation;
    if (++arrived == fibers) {
      arrived = 0;
      ++generation;
    }
    return mine;
  }
};

// What all blocks of a launch share.
struct Grid {
  int previous = 0;                             // the kernel before, as an agent
  std::map<std::int64_t, Clocks::Clock> flags;  // in global memory, by address
};

struct Block {
  Block(Clocks& clocks, std::uint32_t base, int bytes, int warps, Grid& of_grid)
      : shared(clocks, base, bytes, warps), grid(of_grid) {}

  SharedMemory shared;
  Grid& grid;
  int index[3] = {0, 0, 0};
  std::map<std::uint32_t, CopyBarrier> barriers;  // by address
  std::map<std::int64_t, int> groups_at;          // named barriers: the group that meets there
  Meeting whole;
  std::int64_t told = 0;  // by the warp that has made the barriers: threads that use them
  Meeting* cluster = nullptr;
  std::vector<Block*> peers;  // by their ranks, itself among them
  int running = 0;            // fibers
};

}  // namespace marlin::simulator
