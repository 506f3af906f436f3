// WgmmaPlan: what a kernel of the wgmma family has beside what all have.
#pragma once

#include "codegen/plan/parts.h"

namespace marlin {

struct WgmmaPlan {
  // A producer warp copies, consumer warpgroups multiply. Each consumer has m64_tiles of 64
  // columns; of these a warp has 16 each, neighbours in C.
  struct Roles {
    int consumers = 0;  // warpgroups
    int m64_tiles = 0;
    int accumulators = 0;  // of a thread for one m64 tile, FP32
    int commits = 0;  // of a stage: products issued together, while the next fragments are made
    int consumer_registers = 0, producer_registers = 0;

    template <class Self, class Visitor>
    static void visit(Self& self, Visitor&& visitor) {
      visitor("consumers", self.consumers);
      visitor("m64_tiles", self.m64_tiles);
      visitor("accumulators", self.accumulators);
      visitor("commits", self.commits);
      visitor("consumer_registers", self.consumer_registers);
      visitor("producer_registers", self.producer_registers);
    }
  } roles;

  // Whole tiles for one worker each, then tiles cut into stripes over all workers. Blocks that
  // share activations are one worker, with neighbouring tiles that count as one here.
  struct Work {
    int workers = 0;
    int tiles = 0;
    int whole_tiles = 0;
    std::int64_t striped_k_tiles = 0;  // k tiles of the rest

    template <class Self, class Visitor>
    static void visit(Self& self, Visitor&& visitor) {
      visitor("workers", self.workers);
      visitor("tiles", self.tiles);
      visitor("whole_tiles", self.whole_tiles);
      visitor("striped_k_tiles", self.striped_k_tiles);
    }
  } work;
  KSplits splits;  // the blocks of a tile, where these split its K

  // One stage: [64 k][row] lines of activations, packed weights by k16 step, rows of scales.
  struct Stage {
    int activations = 0, packed = 0, scales = 0;  // bytes of each
    int bytes = 0;
    int lines = 0;           // of 64 k
    int line = 0;            // from 64 k of all rows to the next 64
    int activation_box = 0;  // rows that one block copies, for all that share them
    int packed_boxes = 1;    // side by side along n: a copy's box has at most 256 columns
    int packed_columns = 0;  // of such a box
    int packed_box = 0;      // from one box to the next, each [k16 step][column]
    int packed_row = 0;      // from one k16 step of a box to the next
    int scales_row = 0;      // from one row of scales to the next

    int packed_at(int step) const { return step * packed_row; }
    int packed_box_at(int box) const { return box * packed_box; }
    // Blocks of 64 columns in a box.
    int packed_blocks() const { return packed_columns / kPackTileN; }
    int scales_at(int row) const { return row * scales_row; }
    int line_at(int i) const { return i * line; }
    // Of a k16 step's activations, as descriptors count: in units of 16 bytes.
    static constexpr int kStepsPerLine = kLineK / kPackTileK;
    int descriptor_at(int step) const {
      return (step / kStepsPerLine * line + step % kStepsPerLine * kPackTileK * kHalfBytes) /
             kDescriptorUnit;
    }
    int descriptor_stage() const { return activations / kDescriptorUnit; }
    static constexpr int kDescriptorUnit = 16;

    template <class Self, class Visitor>
    static void visit(Self& self, Visitor&& visitor) {
      visitor("activations", self.activations);
      visitor("packed", self.packed);
      visitor("scales", self.scales);
      visitor("bytes", self.bytes);
      visitor("lines", self.lines);
      visitor("line", self.line);
      visitor("activation_box", self.activation_box);
      visitor("packed_boxes", self.packed_boxes);
      visitor("packed_columns", self.packed_columns);
      visitor("packed_box", self.packed_box);
      visitor("packed_row", self.packed_row);
      visitor("scales_row", self.scales_row);
    }
  } stage;

  // The last n tile where tile_n does not divide n.
  struct Tail {
    int columns = 0;      // 0: there is none
    int scales_row = 0;   // bytes of a row of scales
    int stage_bytes = 0;  // that arrive with a stage

    template <class Self, class Visitor>
    static void visit(Self& self, Visitor&& visitor) {
      visitor("columns", self.columns);
      visitor("scales_row", self.scales_row);
      visitor("stage_bytes", self.stage_bytes);
    }
  } tail;

  // Shared memory: rings of activations (from 0 on), packed weights and scales, C on its way out,
  // sums that a cluster sends, barriers.
  struct SharedMap {
    int packed = 0, scales = 0;
    int staging = 0;         // [consumer][buffer][64 columns][row][128 bytes]
    int received = 0;        // sums [split][own n8 tile][m64 tile][thread][4] as FP32
    int received_split = 0;  // from one split to the next
    int full = 0;            // barriers of the stages that have arrived
    int empty = 0;           // and of those that may be filled again
    int barrier = 0;         // of what the cluster sends to this block

    template <class Self, class Visitor>
    static void visit(Self& self, Visitor&& visitor) {
      visitor("packed", self.packed);
      visitor("scales", self.scales);
      visitor("staging", self.staging);
      visitor("received", self.received);
      visitor("received_split", self.received_split);
      visitor("full", self.full);
      visitor("empty", self.empty);
      visitor("barrier", self.barrier);
    }
  } shared;

  struct Staging {
    int rows = 0;  // that a warpgroup stages at once
    int box = 0;   // bytes of them for 64 columns
    int buffer = 0, consumer = 0;
    int buffers = 0;

    // Of an m64 tile's box; of eight rows of one.
    int box_at(int m64_tile) const { return m64_tile * box; }
    int n8_at(int n8_tile) const { return n8_tile * kN8Bytes; }
    static constexpr int kN8Bytes = 8 * kLineBytes;

    template <class Self, class Visitor>
    static void visit(Self& self, Visitor&& visitor) {
      visitor("rows", self.rows);
      visitor("box", self.box);
      visitor("buffer", self.buffer);
      visitor("consumer", self.consumer);
      visitor("buffers", self.buffers);
    }
  } staging;

  // Sums over the blocks of a tile. A cluster sends n8 tiles to their reducer; blocks that exchange
  // through L2 each add up and store some of the tile's boxes, and a warp some n8 tiles of its own
  // columns.
  struct Reduction {
    int cluster = 1;                // blocks of a tile that are a cluster
    bool exchanges = false;         // blocks of a tile meet in L2
    int n8_tiles = 0;               // of a tile
    int boxes = 0;                  // of 64 columns and eight rows; where blocks exchange
    int most = 0, least = 0;        // n8 tiles that one adds up
    int float4_bytes = 0;           // one float4 of every consumer thread
    std::vector<Reducer> reducers;  // by rank in the cluster

    bool even() const { return most * cluster == n8_tiles; }
    // A thread's sums of one m64 tile and one n8 tile are one float4, beside those of the block's
    // other threads: where it lies among a tile's partial sums.
    int float4_at(int m64_tile, int n8_tile) const {
      return (m64_tile * n8_tiles + n8_tile) * float4_bytes;
    }

    template <class Self, class Visitor>
    static void visit(Self& self, Visitor&& visitor) {
      visitor("cluster", self.cluster);
      visitor("exchanges", self.exchanges);
      visitor("n8_tiles", self.n8_tiles);
      visitor("boxes", self.boxes);
      visitor("most", self.most);
      visitor("least", self.least);
      visitor("float4_bytes", self.float4_bytes);
    }
  } reduction;

  // Stream-K fix-up: partial sums arrive through the packed buffers of the pipeline, so many float4
  // per thread per stage, in so many stages.
  struct Fixup {
    int float4s = 0, chunks = 0;
    std::int64_t chunk_bytes = 0, last_chunk_bytes = 0;  // of all threads

    template <class Self, class Visitor>
    static void visit(Self& self, Visitor&& visitor) {
      visitor("float4s", self.float4s);
      visitor("chunks", self.chunks);
      visitor("chunk_bytes", self.chunk_bytes);
      visitor("last_chunk_bytes", self.last_chunk_bytes);
    }
  } fixup;

  // Where a cluster's sums of an own n8 tile and an m64 tile arrive, from a thread's first.
  int received_at(int split, int own_n8_tile, int m64_tile) const {
    return split * shared.received_split +
           (own_n8_tile * roles.m64_tiles + m64_tile) * reduction.float4_bytes;
  }

  // What a block receives for each n8 tile that it adds up.
  int received_n8_bytes() const { return splits.count * roles.m64_tiles * reduction.float4_bytes; }

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& part) {
    part("roles", self.roles);
    part("work", self.work);
    part("splits", self.splits);
    part("stage", self.stage);
    part("tail", self.tail);
    part("shared", self.shared);
    part("staging", self.staging);
    part("reduction", self.reduction);
    part("fixup", self.fixup);
  }
};

}  // namespace marlin
