// Workspaces against a make-believe driver: which stream gets which memory, zeroed, and when it is
// allocated. Entry point: the tests of suite WorkspacesTest.
#include "runtime/launch/workspaces.h"

#include <gtest/gtest.h>

#include <set>
#include <thread>
#include <vector>

#include "codegen/base/error.h"
#include "tests/stubs/fake_cuda.h"
#include "tests/unit/together.h"

namespace marlin {
namespace {

constexpr std::size_t kBytes = 4096;

CUstream stream_number(std::uintptr_t number) {
  return reinterpret_cast<CUstream>(0x10000 + 0x100 * number);
}

test::FakeMemory memory_at(const void* pointer) {
  const std::lock_guard lock(fake_cuda()->mutex);
  return fake_cuda()->memory.at(reinterpret_cast<CUdeviceptr>(pointer));
}

class WorkspacesTest : public testing::Test {
 protected:
  void SetUp() override { fake_cuda()->spoilt = fake_cuda()->unrelaxed = 0; }
  void TearDown() override {
    fake_cuda()->blocking_capture = false;
    fake_cuda()->captured_stream = nullptr;
    fake_cuda()->alloc_result = CUDA_SUCCESS;
    fake_cuda()->memset_result = CUDA_SUCCESS;
    EXPECT_EQ(fake_cuda()->streams, 0);
    EXPECT_EQ(fake_cuda()->spoilt, 0);
    EXPECT_EQ(fake_cuda()->unrelaxed, 0);
  }

  Workspaces workspaces_;
};

TEST_F(WorkspacesTest, TheFirstNeedAllocatesZeroedMemoryAndTheNextFindsIt) {
  const int before = fake_cuda()->allocations;
  void* first = workspaces_.get(1, stream_number(1), kBytes);
  EXPECT_TRUE(memory_at(first).zeroed);
  EXPECT_EQ(memory_at(first).bytes, kBytes);
  EXPECT_EQ(workspaces_.get(1, stream_number(1), kBytes), first);
  EXPECT_EQ(workspaces_.get(1, stream_number(1), 1), first);
  EXPECT_EQ(fake_cuda()->allocations, before + 1);
}

TEST_F(WorkspacesTest, EachStreamOfEachContextHasItsOwn) {
  std::set<void*> all;
  for (const std::uint64_t context : {1, 2}) {
    for (std::uintptr_t stream = 0; stream < 100; ++stream) {
      all.insert(workspaces_.get(context, stream == 0 ? nullptr : stream_number(stream), kBytes));
    }
  }
  EXPECT_EQ(all.size(), 200u);
  for (const std::uint64_t context : {1, 2}) {
    EXPECT_EQ(all.count(workspaces_.get(context, stream_number(7), kBytes)), 1u);
  }
}

TEST_F(WorkspacesTest, BothHandlesOfTheLegacyStreamAreOne) {
  EXPECT_EQ(workspaces_.get(1, nullptr, kBytes), workspaces_.get(1, CU_STREAM_LEGACY, kBytes));
}

// One handle for a stream of each thread that is alive.
TEST_F(WorkspacesTest, EachThreadHasItsPerThreadStream) {
  const auto own = [&] { return workspaces_.get(1, CU_STREAM_PER_THREAD, kBytes); };
  void* mine = own();
  void* theirs = nullptr;
  std::thread([&] { theirs = own(); }).join();
  EXPECT_NE(mine, theirs);
  EXPECT_EQ(own(), mine);
  const int before = fake_cuda()->allocations;
  for (int i = 0; i < 10; ++i) {  // one after the other: each takes over from the one before
    std::thread([&] { EXPECT_EQ(own(), theirs); }).join();
  }
  EXPECT_EQ(fake_cuda()->allocations, before);
}

TEST_F(WorkspacesTest, GrowthIsAtLeastTwofoldAndKeepsTheOld) {
  void* small = workspaces_.get(1, stream_number(1), kBytes);
  void* grown = workspaces_.get(1, stream_number(1), kBytes + 1);
  EXPECT_NE(grown, small);
  EXPECT_EQ(memory_at(grown).bytes, 2 * kBytes);
  EXPECT_TRUE(memory_at(grown).zeroed);
  EXPECT_EQ(memory_at(small).bytes, kBytes);  // not freed
  EXPECT_EQ(workspaces_.get(1, stream_number(1), 1), grown);
  void* large = workspaces_.get(1, stream_number(1), 10 * kBytes);
  EXPECT_EQ(memory_at(large).bytes, 10 * kBytes);
}

TEST_F(WorkspacesTest, WhatIsExpectedOfAContextIsAllocatedAtOnce) {
  workspaces_.expect(1, 5 * kBytes);
  workspaces_.expect(1, 3 * kBytes);
  void* first = workspaces_.get(1, stream_number(1), kBytes);
  EXPECT_EQ(memory_at(first).bytes, 5 * kBytes);
  EXPECT_EQ(workspaces_.get(1, stream_number(1), 5 * kBytes), first);
  EXPECT_EQ(memory_at(workspaces_.get(2, stream_number(1), kBytes)).bytes, kBytes);
}

// TearDown looks whether anything was done that a capture does not allow.
TEST_F(WorkspacesTest, AllocatesBesideACapture) {
  fake_cuda()->captured_stream = stream_number(1);
  fake_cuda()->blocking_capture = true;
  for (const CUstream stream : {stream_number(1), stream_number(2), CUstream{nullptr}}) {
    EXPECT_TRUE(memory_at(workspaces_.get(1, stream, kBytes)).zeroed);
  }
}

TEST_F(WorkspacesTest, AFailureIsAnErrorThatLeavesNothingBehind) {
  const auto refusal = [&] {
    try {
      workspaces_.get(1, stream_number(1), kBytes);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::driver_failed);
      return std::string(error.what());
    }
    return std::string();
  };
  const std::size_t held = fake_cuda()->memory.size();
  fake_cuda()->alloc_result = CUDA_ERROR_OUT_OF_MEMORY;
  EXPECT_EQ(refusal().substr(0, 37), "allocating a workspace of 4096 bytes:");
  fake_cuda()->alloc_result = CUDA_SUCCESS;
  fake_cuda()->memset_result = CUDA_ERROR_LAUNCH_FAILED;
  EXPECT_EQ(refusal().substr(0, 20), "zeroing a workspace:");
  fake_cuda()->memset_result = CUDA_SUCCESS;
  EXPECT_EQ(fake_cuda()->memory.size(), held);
  EXPECT_TRUE(memory_at(workspaces_.get(1, stream_number(1), kBytes)).zeroed);
}

TEST_F(WorkspacesTest, ManyThreadsAgreeOnEachStreamsBuffer) {
  constexpr std::size_t kThreads = 8, kStreams = 100;
  const int before = fake_cuda()->allocations;
  std::vector<std::vector<void*>> got(kThreads, std::vector<void*>(kStreams));
  test::run_together(kThreads, [&](std::size_t t) {
    for (std::size_t i = 0; i < kStreams; ++i) {
      const std::size_t at = (i + 13 * t) % kStreams;
      got[t][at] = workspaces_.get(1, stream_number(at + 1), kBytes);
    }
  });
  EXPECT_EQ(fake_cuda()->allocations, before + static_cast<int>(kStreams));
  for (std::size_t t = 1; t < kThreads; ++t) EXPECT_EQ(got[t], got[0]);
}

}  // namespace
}  // namespace marlin
