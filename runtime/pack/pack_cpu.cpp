// Logical codes and scales, or FP16 weights -> the packed Marlin format, and back, on the CPU.
// Entry points: pack_codes, unpack_codes, quantize_rtn, dequantize, pack_rtn.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <system_error>
#include <thread>

#include "codegen/formats/marlin_4bit.h"
#include "marlin/pack.h"
#include "runtime/pack/half.h"

namespace marlin {
namespace {

constexpr auto kTileTable = pack_tile_table();
static_assert(half_to_float(kMaxScaleBits) == kMaxScale);
static_assert(float_to_half(kCodeBias * kMaxScale) == kHalfMaxFinite);

// Runs work(begin, end) over 0..count in one contiguous range for each thread. `cost` is the number
// of weights behind one item: small jobs are not worth a thread. work must not throw.
template <typename Work>
void for_ranges(std::int64_t count, std::int64_t cost, const Work& work) {
  constexpr std::int64_t kWeightsPerThread = 1 << 18;
  const std::int64_t cores = std::max(1u, std::thread::hardware_concurrency());
  const std::int64_t worthwhile = std::max<std::int64_t>(1, count * cost / kWeightsPerThread);
  const std::int64_t ranges = std::min({cores, worthwhile, count});
  std::vector<std::thread> threads;
  threads.reserve(static_cast<std::size_t>(ranges));
  for (std::int64_t r = 1; r < ranges; ++r) {
    const std::int64_t begin = count * r / ranges, end = count * (r + 1) / ranges;
    try {
      threads.emplace_back(work, begin, end);
    } catch (const std::system_error&) {  // no thread to be had: the caller does this part too
      work(begin, end);
    }
  }
  work(0, count / ranges);
  for (std::thread& thread : threads) thread.join();
}

// The first element whose bits under the mask exceed the limit, or -1. Every array here is a whole
// number of blocks, as n is: a constant count lets the compiler use vector instructions.
template <typename T>
std::int64_t first_above(std::span<const T> values, T mask, T limit) {
  constexpr std::int64_t kBlock = 64;
  const auto blocks = static_cast<std::int64_t>(values.size()) / kBlock;
  std::vector<std::uint8_t> bad(static_cast<std::size_t>(blocks), 0);
  for_ranges(blocks, kBlock, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b) {
      T worst = 0;
      for (std::int64_t i = 0; i < kBlock; ++i) {
        worst = std::max<T>(worst, values[b * kBlock + i] & mask);
      }
      bad[b] = worst > limit;
    }
  });
  const auto block = std::find(bad.begin(), bad.end(), 1);
  if (block == bad.end()) return -1;
  std::int64_t i = (block - bad.begin()) * kBlock;
  while ((values[i] & mask) <= limit) ++i;
  return i;
}

std::size_t code_count(const Problem& problem) {
  return static_cast<std::size_t>(problem.shape.k * problem.shape.n);
}
std::size_t word_count(const Problem& problem) {
  return static_cast<std::size_t>(packed_words(problem.shape.k, problem.shape.n));
}
std::size_t scale_count(const Problem& problem) {
  return static_cast<std::size_t>(scale_rows(problem.shape.k, problem.scheme.group) *
                                  problem.shape.n);
}

void require_size(const char* name, std::size_t size, std::size_t needed) {
  if (size == needed) return;
  throw Error(ErrorCode::invalid_argument,
              fmt::format("{} has {} elements, the shape asks for {}", name, size, needed));
}

void require_codes(const Problem& problem, std::span<const std::uint8_t> codes) {
  require_size("codes", codes.size(), code_count(problem));
  const std::int64_t i = first_above<std::uint8_t>(codes, 0xff, kMaxCode);
  if (i < 0) return;
  throw Error(ErrorCode::invalid_argument,
              fmt::format("code {} at k = {}, n = {} is not in 0..{}", codes[i],
                          i / problem.shape.n, i % problem.shape.n, kMaxCode));
}

void require_finite(const char* what, const char* row, const Problem& problem,
                    std::span<const std::uint16_t> halves) {
  const std::int64_t i = first_above<std::uint16_t>(halves, kHalfMagnitude, kHalfMaxFinite);
  if (i < 0) return;
  throw Error(ErrorCode::invalid_argument,
              fmt::format("{} at {} = {}, n = {} is not finite", what, row, i / problem.shape.n,
                          i % problem.shape.n));
}

void require_scales(const Problem& problem, std::span<const std::uint16_t> scales) {
  require_finite("scale", "group", problem, scales);
  const std::int64_t i = first_above<std::uint16_t>(scales, kHalfMagnitude, kMaxScaleBits);
  if (i < 0) return;
  throw Error(
      ErrorCode::invalid_argument,
      fmt::format("scale {} at group = {}, n = {} is not in {}..{}", half_to_float(scales[i]),
                  i / problem.shape.n, i % problem.shape.n, -kMaxScale, kMaxScale));
}

// The pack tile whose first code is (k, n): out of the [k, n] matrix into one contiguous block, so
// that the table's positions serve every n.
using Tile = std::array<std::uint8_t, kPackTileCodes>;

void pack_tile(const std::uint8_t* codes, std::int64_t size_n, std::uint32_t* words) {
  Tile tile;
  for (int k = 0; k < kPackTileK; ++k) {
    std::memcpy(&tile[kPackTileN * k], codes + k * size_n, kPackTileN);
  }
  for (int w = 0; w < kPackTileWords; ++w) {
    std::uint32_t word = 0;
    for (int i = 0; i < kCodesPerWord; ++i) {
      word |= static_cast<std::uint32_t>(tile[kTileTable[kCodesPerWord * w + i]]) << (4 * i);
    }
    words[w] = word;
  }
}

void unpack_tile(const std::uint32_t* words, std::int64_t size_n, std::uint8_t* codes) {
  Tile tile;
  for (int w = 0; w < kPackTileWords; ++w) {
    for (int i = 0; i < kCodesPerWord; ++i) {
      tile[kTileTable[kCodesPerWord * w + i]] = words[w] >> (4 * i) & kMaxCode;
    }
  }
  for (int k = 0; k < kPackTileK; ++k) {
    std::memcpy(codes + k * size_n, &tile[kPackTileN * k], kPackTileN);
  }
}

// Calls one(first code of the tile, first word of the tile) for every pack tile, by rows of tiles.
template <typename One>
void for_tiles(const Problem& problem, const One& one) {
  const std::int64_t across = problem.shape.n / kPackTileN;
  for_ranges(problem.shape.k / kPackTileK, kPackTileK * problem.shape.n,
             [&](std::int64_t begin, std::int64_t end) {
               for (std::int64_t t = begin * across; t < end * across; ++t) {
                 one(t / across * kPackTileK * problem.shape.n + t % across * kPackTileN,
                     t * kPackTileWords);
               }
             });
}

// One group of at most kColumns columns -> their codes and scales. Many columns at a time, so that
// rows are read in long pieces also where the group is the whole k.
constexpr std::int64_t kColumns = 1024;

void quantize_group(const std::uint16_t* weights, std::int64_t rows, std::int64_t columns,
                    std::int64_t size_n, std::uint8_t* codes, std::uint16_t* scales) {
  std::array<std::uint16_t, kColumns> largest{};
  for (std::int64_t k = 0; k < rows; ++k) {
    for (std::int64_t c = 0; c < columns; ++c) {
      const std::uint16_t magnitude = weights[k * size_n + c] & kHalfMagnitude;
      largest[c] = std::max(largest[c], magnitude);
    }
  }
  std::array<float, kColumns> divisor;
  for (std::int64_t c = 0; c < columns; ++c) {
    scales[c] = std::min(float_to_half(half_to_float(largest[c]) * (2.0f / 15.0f)), kMaxScaleBits);
    // Where the scale is zero, dividing by infinity gives code 8.
    divisor[c] = scales[c] == 0 ? std::numeric_limits<float>::infinity() : half_to_float(scales[c]);
  }
  for (std::int64_t k = 0; k < rows; ++k) {
    for (std::int64_t c = 0; c < columns; ++c) {
      // |quotient| is at most 15: adding 1.5 * 2^23 leaves no room for a fraction, so it rounds to
      // nearest even.
      const float quotient = half_to_float(weights[k * size_n + c]) / divisor[c];
      const int rounded = static_cast<int>((quotient + 0x1.8p23f) - 0x1.8p23f);
      codes[k * size_n + c] =
          static_cast<std::uint8_t>(std::clamp(rounded + kCodeBias, 0, kMaxCode));
    }
  }
}

template <typename T, typename Convert>
void dequantize_as(const Problem& problem, std::span<const std::uint8_t> codes,
                   std::span<const std::uint16_t> scales, std::span<T> weights,
                   const Convert& convert) {
  require_packable(problem);
  require_codes(problem, codes);
  require_size("scales", scales.size(), scale_count(problem));
  require_size("weights", weights.size(), code_count(problem));
  const std::int64_t rows_per_scale = group_size(problem.shape.k, problem.scheme.group);
  for_ranges(problem.shape.k, problem.shape.n, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t k = begin; k < end; ++k) {
      const std::uint16_t* scale = &scales[k / rows_per_scale * problem.shape.n];
      for (std::int64_t n = 0; n < problem.shape.n; ++n) {
        const int value = codes[k * problem.shape.n + n] - kCodeBias;
        weights[k * problem.shape.n + n] =
            convert(static_cast<float>(value) * half_to_float(scale[n]));
      }
    }
  });
}

}  // namespace

std::optional<std::string> broken_packing_rule(const Problem& problem) {
  // m has no part in packing.
  return broken_rule(Problem{.shape = {.m = 1, .n = problem.shape.n, .k = problem.shape.k},
                             .scheme = problem.scheme});
}

void require_packable(const Problem& problem) {
  if (auto rule = broken_packing_rule(problem)) throw Error(ErrorCode::invalid_shape, *rule);
}

std::size_t packed_bytes(const Problem& problem) {
  require_packable(problem);
  return word_count(problem) * sizeof(std::uint32_t);
}

std::size_t scales_bytes(const Problem& problem) {
  require_packable(problem);
  return scale_count(problem) * sizeof(std::uint16_t);
}

void pack_codes(const Problem& problem, std::span<const std::uint8_t> codes,
                std::span<const std::uint16_t> scales, std::span<std::uint32_t> packed,
                std::span<std::uint16_t> packed_scales) {
  require_packable(problem);
  require_size("scales", scales.size(), scale_count(problem));
  require_size("packed", packed.size(), word_count(problem));
  require_size("packed_scales", packed_scales.size(), scale_count(problem));
  require_codes(problem, codes);
  require_scales(problem, scales);
  for_tiles(problem, [&](std::int64_t code, std::int64_t word) {
    pack_tile(&codes[code], problem.shape.n, &packed[word]);
  });
  const ScaleOrder order = scale_order(problem.shape.k, problem.scheme.group);
  for (std::int64_t g = 0; g < scale_rows(problem.shape.k, problem.scheme.group); ++g) {
    for (std::int64_t n = 0; n < problem.shape.n; ++n) {
      packed_scales[scale_index(order, g, n, problem.shape.n)] = scales[g * problem.shape.n + n];
    }
  }
}

void unpack_codes(const Problem& problem, std::span<const std::uint32_t> packed,
                  std::span<const std::uint16_t> packed_scales, std::span<std::uint8_t> codes,
                  std::span<std::uint16_t> scales) {
  require_packable(problem);
  require_size("packed", packed.size(), word_count(problem));
  require_size("packed_scales", packed_scales.size(), scale_count(problem));
  require_size("codes", codes.size(), code_count(problem));
  require_size("scales", scales.size(), scale_count(problem));
  for_tiles(problem, [&](std::int64_t code, std::int64_t word) {
    unpack_tile(&packed[word], problem.shape.n, &codes[code]);
  });
  const ScaleOrder order = scale_order(problem.shape.k, problem.scheme.group);
  for (std::int64_t g = 0; g < scale_rows(problem.shape.k, problem.scheme.group); ++g) {
    for (std::int64_t n = 0; n < problem.shape.n; ++n) {
      scales[g * problem.shape.n + n] = packed_scales[scale_index(order, g, n, problem.shape.n)];
    }
  }
}

void quantize_rtn(const Problem& problem, std::span<const std::uint16_t> weights,
                  std::span<std::uint8_t> codes, std::span<std::uint16_t> scales) {
  require_packable(problem);
  require_size("weights", weights.size(), code_count(problem));
  require_size("codes", codes.size(), code_count(problem));
  require_size("scales", scales.size(), scale_count(problem));
  require_finite("weight", "k", problem, weights);
  const std::int64_t rows = group_size(problem.shape.k, problem.scheme.group);
  const std::int64_t across = (problem.shape.n + kColumns - 1) / kColumns;
  const std::int64_t items = scale_rows(problem.shape.k, problem.scheme.group) * across;
  for_ranges(items, rows * std::min(problem.shape.n, kColumns),
             [&](std::int64_t begin, std::int64_t end) {
               for (std::int64_t i = begin; i < end; ++i) {
                 const std::int64_t g = i / across, n = i % across * kColumns;
                 const std::int64_t first = g * rows * problem.shape.n + n;
                 quantize_group(&weights[first], rows, std::min(kColumns, problem.shape.n - n),
                                problem.shape.n, &codes[first], &scales[g * problem.shape.n + n]);
               }
             });
}

void dequantize(const Problem& problem, std::span<const std::uint8_t> codes,
                std::span<const std::uint16_t> scales, std::span<std::uint16_t> weights) {
  dequantize_as(problem, codes, scales, weights, [](float value) { return float_to_half(value); });
}

void dequantize(const Problem& problem, std::span<const std::uint8_t> codes,
                std::span<const std::uint16_t> scales, std::span<float> weights) {
  dequantize_as(problem, codes, scales, weights, [](float value) { return value; });
}

PackedWeights pack_codes(const Problem& problem, std::span<const std::uint8_t> codes,
                         std::span<const std::uint16_t> scales) {
  require_packable(problem);
  PackedWeights out;
  out.packed.resize(word_count(problem));
  out.packed_scales.resize(scale_count(problem));
  pack_codes(problem, codes, scales, out.packed, out.packed_scales);
  return out;
}

PackedWeights pack_rtn(const Problem& problem, std::span<const std::uint16_t> weights) {
  require_packable(problem);
  std::vector<std::uint8_t> codes(code_count(problem));
  std::vector<std::uint16_t> scales(scale_count(problem));
  quantize_rtn(problem, weights, codes, scales);
  return pack_codes(problem, codes, scales);
}

}  // namespace marlin
