// The partition of tiles over blocks: each tile once, work level, contributors, ranks, counters and
// slots consistent.
#include "codegen/plan/stripes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

namespace marlin {
namespace {

using Stripes = std::vector<std::vector<Segment>>;

TEST(Stripes, WorkedByHand) {
  // Three tiles of four k tiles over five blocks: 12 tiles as 3 3 2 2 2.
  const Stripes expected = {
      {{0, 0, 3, 2, 0, 0, 0}}, {{0, 3, 1, 2, 1, 0, 0}, {1, 0, 2, 2, 0, 1, 2}},
      {{1, 2, 2, 2, 1, 1, 2}}, {{2, 0, 2, 2, 0, 2, 4}},
      {{2, 2, 2, 2, 1, 2, 4}},
  };
  EXPECT_EQ(cut_stripes(3, 4, 5), expected);
  EXPECT_EQ(count_shared(3, 4, 5).counters, 3);
  EXPECT_EQ(count_shared(3, 4, 5).slots, 6);
}

TEST(Stripes, OneBlockEachSharesNothing) {
  const Stripes stripes = cut_stripes(7, 5, 7);
  for (int b = 0; b < 7; ++b) {
    EXPECT_EQ(stripes[b], (std::vector<Segment>{{b, 0, 5, 1, 0, -1, -1}}));
  }
  EXPECT_EQ(count_shared(7, 5, 7).counters, 0);
  EXPECT_EQ(count_shared(7, 5, 7).slots, 0);
  EXPECT_EQ(count_shared(1, 5, 1).slots, 0);
}

TEST(Stripes, OneBlockDoesEverything) {
  const Stripes stripes = cut_stripes(3, 2, 1);
  EXPECT_EQ(stripes,
            (Stripes{{{0, 0, 2, 1, 0, -1, -1}, {1, 0, 2, 1, 0, -1, -1}, {2, 0, 2, 1, 0, -1, -1}}}));
}

struct Cut {
  int tiles, k_tiles, blocks;
  Stripes stripes;
};

// Hundreds of random partitions, small ones and ones of real layers.
std::vector<Cut> random_cuts() {
  std::mt19937 random(20240611);
  std::vector<Cut> cuts;
  for (int i = 0; i < 600; ++i) {
    const bool small = i % 2 == 0;
    const int tiles = 1 + static_cast<int>(random() % (small ? 12 : 500));
    const int k_tiles = 1 + static_cast<int>(random() % (small ? 9 : 224));
    const int most = std::min(tiles * k_tiles, small ? 20 : 400);
    const int blocks = 1 + static_cast<int>(random() % most);
    cuts.push_back({tiles, k_tiles, blocks, cut_stripes(tiles, k_tiles, blocks)});
  }
  return cuts;
}

TEST(Stripes, CoverEachTileOnce) {
  for (const Cut& cut : random_cuts()) {
    SCOPED_TRACE(testing::Message() << cut.tiles << ' ' << cut.k_tiles << ' ' << cut.blocks);
    ASSERT_EQ(static_cast<int>(cut.stripes.size()), cut.blocks);
    std::vector<int> times(static_cast<std::size_t>(cut.tiles) * cut.k_tiles, 0);
    for (const auto& stripe : cut.stripes) {
      ASSERT_FALSE(stripe.empty());
      for (const Segment& s : stripe) {
        ASSERT_TRUE(s.tile >= 0 && s.tile < cut.tiles);
        ASSERT_TRUE(s.k_begin >= 0 && s.k_tiles >= 1 && s.k_begin + s.k_tiles <= cut.k_tiles);
        for (int k = 0; k < s.k_tiles; ++k) ++times[s.tile * cut.k_tiles + s.k_begin + k];
      }
    }
    ASSERT_EQ(times, std::vector<int>(times.size(), 1));
  }
}

TEST(Stripes, GiveEveryBlockTheSameWork) {
  for (const Cut& cut : random_cuts()) {
    int least = 1 << 30, most = 0;
    for (const auto& stripe : cut.stripes) {
      int tiles = 0;
      for (const Segment& s : stripe) tiles += s.k_tiles;
      least = std::min(least, tiles);
      most = std::max(most, tiles);
    }
    ASSERT_LE(most - least, 1) << cut.tiles << ' ' << cut.k_tiles << ' ' << cut.blocks;
  }
}

// The kernel walks from a stripe's first tile through the tiles in order; it looks up only whom it
// shares the first and the last segment with.
TEST(Stripes, RunOnAndShareOnlyTheFirstAndLastSegment) {
  for (const Cut& cut : random_cuts()) {
    SCOPED_TRACE(testing::Message() << cut.tiles << ' ' << cut.k_tiles << ' ' << cut.blocks);
    for (const auto& stripe : cut.stripes) {
      for (std::size_t i = 0; i < stripe.size(); ++i) {
        const Segment& s = stripe[i];
        if (i > 0) {
          ASSERT_EQ(s.tile, stripe[i - 1].tile + 1);
          ASSERT_EQ(s.k_begin, 0);
        }
        const bool last = i + 1 == stripe.size();
        ASSERT_TRUE(last || s.k_begin + s.k_tiles == cut.k_tiles);
        ASSERT_TRUE(i == 0 || last || s.contributors == 1);
        ASSERT_EQ(s.contributors == 1, s.k_tiles == cut.k_tiles);
      }
    }
  }
}

TEST(Stripes, NumberOwnersInTheOrderOfTheirK) {
  for (const Cut& cut : random_cuts()) {
    SCOPED_TRACE(testing::Message() << cut.tiles << ' ' << cut.k_tiles << ' ' << cut.blocks);
    std::vector<std::vector<Segment>> tiles(cut.tiles);
    for (const auto& stripe : cut.stripes) {
      for (const Segment& s : stripe) tiles[s.tile].push_back(s);
    }
    for (auto& contributors : tiles) {
      std::sort(contributors.begin(), contributors.end(),
                [](const Segment& x, const Segment& y) { return x.k_begin < y.k_begin; });
      for (std::size_t rank = 0; rank < contributors.size(); ++rank) {
        ASSERT_EQ(contributors[rank].rank, static_cast<int>(rank));
        ASSERT_EQ(contributors[rank].contributors, static_cast<int>(contributors.size()));
        ASSERT_EQ(contributors[rank].counter, contributors[0].counter);
        ASSERT_EQ(contributors[rank].slot, contributors[0].slot);
      }
    }
  }
}

TEST(Stripes, CountersAndSlotsAreDisjointAndDense) {
  for (const Cut& cut : random_cuts()) {
    SCOPED_TRACE(testing::Message() << cut.tiles << ' ' << cut.k_tiles << ' ' << cut.blocks);
    const SharedTiles shared = count_shared(cut.tiles, cut.k_tiles, cut.blocks);
    std::vector<int> counters(shared.counters, 0), slots(shared.slots, 0);
    for (const auto& stripe : cut.stripes) {
      for (const Segment& s : stripe) {
        if (s.contributors == 1) {
          ASSERT_EQ(s.counter, -1);
          ASSERT_EQ(s.slot, -1);
          continue;
        }
        ASSERT_TRUE(s.counter >= 0 && s.counter < shared.counters);
        ASSERT_TRUE(s.slot >= 0 && s.slot + s.contributors <= shared.slots);
        ++slots[s.slot + s.rank];
        if (s.rank == 0) ++counters[s.counter];
      }
    }
    ASSERT_EQ(counters, std::vector<int>(counters.size(), 1));
    ASSERT_EQ(slots, std::vector<int>(slots.size(), 1));
  }
}

}  // namespace
}  // namespace marlin
