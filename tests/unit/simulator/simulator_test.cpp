// The simulator of emitted kernels must notice when one is wrong: small faults put into a right
// text.
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>

#include "codegen/generator.h"
#include "tests/simulator/trial.h"
#include "tests/unit/problems.h"

namespace marlin {
namespace {

using simulator::BankCount;
using simulator::SharedMemory;

const Problem kShape = problem_of(16, 512, 512, 128, true);
const Problem kLongShape = problem_of(16, 256, 1216, 64, true);
const Target kTarget{"sm_80", 4};
const Target kClusters{"sm_90a", 4};
// One warp side by side: every warp has a ring of its own.
const char* const kPrivate = "m16 n64 w1x2 k64 s3 accumulators split2 b1";
// Several, that share the activations, and blocks that begin and end inside a tile.
const char* const kShared = "m16 n128 w2x2 k64 s3 weights stripes3 b1";
// Pairs of warps that share activations, clusters of three blocks of which one owns more than the
// others.
const char* const kCluster = "decode m16 n128 w2x2 k64 s2 accumulators cluster3 b1";
const char* const kEarly = "decode m16 n64 w1x2 k64 s3 accumulators cluster1 b1 early";

// Consumers of several tiles and stripes, which hand partial sums on; parts of K in a cluster and
// through L2; activations shared by pairs of blocks.
const char* const kStripes = "wgmma m16 n128 w8x1 k64 s3 weights stripes3 b1";
const char* const kFewStages = "wgmma m16 n128 w8x1 k64 s2 weights stripes6 b2";
const char* const kSplit = "wgmma m16 n128 w4x1 k64 s3 accumulators cluster2 b1 burst2";
const char* const kReduceScatter = "wgmma m16 n128 w8x1 k64 s3 weights split3 b2";
const char* const kMulticast = "wgmma m16 n128 w4x1 k64 s3 weights split1 b1 multicast2";

std::string fault(const Plan& plan, const std::string& source) {
  try {
    return first_fault(plan, simulator::run_trial(plan, source, 16, 5, 0), 16);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
}

Plan plan_of(const std::string& config) {
  const bool stripe = config.starts_with("m");
  return make_plan(stripe ? kShape : kLongShape, stripe ? kTarget : kClusters,
                   parse_config(config));
}

// All places of `from` below the first "// ---- " of the kernel, or only the last one.
std::string replaced(std::string text, const std::string& from, const std::string& to,
                     bool only_last = false) {
  std::size_t at = only_last ? text.rfind(from) : text.find(from, text.find("// ---- "));
  if (at == std::string::npos) throw std::logic_error("no '" + from + "' in the text");
  for (; at != std::string::npos; at = only_last ? at : text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
    if (only_last) break;
  }
  return text;
}

TEST(Simulator, FindsNoFaultInARightText) {
  for (const char* config : {kPrivate, kShared, kCluster, kEarly, kStripes, kFewStages, kSplit,
                             kReduceScatter, kMulticast}) {
    const Plan plan = plan_of(config);
    EXPECT_EQ(fault(plan, emit_source(plan)), "") << config;
  }
}

struct Fault {
  const char* config;
  std::string from, to;
  const char* found;
  bool only_last = false;
};

TEST(Simulator, FindsEachFaultPutIn) {
  const Fault faults[] = {
      // Barriers and waits.
      {kPrivate, "__syncwarp();", "", "read without a barrier since it was written"},
      {kShared, "__syncthreads();\n    if (to_fetch", "if (to_fetch",
       "without a barrier since it was"},
      {kPrivate, "cp_async_wait<1>", "cp_async_wait<2>", "while a copy to it is on its way"},
      {kShared, "cp_async_wait<2>", "cp_async_wait<3>", "while a copy to it is on its way"},
      {kPrivate, "__syncthreads();  //", "//", "written without a barrier since it was read"},
      {kPrivate, "__syncthreads();\n", "\n", "read without a barrier since it was written"},
      // Banks.
      {kPrivate, "(activation_offset ^ ((activation_offset >> 7 & 7) << 4))", "activation_offset",
       "relative error"},
      {kPrivate, "_offset ^ ((", "_offset ^ 0 * ((", "relative error"},
      {kShared, "_offset ^ ((", "_offset ^ 0 * ((", "bank conflicts"},
      {kShared, "stage_sums<528>", "stage_sums<512>", "relative error"},
      // Addresses.
      {kPrivate, "from_packed)", "from_packed + 16)", "relative error"},
      {kPrivate, "from_activations)", "from_activations + 8)", "is not aligned to 16"},
      {kPrivate, "store_half4(output,", "store_half4(output + 8,", "relative error"},
      {kPrivate, "output + 12288", "output + 16384", "c: bytes"},
      {kShared, "scales_at + stage", "scales_at + stage + 128", "while a copy to it is on its way"},
      {kPrivate, "from_activations += 256ll", "from_activations += 512ll", "a: bytes"},
      {kPrivate, "shared_memory + ", "shared_memory + 16 + ", "outside"},
      // Loops, contributors and order.
      {kPrivate, "cp_async_commit();\n  cp_async_commit();",
       "cp_async_commit();\n  fetch(kStages + 16896);\n  cp_async_commit();", "b: bytes"},
      {kPrivate, "fetch(kStages + 8448)", "fetch(kStages)",
       "written while a copy to it is on its way"},
      {kPrivate, "k_tile < 2; ++k_tile", "k_tile < 1; ++k_tile", "relative error"},
      {kPrivate, "counter * 4, 2,", "counter * 4, 3,", "a counter is not back at zero"},
      {kPrivate, "rank * 4096ll", "rank * 4096ll + 4096", "a partial sum that nobody wrote"},
      {kShared, "slot * 8192ll", "(slot - slot) * 8192ll", "partial sums are written twice"},
      {kShared, "shared_tile.contributors; ++contributor", "3; ++contributor",
       "a partial sum that nobody wrote"},
      {kPrivate, "packed[1][0].x", "packed[1][0].y", "relative error"},
      {kPrivate, "mma_first", "mma", "relative error"},
      {kShared, "clear(sums)", "min(0, 0)", "relative error", true},
      {kPrivate, "mma(", "multiply_and_add(", "no model of the primitive"},
      // The previous kernel.
      {kEarly, "wait_for_previous();", "", "a is touched before the previous kernel is done"},
      {kCluster, "wait_for_previous();\n  copy_packed(0, split);\n  copy_activations(0);",
       "copy_packed(0, split);\n  copy_activations(0);\n  wait_for_previous();",
       "a is touched before the previous kernel is done"},
      // Warps that share activations.
      {kCluster, "named_barrier_sync(warp_k + 1, 64);", "__syncwarp();",
       "without a barrier since it was"},
      {kCluster, "named_barrier_sync(warp_k + 1, 64)", "named_barrier_sync(warp_n + 1, 64)",
       "two barriers"},
      {kCluster, "named_barrier_sync(warp_k + 1, 64)", "named_barrier_sync(warp_k, 64)",
       "barrier 0 is none of 1..15"},
      {kCluster, "named_barrier_sync(warp_k + 1, 64)", "named_barrier_sync(warp_k + 1, 128)",
       "a group's warps"},
      // Sums through the cluster.
      {kCluster, "cluster_arrive_relaxed();", "", "a wait for the cluster without an arrival"},
      {kCluster, "cluster_arrive_relaxed();", "if (rank > 0) cluster_arrive_relaxed();",
       "a wait for the cluster without an arrival"},
      {kCluster, "cluster_wait();  //", "//", "before the cluster has met"},
      {kCluster, "cluster_reduce_wait(reduce_barrier);", "",
       "read without a barrier since it was written"},
      {kCluster, "if (warp == 0) cluster_reduce_expect(reduce_barrier, reduce_count * ",
       "if (warp == 0) cluster_reduce_expect(reduce_barrier, 16 + reduce_count * ",
       "0 arrivals and 16 bytes are missing"},
      {kCluster, "sums_to, 2, reduce_barrier", "sums_to, 1, reduce_barrier",
       "written by two threads without a barrier between"},
      {kCluster, "split * ", "split * 0 * ", "written by two threads without a barrier between",
       true},
      {kCluster, "rank == 0 ? 0 :", "rank == 0 ? 1 :", "relative error"},
      {kCluster, "reduced_fragment < reduce_count", "reduced_fragment < reduce_count + 1",
       "relative error"},
      {kCluster, "(split < 1 ? 1 : 0)", "0", "relative error"},
      {kEarly, "__syncthreads();", "", "read without a barrier since it was written"},
      {kEarly, "shuffle_half2(sum, odd_column)", "shuffle_half2(sum, !odd_column)",
       "relative error"},
      {kEarly, "(copy_chunk ^ copy_row)", "copy_chunk", "relative error"},
      // A producer and its consumers.
      {kStripes, "mbarrier_wait_parity(full", "min(full",
       "read without a barrier since it was written"},
      {kStripes, "mbarrier_wait_parity(empty", "min(empty",
       "written by two threads without a barrier between"},
      {kStripes, "if (left < k_count && lane == 0) mbarrier_arrive(",
       "if (lane == 32) mbarrier_arrive(", "nobody can go on"},
      {kStripes, "mbarrier_init(empty + stage * 8, 8)", "mbarrier_init(empty + stage * 8, 7)",
       "written without a barrier since it was read"},
      {kStripes, "mbarrier_arrive_expect_tx(full + stage * 8, ",
       "mbarrier_arrive_expect_tx(full + stage * 8, 16 + ", "bytes are missing"},
      {kStripes, "wait_for_previous();", "", "a is touched before the previous kernel is done"},
      {kStripes, "parity ^= stage == 0 ? 1 : 0;", "parity ^= 0;",
       "written by two threads without a barrier between"},
      // Products.
      {kStripes, "warpgroup_arrive();", "", "without a fence before the product"},
      {kStripes, "warpgroup_wait<1>();", "", "registers of a product that still runs"},
      {kStripes, "warpgroup_wait<0>();", "", "registers of a product that still runs"},
      {kSplit, "warpgroup_wait<0>();", "", "registers of a product that still runs"},
      {kStripes, "activation_tile + stage * 128 + 2,", "activation_tile + stage * 128 + 4,",
       "relative error"},
      // Sums to other blocks and to C.
      {kStripes, "fixup_wait<2>", "fixup_wait<1>", "is read before its flag is up"},
      {kStripes, "fence_proxy_async();", "", "copied without a fence since it was stored"},
      {kFewStages, "fence_proxy_async();\n        __syncwarp", "__syncwarp",
       "written while something asynchronous reads it"},
      {kStripes, "tma_store_wait<0>();  //", "min(0, 0);  //", "copies that still read its memory"},
      {kStripes, "named_barrier_sync(warpgroup + 1, 128);\n        if", "if",
       "without a barrier since it was"},
      {kSplit, "cluster_wait();  //", "//", "before the cluster has met"},
      {kReduceScatter, "named_barrier_arrive<15, 288>();", "",
       "barriers that no warp says are made"},
      {kReduceScatter, "named_barrier_sync<15, 288>();", "", "a barrier that is not there"},
      {kReduceScatter, "tile_barrier_wait<3>", "tile_barrier_wait<4>",
       "not all blocks of the tile come"},
      {kReduceScatter, "tile_barrier_wait<3>", "min", "a partial sum that nobody wrote"},
      {kReduceScatter, "tile_barrier_reset<3>(counters, thread == 0);", "",
       "a counter is not back at zero"},
      {kReduceScatter, "0, first, reduce_count", "0, first + 1, reduce_count", "relative error"},
      {kReduceScatter, "rank + i - 3", "rank", "a partial sum that nobody wrote"},
      {kMulticast, "mbarrier_arrive_cluster(empty + previous * 8, lane)",
       "mbarrier_arrive_cluster(empty + previous * 8, lane * 0)", "nobody can go on"},
      {kMulticast, "cluster_sync();\n  launch", "__syncthreads();\n  launch",
       "a barrier that is not there"},
  };
  for (const Fault& f : faults) {
    const Plan plan = plan_of(f.config);
    const std::string wrong = replaced(emit_source(plan), f.from, f.to, f.only_last);
    EXPECT_NE(fault(plan, wrong).find(f.found), std::string::npos)
        << f.from << " -> " << f.to << ": " << fault(plan, wrong);
  }
}

TEST(Simulator, CountsPassesThroughTheBanks) {
  struct Case {
    int width, stride;
    std::int64_t accesses, extra;
  };
  const Case cases[] = {
      {4, 4, 1, 0},   {4, 0, 1, 0},     {4, 8, 1, 1},    {4, 128, 1, 31},
      {4, 132, 1, 0}, {8, 8, 2, 0},     {8, 16, 2, 2},   {16, 16, 4, 0},
      {16, 0, 4, 0},  {16, 128, 4, 28}, {16, 144, 4, 0}, {16, 32, 4, 4},
  };
  for (const Case& c : cases) {
    std::vector<std::uint32_t> lanes;
    for (int lane = 0; lane < 32; ++lane) lanes.push_back(1024 + lane * c.stride);
    BankCount count;
    count_banks(count, lanes, std::vector<bool>(32, true), c.width);
    EXPECT_EQ(count.accesses, c.accesses) << c.width << ' ' << c.stride;
    EXPECT_EQ(count.extra, c.extra) << c.width << ' ' << c.stride;
  }
}

TEST(Simulator, OrdersAccessesByBarriers) {
  const std::uint8_t bytes[16] = {};
  simulator::Clocks clocks;
  SharedMemory memory(clocks, 0, 1024, 2);
  memory.store(0, 0, 1);
  EXPECT_EQ(memory.load(0, 0), 1u);                     // a thread sees its own stores
  EXPECT_THROW(memory.load(1, 0), std::runtime_error);  // another one not yet
  memory.warp_barrier(0);
  EXPECT_EQ(memory.load(1, 0), 1u);
  EXPECT_THROW(memory.load(32, 0), std::runtime_error);  // nor another warp
  memory.meet(0, 2);
  EXPECT_EQ(memory.load(32, 0), 1u);
  EXPECT_THROW(memory.store(0, 0, 2), std::runtime_error);  // read by another since
  memory.meet(0, 2);
  memory.start_copy(0, 0);
  EXPECT_THROW(memory.load(0, 4), std::runtime_error);  // on its way
  memory.land_copy(0, 0, bytes);
  EXPECT_EQ(memory.load(0, 4), 0u);
  EXPECT_THROW(memory.load(33, 4), std::runtime_error);
  EXPECT_EQ(memory.load(5, 64), SharedMemory::kPoison);
  EXPECT_THROW(memory.load(0, 1024), std::runtime_error);
  EXPECT_THROW(memory.require_aligned(8, 16), std::runtime_error);
}

}  // namespace
}  // namespace marlin
