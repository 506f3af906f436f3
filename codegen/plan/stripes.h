// The partition of output tiles over thread blocks: who computes which k tiles of which tile, and
// which tiles end up with more than one contributor.
#pragma once

#include <cstdint>
#include <vector>

namespace marlin {

// What one block does of one tile. Tiles are numbered tile = n_tile * m_tiles + m_tile.
struct Segment {
  int tile = 0;
  int k_begin = 0;  // in k tiles
  int k_tiles = 0;
  int contributors = 1;  // blocks that work on this tile
  int rank = 0;          // of this block among them, in k order
  int counter =
      -1;  // number of this tile among those with several contributors, -1 for a single contributor
  int slot = -1;  // where this tile's partial sums begin in the workspace, in partial tiles

  friend bool operator==(const Segment&, const Segment&) = default;
};

// The published Marlin partition ("stripes"): all tiles laid end to end along K, cut into `blocks`
// runs whose lengths differ by at most one k tile. Element b lists block b's segments in order; a
// block can only share the first and the last of them. blocks must be <= tiles * k_tiles.
// Source: Frantar et al., "MARLIN: Mixed-Precision Auto-Regressive Parallel Inference on Large
// Language Models", 2024, section 3.4.
std::vector<std::vector<Segment>> cut_stripes(int tiles, int k_tiles, int blocks);

// What the workspace must hold for that partition: counted from the cuts alone, without the
// segments.
struct SharedTiles {
  std::int64_t counters = 0;  // tiles with several contributors
  std::int64_t slots = 0;     // partial tiles over all of them
};
SharedTiles count_shared(int tiles, int k_tiles, int blocks);

}  // namespace marlin
