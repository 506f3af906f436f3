// (slices, k tiles, blocks) -> the segments of every block. Entry point: cut_stripes.
#include "codegen/stripes.h"

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

}  // namespace

std::vector<std::vector<Segment>> cut_stripes(int slices, int k_tiles, int blocks) {
  const std::int64_t total = std::int64_t{slices} * k_tiles;
  const std::int64_t base = total / blocks, longer = total % blocks;
  std::vector<std::vector<Segment>> stripes;
  stripes.reserve(blocks);
  for (std::int64_t b = 0; b < blocks; ++b) {
    const std::int64_t first = b * base + std::min(b, longer);
    stripes.push_back(cut_one(first, base + (b < longer ? 1 : 0), k_tiles));
  }
  number_owners(stripes, slices);
  return stripes;
}

SharedSlices count_shared(const std::vector<std::vector<Segment>>& stripes) {
  SharedSlices shared;
  for (const auto& stripe : stripes) {
    for (const Segment& segment : stripe) {
      if (segment.owners < 2) continue;
      shared.counters = std::max<std::int64_t>(shared.counters, segment.counter + 1);
      shared.slots += 1;
    }
  }
  return shared;
}

}  // namespace marlin
