// DecodePlan: what a kernel of the decode family has beside what all have.
#pragma once

#include "codegen/plan/parts.h"

namespace marlin {

struct DecodePlan {
  bool private_rings = false;  // no two warps read one another's copies: no block barrier per stage
  WarpTile warp;
  // The blocks of a cluster and the warps of each that share columns split K: split s takes the
  // units s, s + count, s + 2 count, ...
  KSplits splits;

  // From one unit of a split to its next, in global memory.
  struct UnitStep {
    std::int64_t packed = 0;
    int activations = 0;

    std::int64_t activations_at(int unit) const { return std::int64_t{unit} * activations; }

    template <class Self, class Visitor>
    static void visit(Self& self, Visitor&& visitor) {
      visitor("packed", self.packed);
      visitor("activations", self.activations);
    }
  } step;

  PackedUnit packed;           // at the beginning of a warp's stage
  ScaleUnit scales;            // after them: the offset is inside a warp's stage
  ActivationRows activations;  // the unit is that of the warps that share it
  ActivationCopies copies;

  // Shared memory: rings of activations, [warps_k][stage], and of packed weights with their scales,
  // [warp][stage]; what the warps of the cluster send, and the barrier that it comes by.
  struct SharedMap {
    int packed = 0;
    int packed_stage = 0;      // of one stage of a warp, scales included
    int packed_ring = 0;       // of one warp
    int activations_ring = 0;  // of the warps that share it
    int received = 0;          // sums [split][warps_n][own fragment][lane][4] as FP32
    int received_split = 0;    // from one split to the next
    int barrier = 0;           // of what the cluster sends to this block

    // Of a fragment among a warp's own; of the pair of sums that a thread adds up, of a split.
    int fragment_at(int reduced_fragment) const { return reduced_fragment * kFragmentBytes; }
    int pair_at(int split, int pair) const { return split * received_split + pair * kPairBytes; }

    template <class Self, class Visitor>
    static void visit(Self& self, Visitor&& visitor) {
      visitor("packed", self.packed);
      visitor("packed_stage", self.packed_stage);
      visitor("packed_ring", self.packed_ring);
      visitor("activations_ring", self.activations_ring);
      visitor("received", self.received);
      visitor("received_split", self.received_split);
      visitor("barrier", self.barrier);
    }
  } shared;

  // The reduce-scatter over a cluster: fragments of every warp column, in the order [64 columns][16
  // of them][8 rows].
  struct Reduction {
    int fragments = 0;              // of 16 columns x 8 rows that a warp sums
    int most = 0;                   // of them that one block adds up, or a warp of it
    int row_lanes = 0;              // of the four lanes that hold eight rows, those that hold any
    int fragment_bytes = 0;         // that a block receives for each of a warp's that it adds up
    int pairs = 0;                  // of sums that a block adds up at most
    std::vector<Reducer> reducers;  // by rank in the cluster

    // The rank that reduces a fragment.
    int reducer_of(int fragment) const {
      int rank = 0;
      while (fragment >= reducers[rank].first + reducers[rank].count) ++rank;
      return rank;
    }
    bool even() const { return most * static_cast<int>(reducers.size()) == fragments; }

    template <class Self, class Visitor>
    static void visit(Self& self, Visitor&& visitor) {
      visitor("fragments", self.fragments);
      visitor("most", self.most);
      visitor("row_lanes", self.row_lanes);
      visitor("fragment_bytes", self.fragment_bytes);
      visitor("pairs", self.pairs);
    }
  } reduction;

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& part) {
    part("private_rings", self.private_rings);
    part("warp", self.warp);
    part("splits", self.splits);
    part("step", self.step);
    part("packed", self.packed);
    part("scales", self.scales);
    part("activations", self.activations);
    part("copies", self.copies);
    part("shared", self.shared);
    part("reduction", self.reduction);
  }
};

}  // namespace marlin
