// The parts that plans are made of. Each names its fields once, in `visit`, for dumps and tests.
//
// Sizes, offsets and strides are in bytes unless a name says otherwise. "Packed": the packed
// weights of the Marlin format. "Unit": what one warp takes from one stage, its warp k-block.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "codegen/formats/elements.h"
#include "codegen/formats/marlin_4bit.h"
#include "codegen/problem/operand.h"

namespace marlin {

// What a tensor map is made of: a row-major matrix of a launch and the box that one copy moves.
struct TensorBox {
  enum class Element { f16, packed };  // packed: eight bytes, a column's of one k16 step
  Operand of = Operand::a;
  Element element = Element::f16;
  std::int64_t columns = 0;    // elements of a row
  std::int64_t rows = 0;       // 0: the launch's m
  std::int64_t row_bytes = 0;  // from one row to the next
  int box_columns = 0, box_rows = 0;
  bool swizzled = false;  // lines of 128 bytes in shared memory

  int element_bytes() const { return element == Element::f16 ? kHalfBytes : kPackedStepBytes; }
};

// An argument of the kernel: an operand's pointer, or the next of the tensor maps.
struct Parameter {
  Operand operand = Operand::a;
  bool tensor_map = false;

  friend bool operator==(const Parameter&, const Parameter&) = default;
};

struct Launch {
  std::string entry;  // the kernel's extern "C" name
  int threads = 0;
  int grid_x = 0, grid_y = 0, grid_z = 0;
  bool rows_on_x = false;    // grid_x counts m tiles: launch only those that the launch's m reaches
  int cluster = 1;           // blocks of a thread block cluster
  bool cooperative = false;  // blocks wait for one another: all must be resident
  bool dependent = false;    // safe to start before the previous kernel of the stream is done (PDL)
  int shared_bytes = 0;      // dynamic shared memory
  std::vector<TensorBox> tensor_maps;  // in the order of the parameters that are maps
  std::vector<Parameter> parameters;   // after them comes the row count, m

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& visitor) {
    visitor("threads", self.threads);
    visitor("grid_x", self.grid_x);
    visitor("grid_y", self.grid_y);
    visitor("grid_z", self.grid_z);
    visitor("rows_on_x", self.rows_on_x);
    visitor("cluster", self.cluster);
    visitor("cooperative", self.cooperative);
    visitor("dependent", self.dependent);
    visitor("shared_bytes", self.shared_bytes);
  }
};

// Tiles of the whole product. A tile's rows beyond the matrix are never copied and never stored.
struct Tiles {
  int m_tiles = 0, n_tiles = 0, k_tiles = 0;  // the last: of one output tile
  int k_steps = 0;                            // k16 steps of a unit
  int rows = 0;                               // rows copied and stored at most: min(tile_m, m)
  bool dynamic_m = false;                     // the row count is the kernel argument m
  bool guard_rows = false;                    // some tile may have fewer than `rows` rows

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& visitor) {
    visitor("m_tiles", self.m_tiles);
    visitor("n_tiles", self.n_tiles);
    visitor("k_tiles", self.k_tiles);
    visitor("k_steps", self.k_steps);
    visitor("rows", self.rows);
    visitor("dynamic_m", self.dynamic_m);
    visitor("guard_rows", self.guard_rows);
  }
};

// How the k16 steps of a unit share scales.
struct GroupScales {
  bool grouped = false;  // scales arrive with every stage (not one for the whole K)
  int rows = 0;          // rows of scales that a unit needs
  int steps = 0;         // k16 steps of a unit that share a row

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& visitor) {
    visitor("grouped", self.grouped);
    visitor("rows", self.rows);
    visitor("steps", self.steps);
  }
};

// Strides through global memory.
struct GlobalMemory {
  struct Packed {
    std::int64_t row = 0;     // from one k16 row to the next
    std::int64_t k_tile = 0;  // from one stage's to the next stage's
    std::int64_t n_tile = 0;  // from one tile's columns to the next tile's
    std::int64_t column = 0;  // all of K
    std::int64_t unit = 0;    // from one warp k-block to the next
    std::int64_t warp_n = 0;  // from one warp_n's columns to the next warp_n's

    // Of the 64-column block of a k16 step, from the unit's beginning.
    std::int64_t at(int step, int block64) const { return step * row + block64 * kPackTileBytes; }
  } packed;
  struct Activations {
    std::int64_t row = 0, k_tile = 0, m_tile = 0;
    std::int64_t column = 0;  // all of K
    std::int64_t warp_k = 0;  // from one warp_k's k range to the next warp_k's

    std::int64_t row_at(int i) const { return i * row; }
    std::int64_t m_tile_at(int i) const { return i * m_tile; }
  } activations;
  struct Scales {
    std::int64_t row = 0, k_tile = 0, n_tile = 0;
    std::int64_t column = 0;  // all of K
    std::int64_t warp_n = 0;  // from one warp_n's columns to the next warp_n's

    std::int64_t row_at(int i) const { return i * row; }
  } scales;
  struct Output {
    std::int64_t row = 0, n_tile = 0, m_tile = 0;

    std::int64_t row_at(int i) const { return i * row; }
  } output;

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& visitor) {
    visitor("packed.row", self.packed.row);
    visitor("packed.k_tile", self.packed.k_tile);
    visitor("packed.n_tile", self.packed.n_tile);
    visitor("packed.column", self.packed.column);
    visitor("packed.unit", self.packed.unit);
    visitor("packed.warp_n", self.packed.warp_n);
    visitor("activations.row", self.activations.row);
    visitor("activations.k_tile", self.activations.k_tile);
    visitor("activations.m_tile", self.activations.m_tile);
    visitor("activations.column", self.activations.column);
    visitor("activations.warp_k", self.activations.warp_k);
    visitor("scales.row", self.scales.row);
    visitor("scales.k_tile", self.scales.k_tile);
    visitor("scales.n_tile", self.scales.n_tile);
    visitor("scales.column", self.scales.column);
    visitor("scales.warp_n", self.scales.warp_n);
    visitor("output.row", self.output.row);
    visitor("output.n_tile", self.output.n_tile);
    visitor("output.m_tile", self.output.m_tile);
  }
};

// [counters][partial tiles of FP32]. The counters' room is the same in every kernel, so that one
// buffer serves many: no kernel's partial sums lie on another's counters.
struct Workspace {
  bool shared = false;        // some tile has several contributors
  std::int64_t bytes = 0;     // 0: the kernel takes a null workspace
  std::int64_t counters = 0;  // 32-bit counters and flags in use
  std::int64_t partials_offset = 0;
  std::int64_t partial_tile = 0;
  std::int64_t partial_row = 0;  // of such a tile, where it is stored row by row

  // Of a contributor's partial tile, from the first one's.
  std::int64_t at(int contributor, int row) const {
    return contributor * partial_tile + row * partial_row;
  }

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& visitor) {
    visitor("shared", self.shared);
    visitor("bytes", self.bytes);
    visitor("counters", self.counters);
    visitor("partials_offset", self.partials_offset);
    visitor("partial_tile", self.partial_tile);
    visitor("partial_row", self.partial_row);
  }
};

// The columns and rows that one warp of the families with mma.sync sums.
struct WarpTile {
  int columns = 0;
  int blocks64 = 0;  // 64-column blocks of the Marlin format
  int n8_tiles = 0;  // MMA tiles of eight rows of activations

  // The place of a fragment, 16 columns x 8 rows, of the order [64 columns][16 of them][8 rows].
  struct Fragment {
    int block64 = 0, columns16 = 0, n8_tile = 0;

    friend bool operator==(const Fragment&, const Fragment&) = default;
  };
  Fragment fragment(int i) const { return {i / n8_tiles / 4, i / n8_tiles % 4, i % n8_tiles}; }

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& visitor) {
    visitor("columns", self.columns);
    visitor("blocks64", self.blocks64);
    visitor("n8_tiles", self.n8_tiles);
  }
};

// A unit's packed weights in shared memory: [k16 step][64-column block].
struct PackedUnit {
  int row = 0;   // from one k16 step to the next
  int unit = 0;  // all of it

  int at(int step, int block64) const { return step * row + block64 * kPackTileBytes; }

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& visitor) {
    visitor("row", self.row);
    visitor("unit", self.unit);
  }
};

// The rows of scales of a unit in shared memory, and the copies that bring them.
struct ScaleUnit {
  int offset = 0;  // from where the family's stage or packed unit begins
  int unit = 0;    // all of a warp's
  int chunks = 0;  // 16-byte chunks of a row

  int row_at(int row) const { return row * chunks * kChunkBytes; }

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& visitor) {
    visitor("offset", self.offset);
    visitor("unit", self.unit);
    visitor("chunks", self.chunks);
  }
};

// Rows of activations in shared memory, swizzled so that the eight rows of an ldmatrix matrix lie
// in different banks: the 16-byte chunk c of the row at byte offset o moves to c ^ (o >> shift &
// mask).
struct ActivationRows {
  int pitch = 0;   // from one row to the next
  int line = 128;  // from 64 k of all rows to the next 64
  int unit = 0;    // of one warp's own ring, or of one that warps share
  int swizzle_shift = 0, swizzle_mask = 0;

  // Of the n8 tile's rows at a k16 step of a unit, before the swizzle; and what to XOR to that, as
  // far as the step decides it.
  int at(int n8_tile, int step) const { return n8_tile * 8 * pitch + step / kStepsPerLine * line; }
  int swizzle_of_step(int step) const { return step % kStepsPerLine * kStepBytes; }
  // The same for a row.
  int row_at(int row) const { return row * pitch; }
  int swizzle_of_row(int row) const { return (row_at(row) >> swizzle_shift & swizzle_mask) << 4; }

  static constexpr int kStepBytes = kPackTileK * kHalfBytes;
  static constexpr int kStepsPerLine = kLineBytes / kStepBytes;

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& visitor) {
    visitor("pitch", self.pitch);
    visitor("line", self.line);
    visitor("unit", self.unit);
    visitor("swizzle_shift", self.swizzle_shift);
    visitor("swizzle_mask", self.swizzle_mask);
  }
};

// One thread's copies of the activations of a stage or a unit, in passes over their rows.
struct ActivationCopies {
  int copiers = 0;     // threads that copy one tile: a warp's, some warps' or all
  int row_chunks = 0;  // 16-byte chunks of a row
  int pass_rows = 0;   // rows copied by the copiers at once
  int passes = 0;
  int last_copiers = 0;  // copiers of the last pass

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& visitor) {
    visitor("copiers", self.copiers);
    visitor("row_chunks", self.row_chunks);
    visitor("pass_rows", self.pass_rows);
    visitor("passes", self.passes);
    visitor("last_copiers", self.last_copiers);
  }
};

// The part of a tile's sums that one block of a cluster adds up and stores: a run of fragments.
struct Reducer {
  int first = 0, count = 0;

  friend bool operator==(const Reducer&, const Reducer&) = default;
};

// How the k tiles of an output tile are shared out to splits: the first of them have one more.
struct KSplits {
  int count = 1;
  int k_tiles = 0;  // of every split
  int longer = 0;   // splits with one more

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& visitor) {
    visitor("count", self.count);
    visitor("k_tiles", self.k_tiles);
    visitor("longer", self.longer);
  }
};

}  // namespace marlin
