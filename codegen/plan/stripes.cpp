// (slices, k tiles, blocks) -> the segments of every block. Entry points: cut_stripes,
// count_shared.
#include "codegen/plan/stripes.h"

#include <algorithm>

namespace marlin {

namespace {

std::vector<Segment> cut_one(std::int64_t first, std::int64_t tiles, int k_tiles) {
  std::vector<Segment> segments;
  while (tiles > 0) {
    Segment segment;
    segment.slice = static_cast<int>(first / k_tiles);
    segment.k_begin = static_cast<int>(first % k_tiles);
    segment.k_tiles = static_cast<int>(std::min<std::int64_t>(k_tiles - segment.k_begin, tiles));
    segments.push_back(segment);
    first += segment.k_tiles;
    tiles -= segment.k_tiles;
  }
  return segments;
}

void number_owners(std::vector<std::vector<Segment>>& stripes, int slices) {
  std::vector<int> owners(slices, 0);
  for (auto& stripe : stripes) {
    for (Segment& segment : stripe) segment.rank = owners[segment.slice]++;
  }
  std::vector<int> counter(slices, -1), slot(slices, -1);
  int counters = 0, slots = 0;
  for (int slice = 0; slice < slices; ++slice) {
    if (owners[slice] < 2) continue;
    counter[slice] = counters++;
    slot[slice] = slots;
    slots += owners[slice];
  }
  for (auto& stripe : stripes) {
    for (Segment& segment : stripe) {
      segment.owners = owners[segment.slice];
      segment.counter = counter[segment.slice];
      segment.slot = slot[segment.slice];
    }
  }
}

// Where block b's stripe begins, in k tiles of all slices laid end to end.
std::int64_t cut(std::int64_t total, int blocks, std::int64_t b) {
  return b * (total / blocks) + std::min(b, total % blocks);
}

}  // namespace

std::vector<std::vector<Segment>> cut_stripes(int slices, int k_tiles, int blocks) {
  const std::int64_t total = std::int64_t{slices} * k_tiles;
  std::vector<std::vector<Segment>> stripes;
  stripes.reserve(blocks);
  for (int b = 0; b < blocks; ++b) {
    const std::int64_t first = cut(total, blocks, b);
    stripes.push_back(cut_one(first, cut(total, blocks, b + 1) - first, k_tiles));
  }
  number_owners(stripes, slices);
  return stripes;
}

SharedSlices count_shared(int slices, int k_tiles, int blocks) {
  const std::int64_t total = std::int64_t{slices} * k_tiles;
  SharedSlices shared;
  std::int64_t last_shared = -1;
  for (int b = 1; b < blocks; ++b) {
    const std::int64_t at = cut(total, blocks, b);
    if (at % k_tiles == 0) continue;  // between two slices
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
