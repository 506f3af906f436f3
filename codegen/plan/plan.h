// Plan: every integer an emitted kernel uses, by name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "codegen/plan/config.h"
#include "codegen/plan/stripes.h"
#include "codegen/problem/shape.h"
#include "codegen/problem/target.h"

namespace marlin {

// The part of a slice's sums that one block of a cluster adds up and stores: fragments of every
// warp column, in the order [64 columns][16 of them][8 tokens].
struct Owner {
  int first = 0, count = 0;
};

// What a tensor map is made of: a row-major matrix of a launch and the box that one copy moves.
struct TensorBox {
  enum class Of { tokens, words, output };
  Of of = Of::tokens;
  int element = 2;             // bytes: FP16, or 8 for the words of one column and k16 row
  std::int64_t columns = 0;    // elements of a row
  std::int64_t rows = 0;       // 0: the launch's m
  std::int64_t row_bytes = 0;  // from one row to the next
  int box_columns = 0, box_rows = 0;
  bool swizzled = false;  // lines of 128 bytes in shared memory
};

// Sizes and offsets are in bytes unless a name says otherwise. "Unit": what one warp takes from one
// stage. "Words": 32-bit words of eight packed codes.
struct Plan {
  Shape shape;
  Target target;
  Config config;

  // Launch.
  std::string entry;  // the kernel's extern "C" name
  int threads = 0;
  int grid_x = 0, grid_y = 0, grid_z = 0;
  bool rows_on_x = false;            // grid_x counts token tiles: launch only those that m reaches
  bool cooperative = false;          // blocks wait for one another: all must be at work at once
  int shared_bytes = 0;              // dynamic shared memory
  std::int64_t workspace_bytes = 0;  // 0: the kernel takes a null workspace

  // Tiles of the whole product, and how many k tiles a block goes through (split and span).
  int m_tiles = 0, n_slices = 0, k_tiles = 0;
  int block_k_tiles = 0;
  bool striped = false;  // Partition::stripes; make_plan lists their segments
  std::vector<std::vector<Segment>> stripes;

  // Token rows. A tile's rows beyond the matrix are never copied and never stored.
  int rows = 0;             // rows copied and stored at most: min(tile_m, m)
  bool dynamic_m = false;   // the row count is the kernel argument m
  bool guard_rows = false;  // some tile may have fewer than `rows` rows

  // Strides through global memory.
  std::int64_t weights_row = 0;     // from one k16 row of words to the next
  std::int64_t weights_k_tile = 0;  // from one stage's words to the next stage's
  std::int64_t weights_slice = 0;   // from one slice's columns to the next slice's
  std::int64_t weights_column = 0;  // all of K
  std::int64_t tokens_row = 0, tokens_k_tile = 0, tokens_m_tile = 0, tokens_column = 0;
  std::int64_t scales_row = 0, scales_k_tile = 0, scales_slice = 0, scales_column = 0;
  std::int64_t output_row = 0, output_slice = 0, output_m_tile = 0;

  // One warp.
  bool private_rings = false;  // no two warps read one another's copies: no block barrier per stage
  int warp_columns = 0;
  int blocks64 = 0;           // 64-column blocks of the Marlin format that a warp covers
  int k_steps = 0;            // k16 steps of a unit
  int token_tiles = 0;        // 8-token MMA tiles
  bool group_scales = false;  // scales arrive with every stage (not one for the whole K)

  // Shared memory: a ring of stages, each [words of every warp][tokens][scales of every warp].
  int weights_unit = 0;      // words of one warp in one stage
  int weights_unit_row = 0;  // from one k16 row to the next inside it
  int tokens_offset = 0;     // inside a stage
  int tokens_pitch = 0;      // from one token to the next
  int tokens_line = 128;     // from 64 k of all a unit's tokens to the next 64
  int tokens_unit = 0;       // private rings: tokens of one warp; else 0
  int tokens_warp_k = 0;     // shared tokens: from one warp_k's k range to the next; else 0
  int swizzle_shift = 0, swizzle_mask = 0;
  int scales_offset = 0, scales_unit = 0;
  int stage_bytes = 0, ring_bytes = 0;

  // Copies of one stage, by one thread.
  int token_copiers = 0;     // threads that copy one token tile: 32 or all
  int token_chunks_row = 0;  // 16-byte chunks of a token row
  int token_rows_pass = 0;   // rows copied by the copiers at once
  int token_passes = 0;
  int token_last_copiers = 0;  // copiers of the last pass
  int scale_chunks = 0;        // 16-byte chunks of a warp's scale row

  // Reduction: passes over the tile's tokens through shared memory as FP32
  // [warps_k][token][column].
  int reduce_offset = 0;
  int reduce_tokens = 0;  // tokens of one pass, a multiple of 8
  int reduce_passes = 0;
  int reduce_pitch = 0;   // from one token to the next
  int reduce_warp_k = 0;  // from one warp_k's sums to the next
  int quads = 0;          // groups of four columns in a tile row
  int reduce_rows = 0;    // rows that the block handles at once

  // Workspace: [counters][partial tiles of FP32 [rows][tile_n]]. The counters' room is the same in
  // every kernel, so that one buffer serves many: no kernel's partial sums lie on another's
  // counters.
  bool shares_slices = false;  // some slice has several owners
  int ticket_offset = 0;       // shared memory word that tells a block whether it came last
  std::int64_t counters = 0;   // slices with several owners
  std::int64_t partials_offset = 0;
  std::int64_t partial_tile = 0;
  // Wgmma family: partial tiles of stripes come through the words of the stages, so many of every
  // thread's quads in each of so many stages. Where all blocks of a tile exchange theirs, each adds
  // up and stores some of its boxes, and a warp so many of its own columns.
  int partial_quads = 0, partial_chunks = 0;
  bool exchanges = false;
  int boxes = 0;  // of 64 columns and eight tokens
  int least_owned = 0;

  // Decode family: the blocks of a cluster and the warps of each that share columns split K into
  // parts; part p takes the units p, p + parts, p + 2 parts, ...
  bool dependent_launch = false;  // safe to start before the previous kernel of the stream is done
  int cluster = 1;                // blocks
  int parts = 0;
  int part_units = 0;   // units of every part
  int long_parts = 0;   // the first of them have one more
  int unit_groups = 0;  // rows of scales that a unit needs
  int group_steps = 0;  // k16 steps of a unit that share a row

  // Its shared memory: rings of tokens, [warps_k][stage], and of words with their scales,
  // [warp][stage]; what the warps of the cluster send, and the barrier that it comes by.
  int words_offset = 0;
  int words_bytes = 0;        // of one stage of a warp, scales included
  int received_offset = 0;    // barrier of what the cluster sends to this block
  int receive_offset = 0;     // sums [part][warps_n][own fragment][lane][4] as FP32
  int receive_part = 0;       // from one part to the next
  int fragments = 0;          // of 16 columns x 8 tokens that a warp sums
  int most_owned = 0;         // of them that one block owns, or a warp of it
  int quad_lanes = 0;         // of the four lanes that hold eight tokens, those that hold any row
  std::vector<Owner> owners;  // by rank in the cluster

  // Wgmma family: a producer warp copies, consumer warpgroups multiply. Each consumer has m64_tiles
  // of 64 columns; of these a warp has 16 each, neighbours in C.
  std::vector<TensorBox> tensor_maps;  // kernel arguments, in this order
  int consumers = 0;                   // warpgroups
  int m64_tiles = 0;
  int tile_sums = 0;  // FP32 sums of a thread for one of them
  int bursts = 0;     // of a stage: products issued together, while the next fragments are made
  int consumer_registers = 0, producer_registers = 0;

  // Its shared memory: rings of tokens, words and scales, sums that a cluster sends, C on its way
  // out, barriers.
  int tokens_stage = 0, words_stage = 0, scales_stage = 0;
  int token_lines = 0;     // of 64 k, in a stage
  int words_row = 0;       // from one k16 row of a stage to the next
  int full_offset = 0;     // barriers of the stages that have arrived
  int empty_offset = 0;    // and of those that may be filled again
  int staging_offset = 0;  // [consumer][buffer][64 columns][token][128 bytes]
  int staging_tokens = 0;  // that a warpgroup stages at once
  int staging_box = 0;     // bytes of them for 64 columns
  int staging_buffer = 0, staging_consumer = 0;
  int staging_buffers = 0;
  // The last slice where tile_n does not divide n: columns (else 0), the bytes of a row
  // of scales then, and those that arrive with a stage.
  int tail_columns = 0;
  int tail_scales_unit = 0;
  int tail_stage_bytes = 0;

  // Its work: whole tiles for one block each, then tiles cut into stripes over all blocks. Blocks
  // that share tokens are one worker, with neighbouring tiles that count as one here.
  int workers = 0;
  int tiles = 0;
  int whole_tiles = 0;
  std::int64_t striped_units = 0;  // k tiles of the rest
  int token_box = 0;               // tokens that one block copies, for all that share them
};

// Room for counters; the same in every kernel.
inline constexpr std::int64_t kCounterBytes = 64 << 10;

inline constexpr std::int64_t kMostCounters = kCounterBytes / 4;

// What every family's plan begins with: tiles of N and K, row counts and the strides of global
// memory.
Plan start_plan(const Shape& shape, const Target& target, const Config& config);

// Whether there are group scales, by where they are applied.
bool scales_accumulators(const Plan& plan);
bool scales_weights(const Plan& plan);

// Registers that suffice for a thread's accumulators, fragments, scales and addresses without
// spills; the compiler takes more where it has room. Legality compares it with what a config leaves
// a thread.
int register_estimate(const Plan& plan);

// Blocks of this plan that fit on an SM together, by that estimate.
int resident_blocks(const Plan& plan);

// The rule that a block's threads, registers and shared memory break, alone or with the others that
// the config wants on an SM; or nothing.
std::optional<std::string> resource_rule(const Plan& plan);

// Every integer of the plan as (name, value), in a fixed order, for dumps.
std::vector<std::pair<std::string, std::int64_t>> named_values(const Plan& plan);

}  // namespace marlin
