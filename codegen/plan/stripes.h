// The partition of output slices over thread blocks: who computes which k tiles of which slice, and
// which slices end up with more than one owner.
#pragma once

#include <cstdint>
#include <vector>

namespace marlin {

// What one block does of one slice. Slices are numbered slice = n_slice * m_tiles + m_tile.
struct Segment {
  int slice = 0;
  int k_begin = 0;  // in k tiles
  int k_tiles = 0;
  int owners = 1;    // blocks that work on this slice
  int rank = 0;      // of this block among them, in k order
  int counter = -1;  // number of this slice among those with several owners, -1 for a single owner
  int slot = -1;     // where this slice's partial sums begin in the workspace, in partial tiles

  friend bool operator==(const Segment&, const Segment&) = default;
};

// The published Marlin partition ("stripes"): all slices laid end to end along K, cut into `blocks`
// runs whose lengths differ by at most one k tile. Element b lists block b's segments in order; a
// block can only share the first and the last of them. blocks must be <= slices * k_tiles.
// Source: Frantar et al., "MARLIN: Mixed-Precision Auto-Regressive Parallel Inference on Large
// Language Models", 2024, section 3.4.
std::vector<std::vector<Segment>> cut_stripes(int slices, int k_tiles, int blocks);

// What the workspace must hold for that partition: counted from the cuts alone, without the
// segments.
struct SharedSlices {
  std::int64_t counters = 0;  // slices with several owners
  std::int64_t slots = 0;     // partial tiles over all of them
};
SharedSlices count_shared(int slices, int k_tiles, int blocks);

}  // namespace marlin
