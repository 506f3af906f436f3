// Rows of a matrix -> the heights of tiles that cover them well. Entry points: rows_beyond,
// tile_heights.
#include "codegen/plan/tile_rows.h"

#include <algorithm>

#include "codegen/base/integers.h"

namespace marlin {

namespace {

constexpr int kStep = 8;  // rows: what a product of the tensor cores can have more or less

// The largest heights first, and no more than a search wants.
std::vector<int> lean_heights(const Shape& shape, int least, int most) {
  constexpr std::size_t kEnough = 5;
  constexpr std::int64_t kFewRows = 256, kFewBeyond = 8, kBeyond = 16;
  const std::int64_t bound = shape.m <= kFewRows ? kFewBeyond : kBeyond;
  std::vector<int> heights;
  for (int rows = most; rows >= kStep && heights.size() < kEnough; rows -= kStep) {
    if (rows < least && !heights.empty()) break;
    if (rows_beyond(shape, rows) < bound) heights.push_back(rows);
  }
  return heights;
}

std::vector<int> even_heights(std::int64_t m, int least, int most) {
  std::vector<int> heights;
  for (std::int64_t tiles = ceil_div(m, most);; ++tiles) {
    const int rows = round_up(ceil_div(m, tiles), kStep);
    if (rows < least) return heights;
    if (heights.empty() || rows < heights.back()) heights.push_back(rows);
  }
}

}  // namespace

std::int64_t rows_beyond(const Shape& shape, int tile_m) {
  return std::int64_t{ceil_div(shape.m, tile_m)} * tile_m - shape.m;
}

std::vector<int> tile_heights(const Shape& shape, int least, int most) {
  std::vector<int> heights;
  if (shape.exact_m) heights = lean_heights(shape, least, most);
  if (heights.empty()) heights = even_heights(shape.m, least, most);
  std::reverse(heights.begin(), heights.end());
  return heights;
}

}  // namespace marlin
