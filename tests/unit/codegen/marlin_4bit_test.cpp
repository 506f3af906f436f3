// Positions of codes and scales: a few worked by hand, then that they are one-to-one.
#include "codegen/formats/marlin_4bit.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace marlin {
namespace {

TEST(PackingLayout, PositionsWorkedByHand) {
  struct Case {
    std::int64_t k, n, word;
    int nibble;
  };
  // n = 128: a row of words is one k16 step, 256 words, of two tiles.
  const Case cases[] = {
      {0, 0, 0, 0},       // lane 0, word 0, value 0
      {1, 0, 0, 4},       // value 1 goes to the high half
      {8, 0, 0, 1},       // value 2
      {9, 0, 0, 5},       // value 3
      {0, 8, 0, 2},       // value 4: eight columns on
      {9, 8, 0, 7},       // value 7
      {2, 0, 4, 0},       // lane 1
      {0, 1, 16, 0},      // lane 4
      {0, 16, 1, 0},      // word 1 of lane 0
      {7, 7, 124, 4},     // lane 31
      {0, 64, 128, 0},    // the next tile
      {16, 0, 256, 0},    // the next k16 step
      {31, 127, 511, 7},  // lane 31, word 3, value 7 of the last tile
  };
  for (const Case& c : cases) {
    EXPECT_EQ(word_index(c.k, c.n, 128), c.word) << c.k << ' ' << c.n;
    EXPECT_EQ(nibble(c.k, c.n), c.nibble) << c.k << ' ' << c.n;
  }
}

TEST(PackingLayout, EveryCodeHasItsOwnNibble) {
  for (const std::int64_t n : {64, 192}) {
    const std::int64_t k = 64;
    EXPECT_EQ(packed_words(k, n), k * n / 8);
    std::vector<std::uint32_t> taken(packed_words(k, n), 0);
    for (std::int64_t row = 0; row < k; ++row) {
      for (std::int64_t column = 0; column < n; ++column) {
        const std::int64_t word = word_index(row, column, n);
        const int i = nibble(row, column);
        ASSERT_TRUE(word >= 0 && word < packed_words(k, n) && i >= 0 && i < 8);
        taken[word] |= 1u << i;
        ASSERT_EQ(code_position(word, i, n), (CodePosition{row, column}));
      }
    }
    for (const std::uint32_t nibbles : taken) ASSERT_EQ(nibbles, 0xffu);
  }
}

TEST(PackingLayout, ScalePositionsWorkedByHand) {
  EXPECT_EQ(scale_position(ScaleOrder::grouped, 8), 1);
  EXPECT_EQ(scale_position(ScaleOrder::grouped, 1), 8);
  EXPECT_EQ(scale_position(ScaleOrder::grouped, 64 + 57), 64 + 15);
  EXPECT_EQ(scale_position(ScaleOrder::single, 1), 1);
  EXPECT_EQ(scale_position(ScaleOrder::single, 8), 2);
  EXPECT_EQ(scale_position(ScaleOrder::single, 2), 8);
  EXPECT_EQ(scale_position(ScaleOrder::single, 32 + 25), 32 + 7);
  EXPECT_EQ(scale_index(ScaleOrder::grouped, 3, 8, 192), 3 * 192 + 1);
}

TEST(PackingLayout, ScalePositionsInvert) {
  for (const ScaleOrder order : {ScaleOrder::grouped, ScaleOrder::single}) {
    std::vector<int> taken(192, 0);
    for (std::int64_t n = 0; n < 192; ++n) {
      const std::int64_t p = scale_position(order, n);
      ASSERT_TRUE(p / kScaleBlock == n / kScaleBlock);
      ASSERT_EQ(scale_column(order, p), n);
      ++taken[p];
    }
    EXPECT_EQ(taken, std::vector<int>(192, 1));
  }
}

TEST(PackingLayout, OnlyTheNumberOfGroupsDecidesTheScaleOrder) {
  EXPECT_EQ(scale_order(4096, 128), ScaleOrder::grouped);
  EXPECT_EQ(scale_order(4096, -1), ScaleOrder::single);
  EXPECT_EQ(scale_order(128, 128), ScaleOrder::single);
  EXPECT_EQ(scale_rows(4096, 128), 32);
  EXPECT_EQ(scale_rows(4096, -1), 1);
}

}  // namespace
}  // namespace marlin
