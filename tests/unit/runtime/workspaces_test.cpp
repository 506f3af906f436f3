// Workspaces against a make-believe driver: which stream gets which memory, zeroed, and when it is
// allocated. Entry point: the tests of suite WorkspacesTest.
#include "runtime/launch/workspaces.h"

#include <gtest/gtest.h>

#include <atomic>
#include <iterator>
#include <map>
#include <set>
#include <string>
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

// The allocation that holds this buffer.
test::FakeMemory memory_at(const void* pointer) {
  const std::lock_guard lock(fake_cuda()->mutex);
  const auto after = fake_cuda()->memory.upper_bound(reinterpret_cast<CUdeviceptr>(pointer));
  return std::prev(after)->second;
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

  // As a launch does: the buffer that it had.
  void* use(std::uint64_t context, CUstream stream, std::size_t bytes = kBytes) {
    Workspaces::Lease lease = workspaces_.lend(context, stream, bytes);
    void* const pointer = lease.pointer();
    lease.enqueued();
    return pointer;
  }

  static std::size_t events() {
    const std::lock_guard lock(fake_cuda()->mutex);
    return fake_cuda()->events.size();
  }
  static test::FakeEvent event(std::size_t number) {
    const std::lock_guard lock(fake_cuda()->mutex);
    return fake_cuda()->events.at(number);
  }

  // The graph of this capture is destroyed, with all its instances.
  static void destroy_graph(std::uint64_t capture) {
    for (const test::FakeUserObject& object : fake_cuda()->user_objects) {
      if (object.graph == reinterpret_cast<CUgraph>(std::uintptr_t{capture})) {
        object.destroy(object.object);
      }
    }
  }

  static constexpr std::size_t kAll = Workspaces::kOwn + Workspaces::kShared;
  Workspaces workspaces_;
};

TEST_F(WorkspacesTest, TheFirstStreamsHaveTheirOwnFromOneZeroedAllocation) {
  const int before = fake_cuda()->allocations;
  std::set<void*> all;
  for (std::uintptr_t stream = 1; stream <= Workspaces::kOwn; ++stream) {
    void* first = use(1, stream_number(stream));
    EXPECT_TRUE(memory_at(first).zeroed);
    EXPECT_EQ(memory_at(first).bytes, kAll * kBytes);
    EXPECT_EQ(use(1, stream_number(stream)), first);
    EXPECT_EQ(use(1, stream_number(stream), 1), first);
    all.insert(first);
  }
  EXPECT_EQ(all.size(), Workspaces::kOwn);
  EXPECT_EQ(fake_cuda()->allocations, before + 1);
  use(2, stream_number(1));
  EXPECT_EQ(fake_cuda()->allocations, before + 2);  // of another context
}

// A server's streams come and go; each is handed a buffer after all that was enqueued with it.
TEST_F(WorkspacesTest, HoweverManyStreamsComeTheMemoryIsBounded) {
  const int before = fake_cuda()->allocations;
  for (std::uintptr_t stream = 1; stream <= Workspaces::kOwn; ++stream) {
    use(1, stream_number(stream));
  }
  const std::size_t none = events();
  std::map<void*, CUstream> last;  // of each shared buffer
  for (std::uintptr_t stream = 10; stream < 510; ++stream) {
    const std::size_t from = events();
    void* pointer = use(1, stream_number(stream));
    const bool handed_over = last.count(pointer) != 0;
    ASSERT_EQ(events(), from + (handed_over ? 2 : 1));
    if (handed_over) {
      EXPECT_TRUE(event(from).wait);
      EXPECT_EQ(event(from).stream, stream_number(stream));
    }
    const test::FakeEvent recorded = event(events() - 1);
    EXPECT_FALSE(recorded.wait);
    EXPECT_EQ(recorded.stream, stream_number(stream));
    EXPECT_TRUE(!handed_over || event(from).event == recorded.event);
    last[pointer] = stream_number(stream);
  }
  EXPECT_EQ(last.size(), Workspaces::kShared);
  EXPECT_EQ(fake_cuda()->allocations, before + 1);
  // The stream that had one last waits for nobody.
  const std::size_t from = events();
  use(1, stream_number(509));
  EXPECT_EQ(events(), from + 1);
  // The first streams need no events.
  use(1, stream_number(1));
  EXPECT_EQ(events(), from + 1);
  EXPECT_GT(from, none);
}

// The driver gives handles of destroyed streams to new ones: ids tell them apart.
TEST_F(WorkspacesTest, ANewStreamWithAnOldHandleWaitsForTheOldOnesWork) {
  for (std::uintptr_t stream = 1; stream <= Workspaces::kOwn; ++stream) {
    use(1, stream_number(stream));
  }
  void* before = use(1, stream_number(70));
  use(1, stream_number(71));
  {
    const std::lock_guard lock(fake_cuda()->mutex);
    fake_cuda()->stream_ids[stream_number(70)] = 12345;
  }
  const std::size_t from = events();
  EXPECT_EQ(use(1, stream_number(70)), before);
  EXPECT_TRUE(event(from).wait);
  const std::lock_guard lock(fake_cuda()->mutex);
  fake_cuda()->stream_ids.clear();
}

TEST_F(WorkspacesTest, WhatIsCapturedKeepsItsBufferUntilTheGraphIsGone) {
  for (std::uintptr_t stream = 1; stream <= Workspaces::kOwn; ++stream) {
    use(1, stream_number(stream));
  }
  const auto captured = [&](std::uint64_t capture, std::size_t bytes = kBytes) {
    fake_cuda()->captured_stream = stream_number(90);
    fake_cuda()->capture_id = capture;
    void* pointer = use(1, stream_number(90), bytes);
    fake_cuda()->captured_stream = nullptr;
    return pointer;
  };
  const int before = fake_cuda()->allocations;
  const std::size_t from = events();
  void* first = captured(11);
  EXPECT_TRUE(memory_at(first).zeroed);
  EXPECT_EQ(captured(11), first);  // its next launch
  void* second = captured(12);
  EXPECT_NE(second, first);
  EXPECT_EQ(events(), from);  // no event of ours gets into a graph
  EXPECT_EQ(fake_cuda()->allocations, before + 2);
  // No stream is ever lent one of these.
  for (std::uintptr_t stream = 100; stream < 120; ++stream) {
    void* lent = use(1, stream_number(stream));
    EXPECT_NE(lent, first);
    EXPECT_NE(lent, second);
  }
  destroy_graph(11);
  EXPECT_EQ(captured(13), first);
  EXPECT_EQ(fake_cuda()->allocations, before + 2);
  const std::lock_guard lock(fake_cuda()->mutex);
  fake_cuda()->user_objects.clear();
}

TEST_F(WorkspacesTest, BothHandlesOfTheLegacyStreamAreOne) {
  EXPECT_EQ(use(1, nullptr), use(1, CU_STREAM_LEGACY));
}

// One handle for a stream of each thread that is alive.
TEST_F(WorkspacesTest, EachThreadHasItsPerThreadStream) {
  const auto own = [&] { return use(1, CU_STREAM_PER_THREAD); };
  void* mine = own();
  void* theirs = nullptr;
  std::thread([&] { theirs = own(); }).join();
  EXPECT_NE(mine, theirs);
  EXPECT_EQ(own(), mine);
  for (int i = 0; i < 10; ++i) {  // one after the other: each takes over from the one before
    std::thread([&] { EXPECT_EQ(own(), theirs); }).join();
  }
}

TEST_F(WorkspacesTest, WhatIsReservedIsAllocatedOnceAndGrowsToTheMost) {
  const int before = fake_cuda()->allocations;
  workspaces_.reserve(1, 0, 64 * kBytes);
  EXPECT_EQ(fake_cuda()->allocations, before);
  workspaces_.reserve(1, 2 * kBytes, 64 * kBytes);
  workspaces_.reserve(1, kBytes, 64 * kBytes);
  EXPECT_EQ(fake_cuda()->allocations, before + 1);
  void* small = use(1, stream_number(1));
  EXPECT_EQ(memory_at(small).bytes, kAll * 2 * kBytes);
  workspaces_.reserve(1, 3 * kBytes, 64 * kBytes);
  EXPECT_EQ(fake_cuda()->allocations, before + 2);
  EXPECT_EQ(use(1, stream_number(1)), small);  // large enough for this, and not given back
  void* large = use(1, stream_number(1), 3 * kBytes);
  EXPECT_NE(large, small);
  EXPECT_EQ(memory_at(large).bytes, kAll * 64 * kBytes);
  EXPECT_EQ(use(1, stream_number(1)), large);
  EXPECT_EQ(fake_cuda()->allocations, before + 2);
}

// TearDown looks whether anything was done that a capture does not allow.
TEST_F(WorkspacesTest, AllocatesBesideACapture) {
  fake_cuda()->captured_stream = stream_number(1);
  fake_cuda()->blocking_capture = true;
  for (const CUstream stream : {stream_number(1), stream_number(2), CUstream{nullptr}}) {
    EXPECT_TRUE(memory_at(use(1, stream)).zeroed);
  }
}

TEST_F(WorkspacesTest, AFailureIsAnErrorThatLeavesNothingBehind) {
  const auto refusal = [&] {
    try {
      use(1, stream_number(1));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::driver_failed);
      return std::string(error.what());
    }
    return std::string();
  };
  const std::size_t held = fake_cuda()->memory.size();
  fake_cuda()->alloc_result = CUDA_ERROR_OUT_OF_MEMORY;
  EXPECT_EQ(refusal().substr(0, 38), "allocating a workspace of 20480 bytes:");
  fake_cuda()->alloc_result = CUDA_SUCCESS;
  fake_cuda()->memset_result = CUDA_ERROR_LAUNCH_FAILED;
  EXPECT_EQ(refusal().substr(0, 20), "zeroing a workspace:");
  fake_cuda()->memset_result = CUDA_SUCCESS;
  EXPECT_EQ(fake_cuda()->memory.size(), held);
  EXPECT_TRUE(memory_at(use(1, stream_number(1))).zeroed);
}

// Nobody is handed a buffer between another's look-up and its event.
TEST_F(WorkspacesTest, ManyThreadsShareWithoutMeeting) {
  constexpr std::size_t kThreads = 8, kRounds = 200;
  std::map<void*, std::atomic<int>> users;
  workspaces_.reserve(1, kBytes, kBytes);
  for (std::uintptr_t stream = 1; stream <= Workspaces::kOwn; ++stream) {
    use(1, stream_number(stream));
  }
  for (std::uintptr_t stream = 50; stream < 50 + Workspaces::kShared; ++stream) {
    users[use(1, stream_number(stream))] = 0;
  }
  std::atomic<int> met{0};
  test::run_together(kThreads, [&](std::size_t t) {
    for (std::size_t i = 0; i < kRounds; ++i) {
      Workspaces::Lease lease = workspaces_.lend(1, stream_number(100 + t), kBytes);
      std::atomic<int>& here = users.at(lease.pointer());
      if (++here != 1) ++met;
      std::this_thread::yield();
      --here;
      lease.enqueued();
    }
  });
  EXPECT_EQ(met, 0);
}

}  // namespace
}  // namespace marlin
