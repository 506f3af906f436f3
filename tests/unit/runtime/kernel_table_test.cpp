// The table of kernels in memory: what is put in is found, at every size, by many threads at once.
// Entry point: the tests of suite KernelTable.
#include "runtime/launch/kernel_table.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "tests/unit/problems.h"

namespace marlin {
namespace {

// The table never looks behind the pointer, so a number will do for a kernel.
const Kernel* kernel_number(std::uintptr_t number) {
  return reinterpret_cast<const Kernel*>(number);
}

TableKey key_number(int i) {
  return {i % 3,
          132,
          i % 2,
          {.shape = {.m = 1 + i % 7, .n = 64 * (1 + i / 5), .k = 128 * (1 + i % 11)},
           .scheme = {.group = 128}}};
}

TEST(KernelTable, FindsNothingWhereNothingWasPut) {
  const KernelTable table;
  EXPECT_EQ(table.find(key_number(1)), nullptr);
}

TEST(KernelTable, FindsEachKernelThroughEveryGrowth) {
  KernelTable table;
  constexpr int kCount = 5000;
  for (int i = 0; i < kCount; ++i) {
    ASSERT_EQ(table.find(key_number(i)), nullptr) << i;
    table.insert(key_number(i), kernel_number(i + 1));
  }
  for (int i = 0; i < kCount; ++i) {
    ASSERT_EQ(table.find(key_number(i)), kernel_number(i + 1)) << i;
  }
  EXPECT_EQ(table.find(key_number(kCount)), nullptr);
}

TEST(KernelTable, TheFirstKernelOfAKeyStays) {
  KernelTable table;
  EXPECT_EQ(table.insert(key_number(4), kernel_number(1)), kernel_number(1));
  EXPECT_EQ(table.insert(key_number(4), kernel_number(2)), kernel_number(1));
  EXPECT_EQ(table.find(key_number(4)), kernel_number(1));
}

TEST(KernelTable, AnAssignedKernelTakesTheOldOnesPlaceThroughEveryGrowth) {
  KernelTable table;
  constexpr int kCount = 500;
  for (int i = 0; i < kCount; ++i) {
    table.assign(key_number(i), kernel_number(i + 1));
    table.assign(key_number(i / 2), kernel_number(1000 + i));
  }
  for (int i = 0; i < kCount; ++i) {
    const int last = 2 * i + 1 < kCount ? 1000 + 2 * i + 1 : i + 1;
    ASSERT_EQ(table.find(key_number(i)), kernel_number(last)) << i;
  }
}

TEST(KernelTable, EveryFieldOfTheKeyTells) {
  const TableKey base = {
      0,
      132,
      0,
      {.shape = {.m = 16, .n = 4096, .k = 4096, .exact_m = false}, .scheme = {.group = 128}}};
  std::vector<TableKey> others(8, base);
  others[0].device = 1;
  others[1].variant = 1;
  others[2].problem.shape.m = 32;
  others[3].problem.shape.n = 8192;
  others[4].problem.shape.k = 8192;
  others[5].problem.scheme.group = -1;
  others[6].problem.shape.exact_m = true;
  others[7].sms = 32;
  KernelTable table;
  table.insert(base, kernel_number(1));
  for (const TableKey& other : others) EXPECT_EQ(table.find(other), nullptr);
  for (const TableKey& other : others) EXPECT_NE(TableKeyHash()(other), TableKeyHash()(base));
}

// Linear probing is short only while the hash's low bits spread keys that differ in few bits.
TEST(KernelTable, LowBitsOfTheHashSpreadRealShapes) {
  std::set<std::size_t> slots;
  int keys = 0;
  for (std::int64_t m = 1; m <= 64; m *= 2) {
    for (const std::int64_t n : {1024, 4096, 6144, 8192, 14336, 28672}) {
      for (const std::int64_t k : {1024, 4096, 8192, 14336, 28672}) {
        slots.insert(TableKeyHash()({0, 132, 0, problem_of(m, n, k)}) & 511);
        ++keys;
      }
    }
  }
  // 210 keys thrown at random into 512 slots fill 172 of them; 6 deviations below that is 150.
  EXPECT_EQ(keys, 210);
  EXPECT_GE(slots.size(), 150u);
}

TEST(KernelTable, ReadersSeeWholeEntriesWhileWritersAddThem) {
  KernelTable table;
  constexpr int kCount = 2000, kWriters = 2, kReaders = 2;
  std::atomic<int> writing{kWriters};
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int writer = 0; writer < kWriters; ++writer) {
    threads.emplace_back([&] {
      for (int i = 0; i < kCount; ++i) table.insert(key_number(i), kernel_number(i + 1));
      --writing;
    });
  }
  for (int reader = 0; reader < kReaders; ++reader) {
    threads.emplace_back([&, reader] {
      std::minstd_rand random(static_cast<unsigned>(reader) + 1);
      while (writing > 0) {
        const int i = static_cast<int>(random() % kCount);
        const Kernel* found = table.find(key_number(i));
        if (found != nullptr && found != kernel_number(i + 1)) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  for (int i = 0; i < kCount; ++i) ASSERT_EQ(table.find(key_number(i)), kernel_number(i + 1));
}

}  // namespace
}  // namespace marlin
