// Layout: where each code and each scale lies in memory. The one truth for packer and emitter.
#pragma once

#include <array>
#include <cstdint>

namespace marlin {

// ---- Packed weights ----------------------------------------------------------------------------
//
// The published Marlin format for 4-bit codes (github.com/IST-DASLab/marlin, what
// marlin.Layer.pack makes; Frantar et al., "MARLIN", 2024). A 32-bit word holds the eight codes
// that one lane needs as its A fragment of mma.m16n8k16 for the transposed product, where row is n
// and column is k: PTX ISA, "Matrix Fragments for mma.m16n8k16". Codes are biased by 8.
//
//   packed  uint32 [k / 16, 2 n]: a row is one k16 step, a pack tile is 128 words of it and holds
//           16 k by 64 n codes; lane L of a warp owns words 4 L .. 4 L + 3 of a tile, and word j of
//           those is its fragment for the 16 columns from 16 j on.
//   scales  FP16 [k / group, n], each row permuted within blocks of 64 columns (grouped) or 32
//           columns (one group for the whole k).
//
// All functions take logical positions in range and check nothing.

inline constexpr int kPackTileK = 16;       // k of one pack tile
inline constexpr int kPackTileN = 64;       // columns of one pack tile
inline constexpr int kPackTileWords = 128;  // 32-bit words of one pack tile, contiguous
inline constexpr int kPackTileBytes = kPackTileWords * 4;
inline constexpr int kPackedStepBytes = kPackTileBytes / kPackTileN;  // a column's, of one k16 step
inline constexpr int kCodesPerWord = 8;                               // 4-bit codes of one word
inline constexpr int kPackTileCodes = kPackTileWords * kCodesPerWord;
inline constexpr int kCodeBias = 8;  // weight = (code - 8) * scale
inline constexpr int kMaxCode = 15;
// The largest magnitude of a scale, 8188, as FP16 bits: 8 times it, the largest weight, is the
// largest FP16. Kernels that scale weights make such weights in FP16.
inline constexpr std::uint16_t kMaxScaleBits = 0x6fff;
inline constexpr int kScaleBlock = 64;  // both scale orders repeat every 64 columns
inline constexpr int kScaleBlockBytes = kScaleBlock * 2;

// The place of a code within its A fragment: value v of a word belongs to row 8 (v / 4) + L / 4 of
// the fragment and to k = 2 (L % 4) + {0, 1, 8, 9}[v % 4]. Value v lies in nibble (bits 4i .. 4i+3)
// i of the word: even values in the low half and odd ones in the high half, so that one mask takes
// values v and v + 1 as the two halves of a half2: nibbles 0..7 hold values 0 2 4 6 1 3 5 7.
constexpr int nibble_of_value(int v) { return v / 2 + 4 * (v % 2); }
constexpr int value_of_nibble(int i) { return 2 * (i % 4) + i / 4; }

// The lane of a warp, the word (0..3) of that lane, and the nibble that hold code (k, n).
constexpr int pack_lane(std::int64_t k, std::int64_t n) {
  return static_cast<int>(4 * (n % 8) + (k % 8) / 2);
}
constexpr int pack_word(std::int64_t n) { return static_cast<int>(n % kPackTileN / 16); }
constexpr int nibble(std::int64_t k, std::int64_t n) {
  const int value = static_cast<int>(4 * (n % 16 / 8) + 2 * (k % 16 / 8) + k % 2);
  return nibble_of_value(value);
}

// Words of one row of the packed matrix (one k16 step).
constexpr std::int64_t words_per_row(std::int64_t size_n) { return 2 * size_n; }
constexpr std::int64_t packed_words(std::int64_t size_k, std::int64_t size_n) {
  return size_k / kPackTileK * words_per_row(size_n);
}

// Index of the 32-bit word that holds code (k, n) of a [size_k, size_n] matrix.
constexpr std::int64_t word_index(std::int64_t k, std::int64_t n, std::int64_t size_n) {
  return k / kPackTileK * words_per_row(size_n) + n / kPackTileN * kPackTileWords +
         4 * pack_lane(k, n) + pack_word(n);
}

struct CodePosition {
  std::int64_t k = 0;
  std::int64_t n = 0;

  friend bool operator==(const CodePosition&, const CodePosition&) = default;
};

// The inverse: which code lies in nibble `nibble_index` of word `word`.
constexpr CodePosition code_position(std::int64_t word, int nibble_index, std::int64_t size_n) {
  const std::int64_t column = word % words_per_row(size_n);
  const int in_tile = static_cast<int>(column % kPackTileWords);
  const int lane = in_tile / 4;
  const int j = in_tile % 4;
  const int v = value_of_nibble(nibble_index);
  return {word / words_per_row(size_n) * kPackTileK + 2 * (lane % 4) + 8 * (v / 2 % 2) + v % 2,
          column / kPackTileWords * kPackTileN + 16 * j + 8 * (v / 4) + lane / 4};
}

// How a row of scales is permuted. Grouped: a lane reads the scales of its eight rows (n = L / 4 +
// 8 i, i = 0..7, of a pack tile) as one contiguous 16 bytes. Single: it reads the scales of the
// columns that the published kernel's accumulators hold, n = 2 (L % 4) + {0, 1, 8, 9, .. 25}, so.
enum class ScaleOrder { grouped, single };

// The group size along k, with -1 as the whole k.
constexpr std::int64_t group_size(std::int64_t size_k, int group) {
  return group == -1 ? size_k : group;
}
constexpr std::int64_t scale_rows(std::int64_t size_k, int group) {
  return size_k / group_size(size_k, group);
}

// Only the number of groups decides: a k of exactly one group is permuted as group -1 is, since the
// published format cannot tell the two apart.
constexpr ScaleOrder scale_order(std::int64_t size_k, int group) {
  return scale_rows(size_k, group) == 1 ? ScaleOrder::single : ScaleOrder::grouped;
}

// Position in its permuted row of the scale of column n.
constexpr std::int64_t scale_position(ScaleOrder order, std::int64_t n) {
  if (order == ScaleOrder::grouped) return n / 64 * 64 + 8 * (n % 8) + n % 64 / 8;
  return n / 32 * 32 + 8 * (n % 8 / 2) + 2 * (n % 32 / 8) + n % 2;
}

// The inverse: the column whose scale lies at position p of a permuted row.
constexpr std::int64_t scale_column(ScaleOrder order, std::int64_t p) {
  if (order == ScaleOrder::grouped) return p / 64 * 64 + 8 * (p % 8) + p % 64 / 8;
  return p / 32 * 32 + 2 * (p % 32 / 8) + 8 * (p % 8 / 2) + p % 2;
}

// Index in the permuted scales of the scale of (group index g, column n).
constexpr std::int64_t scale_index(ScaleOrder order, std::int64_t g, std::int64_t n,
                                   std::int64_t size_n) {
  return g * size_n + scale_position(order, n);
}

// One pack tile as a table: entry 8 w + i is 64 k + n of the code in nibble i of word w.
constexpr std::array<std::uint16_t, kPackTileCodes> pack_tile_table() {
  std::array<std::uint16_t, kPackTileCodes> table{};
  for (int w = 0; w < kPackTileWords; ++w) {
    for (int i = 0; i < kCodesPerWord; ++i) {
      const CodePosition at = code_position(w, i, kPackTileN);
      table[kCodesPerWord * w + i] = static_cast<std::uint16_t>(kPackTileN * at.k + at.n);
    }
  }
  return table;
}

// ---- End of packed weights ---------------------------------------------------------------------

}  // namespace marlin
