// StripePlan: what a kernel of the stripe family has beside what all have.
#pragma once

#include "codegen/plan/parts.h"

namespace marlin {

struct StripePlan {
  bool private_rings = false;  // no two warps read one another's copies: no block barrier per stage
  WarpTile warp;

  struct Work {
    int k_tiles = 0;       // that a block goes through (split and span)
    bool striped = false;  // Partition::stripes: cut_stripes() has the segments of every block

    template <class Self, class Visitor>
    static void visit(Self& self, Visitor&& visitor) {
      visitor("k_tiles", self.k_tiles);
      visitor("striped", self.striped);
    }
  } work;

  // Shared memory: a ring of stages, each [packed of every warp][activations][scales of every
  // warp].
  PackedUnit packed;
  struct Stage {
    int activations_offset = 0;
    int activations_warp_k =
        0;  // shared activations: from one warp_k's k range to the next; else 0
    int bytes = 0;
    int ring_bytes = 0;

    int at(int stage) const { return stage * bytes; }

    template <class Self, class Visitor>
    static void visit(Self& self, Visitor&& visitor) {
      visitor("activations_offset", self.activations_offset);
      visitor("activations_warp_k", self.activations_warp_k);
      visitor("bytes", self.bytes);
      visitor("ring_bytes", self.ring_bytes);
    }
  } stage;
  ActivationRows activations;  // private rings: their unit is one warp's; else there is none, 0
  ScaleUnit scales;            // the offset is inside a stage
  ActivationCopies copies;

  // Passes over the tile's rows through shared memory as FP32 [warps_k][row][column].
  struct Reduction {
    int offset = 0;
    int pass_rows = 0;  // rows of one pass, a multiple of 8
    int passes = 0;
    int pitch = 0;       // from one row to the next
    int warp_k = 0;      // from one warp_k's sums to the next
    int float4s = 0;     // groups of four columns in a tile row
    int round_rows = 0;  // rows that the block handles at once
    int ticket = 0;      // word that tells a block whether it came last

    // Of an n8 tile of a pass and 16 columns of a 64-column block.
    int at(int n8_tile, int block64, int columns16) const {
      return n8_tile * 8 * pitch + (block64 * 64 + columns16 * 16) * kFloatBytes;
    }
    // Of a row of the pass, as one warp_k has summed it.
    int row_at(int row, int of_warp_k) const { return row * pitch + of_warp_k * warp_k; }
    int pass_n8_tiles() const { return pass_rows / 8; }
    int first_row(int pass) const { return pass * pass_rows; }
    int first_n8_tile(int pass) const { return pass * pass_n8_tiles(); }

    template <class Self, class Visitor>
    static void visit(Self& self, Visitor&& visitor) {
      visitor("offset", self.offset);
      visitor("pass_rows", self.pass_rows);
      visitor("passes", self.passes);
      visitor("pitch", self.pitch);
      visitor("warp_k", self.warp_k);
      visitor("float4s", self.float4s);
      visitor("round_rows", self.round_rows);
      visitor("ticket", self.ticket);
    }
  } reduction;

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& part) {
    part("private_rings", self.private_rings);
    part("warp", self.warp);
    part("work", self.work);
    part("packed", self.packed);
    part("stage", self.stage);
    part("activations", self.activations);
    part("scales", self.scales);
    part("copies", self.copies);
    part("reduction", self.reduction);
  }
};

}  // namespace marlin
