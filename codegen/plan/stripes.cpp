// (tiles, k tiles, blocks) -> the segments of every block. Entry points: cut_stripes,
// count_shared.
#include "codegen/plan/stripes.h"

#include <algorithm>

namespace marlin {

namespace {

std::vector<Segment> cut_one(std::int64_t first, std::int64_t tiles, int k_tiles) {
  std::vector<Segment> segments;
  while (tiles > 0) {
    Segment segment;
    segment.tile = static_cast<int>(first / k_tiles);
    segment.k_begin = static_cast<int>(first % k_tiles);
    segment.k_tiles = static_cast<int>(std::min<std::int64_t>(k_tiles - segment.k_begin, tiles));
    segments.push_back(segment);
    first += segment.k_tiles;
    tiles -= segment.k_tiles;
  }
  return segments;
}

void number_contributors(std::vector<std::vector<Segment>>& stripes, int tiles) {
  std::vector<int> contributors(tiles, 0);
  for (auto& stripe : stripes) {
    for (Segment& segment : stripe) segment.rank = contributors[segment.tile]++;
  }
  std::vector<int> counter(tiles, -1), slot(tiles, -1);
  int counters = 0, slots = 0;
  for (int tile = 0; tile < tiles; ++tile) {
    if (contributors[tile] < 2) continue;
    counter[tile] = counters++;
    slot[tile] = slots;
    slots += contributors[tile];
  }
  for (auto& stripe : stripes) {
    for (Segment& segment : stripe) {
      segment.contributors = contributors[segment.tile];
      segment.counter = counter[segment.tile];
      segment.slot = slot[segment.tile];
    }
  }
}

// Where block b's stripe begins, in k tiles of all tiles laid end to end.
std::int64_t cut(std::int64_t total, int blocks, std::int64_t b) {
  return b * (total / blocks) + std::min(b, total % blocks);
}

}  // namespace

std::vector<std::vector<Segment>> cut_stripes(int tiles, int k_tiles, int blocks) {
  const std::int64_t total = std::int64_t{tiles} * k_tiles;
  std::vector<std::vector<Segment>> stripes;
  stripes.reserve(blocks);
  for (int b = 0; b < blocks; ++b) {
    const std::int64_t first = cut(total, blocks, b);
    stripes.push_back(cut_one(first, cut(total, blocks, b + 1) - first, k_tiles));
  }
  number_contributors(stripes, tiles);
  return stripes;
}

SharedTiles count_shared(int tiles, int k_tiles, int blocks) {
  const std::int64_t total = std::int64_t{tiles} * k_tiles;
  SharedTiles shared;
  std::int64_t last_shared = -1;
  for (int b = 1; b < blocks; ++b) {
    const std::int64_t at = cut(total, blocks, b);
    if (at % k_tiles == 0) continue;  // between two tiles
    if (at / k_tiles != last_shared) {
      last_shared = at / k_tiles;
      shared.counters += 1;
      shared.slots += 1;
    }
    shared.slots += 1;
  }
  return shared;
}

}  // namespace marlin
