// The simulator of emitted kernels must notice when one is wrong: small faults put into a right
// text.
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>

#include "codegen/generator.h"
#include "tests/simulator/trial.h"

namespace marlin {
namespace {

using simulator::BankCount;
using simulator::SharedMemory;

const Shape kShape{16, 512, 512, 128, true};
const Shape kLongShape{16, 256, 1216, 64, true};
const Target kTarget{"sm_80", 4};
const Target kClusters{"sm_90a", 4};
// One warp side by side: every warp has a ring of its own.
const char* const kPrivate = "m16 n64 w1x2 k64 s3 accumulators split2 b1";
// Several, that share the tokens, and blocks that begin and end inside a slice.
const char* const kShared = "m16 n128 w2x2 k64 s3 weights stripes3 b1";
// Pairs of warps that share tokens, clusters of three blocks of which one owns more than the
// others.
const char* const kCluster = "decode m16 n128 w2x2 k64 s2 accumulators cluster3 b1";
const char* const kEarly = "decode m16 n64 w1x2 k64 s3 accumulators cluster1 b1 early";

// Consumers of several tiles and stripes, which hand partial sums on; parts of K in a cluster and
// through L2; tokens shared by pairs of blocks.
const char* const kStripes = "wgmma m16 n128 w8x1 k64 s3 weights stripes3 b1";
const char* const kFewStages = "wgmma m16 n128 w8x1 k64 s2 weights stripes6 b2";
const char* const kSplit = "wgmma m16 n128 w4x1 k64 s3 accumulators cluster2 b1 burst2";
const char* const kExchange = "wgmma m16 n128 w8x1 k64 s3 weights split3 b2";
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
  for (const char* config :
       {kPrivate, kShared, kCluster, kEarly, kStripes, kFewStages, kSplit, kExchange, kMulticast}) {
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
      {kPrivate, "wait_for_stage<1>", "wait_for_stage<2>", "while a copy to it is on its way"},
      {kShared, "wait_for_stage<2>", "wait_for_stage<3>", "while a copy to it is on its way"},
      {kPrivate, "__syncthreads();  //", "//", "written without a barrier since it was read"},
      {kPrivate, "__syncthreads();\n", "\n", "read without a barrier since it was written"},
      // Banks.
      {kPrivate, "(token_place ^ ((token_place >> 7 & 7) << 4))", "token_place", "relative error"},
      {kPrivate, "_place ^ ((", "_place ^ 0 * ((", "relative error"},
      {kShared, "_place ^ ((", "_place ^ 0 * ((", "bank conflicts"},
      {kShared, "stage_sums<528>", "stage_sums<512>", "relative error"},
      // Addresses.
      {kPrivate, "from_weights)", "from_weights + 16)", "relative error"},
      {kPrivate, "from_tokens)", "from_tokens + 8)", "is not aligned to 16"},
      {kPrivate, "store_quad(output,", "store_quad(output + 8,", "relative error"},
      {kPrivate, "output + 12288", "output + 16384", "c: bytes"},
      {kShared, "scales_at + stage", "scales_at + stage + 128", "while a copy to it is on its way"},
      {kPrivate, "from_tokens += 256ll", "from_tokens += 512ll", "a: bytes"},
      {kPrivate, "shared_memory + ", "shared_memory + 16 + ", "outside"},
      // Loops, owners and order.
      {kPrivate, "close_stage();\n  close_stage();",
       "close_stage();\n  fetch(16896);\n  close_stage();", "b: bytes"},
      {kPrivate, "fetch(8448)", "fetch(0)", "written while a copy to it is on its way"},
      {kPrivate, "k_tile < 2; ++k_tile", "k_tile < 1; ++k_tile", "relative error"},
      {kPrivate, "counter * 4, 2,", "counter * 4, 3,", "a counter is not back at zero"},
      {kPrivate, "rank * 4096ll", "rank * 4096ll + 4096", "a partial sum that nobody wrote"},
      {kShared, "slot * 8192ll", "(slot - slot) * 8192ll", "partial sums are written twice"},
      {kShared, "share.owners; ++owner", "3; ++owner", "a partial sum that nobody wrote"},
      {kPrivate, "words[1][0].x", "words[1][0].y", "relative error"},
      {kPrivate, "mma_first", "mma", "relative error"},
      {kShared, "clear(sums)", "min(0, 0)", "relative error", true},
      {kPrivate, "mma(", "multiply_and_add(", "no model of the primitive"},
      // The previous kernel.
      {kEarly, "wait_for_previous();", "", "a is touched before the previous kernel is done"},
      {kCluster, "wait_for_previous();\n  copy_weights(0, part);\n  copy_tokens(0);",
       "copy_weights(0, part);\n  copy_tokens(0);\n  wait_for_previous();",
       "a is touched before the previous kernel is done"},
      // Warps that share tokens.
      {kCluster, "meet(warp_k + 1, 64);", "__syncwarp();", "without a barrier since it was"},
      {kCluster, "meet(warp_k + 1, 64)", "meet(warp_n + 1, 64)", "two barriers"},
      {kCluster, "meet(warp_k + 1, 64)", "meet(warp_k, 64)", "barrier 0 is none of 1..15"},
      {kCluster, "meet(warp_k + 1, 64)", "meet(warp_k + 1, 128)", "a group's warps"},
      // Sums through the cluster.
      {kCluster, "arrive_at_cluster();", "", "a wait for the cluster without an arrival"},
      {kCluster, "arrive_at_cluster();", "if (rank > 0) arrive_at_cluster();",
       "a wait for the cluster without an arrival"},
      {kCluster, "wait_for_cluster();  //", "//", "before the cluster has met"},
      {kCluster, "wait_for_sums(received);", "", "read without a barrier since it was written"},
      {kCluster, "if (warp == 0) expect_sums(received, own * ",
       "if (warp == 0) expect_sums(received, 16 + own * ", "0 arrivals and 16 bytes are missing"},
      {kCluster, "sums_to, 2, received", "sums_to, 1, received",
       "written by two threads without a barrier between"},
      {kCluster, "part * ", "part * 0 * ", "written by two threads without a barrier between",
       true},
      {kCluster, "rank == 0 ? 0 :", "rank == 0 ? 1 :", "relative error"},
      {kCluster, "own_fragment < own", "own_fragment < own + 1", "relative error"},
      {kCluster, "(part < 1 ? 1 : 0)", "0", "relative error"},
      {kEarly, "__syncthreads();", "", "read without a barrier since it was written"},
      {kEarly, "trade(sum, odd_column)", "trade(sum, !odd_column)", "relative error"},
      {kEarly, "(copy_chunk ^ copy_row)", "copy_chunk", "relative error"},
      // A producer and its consumers.
      {kStripes, "wait_for_phase(full", "min(full", "read without a barrier since it was written"},
      {kStripes, "wait_for_phase(empty", "min(empty",
       "written by two threads without a barrier between"},
      {kStripes, "if (left < k_count && lane == 0) arrive(", "if (lane == 32) arrive(",
       "nobody can go on"},
      {kStripes, "make_barrier(empty + stage * 8, 8)", "make_barrier(empty + stage * 8, 7)",
       "written without a barrier since it was read"},
      {kStripes, "expect_bytes(full + stage * 8, ", "expect_bytes(full + stage * 8, 16 + ",
       "bytes are missing"},
      {kStripes, "wait_for_previous();", "", "a is touched before the previous kernel is done"},
      {kStripes, "parity ^= stage == 0 ? 1 : 0;", "parity ^= 0;",
       "written by two threads without a barrier between"},
      // Products.
      {kStripes, "open_products();", "", "without a fence before the product"},
      {kStripes, "wait_for_products<1>();", "", "registers of a product that still runs"},
      {kStripes, "wait_for_products<0>();", "", "registers of a product that still runs"},
      {kSplit, "wait_for_products<0>();", "", "registers of a product that still runs"},
      {kStripes, "token_tile + stage * 128 + 2,", "token_tile + stage * 128 + 4,",
       "relative error"},
      // Sums to other blocks and to C.
      {kStripes, "take_flags<2>", "take_flags<1>", "is read before its flag is up"},
      {kStripes, "show_to_copies();", "", "copied without a fence since it was stored"},
      {kFewStages, "show_to_copies();\n        __syncwarp", "__syncwarp",
       "written while something asynchronous reads it"},
      {kStripes, "wait_for_stores<0>();  //", "min(0, 0);  //",
       "copies that still read its memory"},
      {kStripes, "meet(warpgroup + 1, 128);\n        if", "if", "without a barrier since it was"},
      {kSplit, "wait_for_cluster();  //", "//", "before the cluster has met"},
      {kExchange, "tell_barriers_made<288>();", "", "barriers that no warp says are made"},
      {kExchange, "wait_for_barriers_made<288>();", "", "a barrier that is not there"},
      {kExchange, "meet_blocks<3>", "meet_blocks<4>", "not all blocks of the tile come"},
      {kExchange, "meet_blocks<3>", "min", "a partial sum that nobody wrote"},
      {kExchange, "leave_blocks<3>(counters, thread == 0);", "", "a counter is not back at zero"},
      {kExchange, "0, first, own", "0, first + 1, own", "relative error"},
      {kExchange, "rank + i - 3", "rank", "a partial sum that nobody wrote"},
      {kMulticast, "arrive_in_cluster(empty + previous * 8, lane)",
       "arrive_in_cluster(empty + previous * 8, lane * 0)", "nobody can go on"},
      {kMulticast, "meet_cluster();\n  launch", "__syncthreads();\n  launch",
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
