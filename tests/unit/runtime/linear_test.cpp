// From a row count to a launch against a make-believe driver: which kernel, made when, and with
// which workspace. Entry point: the tests of suite LinearTest.
#include "marlin/linear.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "codegen/generator.h"
#include "codegen/plan/plan.h"
#include "runtime/driver/driver.h"
#include "runtime/launch/kernel.h"
#include "runtime/launch/ladder.h"
#include "tests/stubs/fake_cuda.h"
#include "tests/unit/problems.h"
#include "tests/unit/refusal.h"
#include "tests/unit/runtime/cubin_cache_fixture.h"
#include "tests/unit/runtime/stand_in_entry.h"
#include "tests/unit/together.h"

namespace marlin {
namespace {

using test::fake_context;
using test::refusal;

// Launches never look behind these.
void* device_pointer(std::uintptr_t address) { return reinterpret_cast<void*>(address); }

CUstream stream_number(std::uintptr_t number) {
  return reinterpret_cast<CUstream>(0x10000 + 0x100 * number);
}

DeviceWeights weights_of(std::int64_t n, std::int64_t k) {
  return {
      .n = n, .k = k, .scheme = {}, .b = device_pointer(0x2000), .scales = device_pointer(0x3000)};
}

std::string refused_code(const std::function<void()>& call) {
  const std::string text = refusal(call);
  return text.substr(0, text.find(':'));
}

class LinearTest : public testing::Test {
 protected:
  void TearDown() override {
    fake_cuda()->has_context = true;
    fake_cuda()->blocking_capture = false;
    fake_cuda()->captured_stream = nullptr;
    fake_cuda()->cc_major = 9;
    fake_cuda()->sms = 132;
    EXPECT_EQ(fake_cuda()->spoilt, 0);
    EXPECT_EQ(fake_cuda()->unrelaxed, 0);
  }

  Options in_memory() const {
    return {.cache_dir = "", .system_dirs = std::vector<std::string>{}, .disable_jit = false};
  }

  Ladder ladder(const DeviceWeights& weights = weights_of(512, 1024)) {
    return {weights, in_memory(), store_, workspaces_};
  }

  // One whose kernels for up to 8 rows all need a workspace, whatever config we would choose.
  Ladder sharing_ladder() {
    const DeviceWeights weights = weights_of(4096, 4096);
    const Target target{"sm_90a", 132};
    const auto shares = [&](const Config& config) {
      return std::all_of(rungs().begin(), rungs().begin() + kSharing, [&](std::int64_t m) {
        const Problem problem = {.shape = {.m = m, .n = weights.n, .k = weights.k}};
        return !why_illegal(problem, target, config) &&
               make_plan(problem, target, config).workspace.bytes > 0;
      });
    };
    const auto configs = legal_configs(problem_of(8, weights.n, weights.k), target);
    const auto config = std::find_if(configs.begin(), configs.end(), shares);
    EXPECT_NE(config, configs.end());
    Options options = in_memory();
    if (config != configs.end()) options.config = to_string(*config);
    return {weights, options, store_, workspaces_};
  }
  static constexpr int kSharing = 4;

  void call(const Ladder& ladder, std::int64_t m, CUstream stream = stream_number(1)) const {
    ladder.launch(stream, a_, m, c_);
  }

  static test::FakeLaunch last() {
    const std::lock_guard lock(fake_cuda()->mutex);
    return fake_cuda()->last;
  }

  // What a kernel's name says of its shape, whatever its family.
  static std::string shape_in(const std::string& entry) {
    return entry.substr(entry.find('_', std::string("marlin_").size()));
  }
  static std::string shape_of(std::int64_t rung, std::int64_t n = 512, std::int64_t k = 1024) {
    return "_" + std::to_string(rung) + "x" + std::to_string(n) + "x" + std::to_string(k) + "_g128";
  }

  static std::size_t most_workspace(const Ladder& ladder) {
    std::size_t most = 0;
    for (int rung = 0; rung < kRungs; ++rung) {
      const Kernel* kernel = ladder.kernel_at(rung);
      if (kernel == nullptr) continue;
      most = std::max(most, static_cast<std::size_t>(kernel->plan().workspace.bytes));
    }
    return most;
  }

  const void* a_ = device_pointer(0x1000);
  void* c_ = device_pointer(0x4000);
  std::atomic<int> compiles_{0};
  std::function<void(const Plan&)> before_;
  KernelStore store_{[this](const KernelText& kernel, const std::string&) {
    ++compiles_;
    if (before_) before_(kernel.plan);
    return test::stand_in_entry(kernel);
  }};
  Workspaces workspaces_;
};

TEST_F(LinearTest, EveryMGetsTheKernelOfItsRung) {
  const Ladder ladder = this->ladder();
  std::int64_t below = 0;
  for (const std::int64_t rung : rungs()) {
    for (const std::int64_t m : {below + 1, (below + rung + 1) / 2, rung}) {
      call(ladder, m);
      EXPECT_EQ(shape_in(last().entry), shape_of(rung)) << m;
      EXPECT_EQ(last().m, m);
    }
    below = rung;
  }
  EXPECT_EQ(compiles_, kRungs);
}

TEST_F(LinearTest, ALaunchCarriesThePointersTheStreamAndItsWorkspace) {
  const Ladder ladder = this->ladder(weights_of(4096, 4096));
  bool with = false, without = false;
  for (int rung = 0; rung < kRungs; ++rung) {
    const CUstream stream = stream_number(7);
    call(ladder, rungs()[rung], stream);
    const test::FakeLaunch launch = last();
    const Plan& plan = ladder.kernel_at(rung)->plan();
    EXPECT_EQ(launch.pointers[0], a_);
    EXPECT_EQ(launch.pointers[1], device_pointer(0x2000));
    EXPECT_EQ(launch.pointers[2], device_pointer(0x3000));
    EXPECT_EQ(launch.pointers[3], c_);
    EXPECT_EQ(launch.config.hStream, stream);
    EXPECT_EQ(static_cast<int>(launch.config.blockDimX), plan.launch.threads);
    EXPECT_TRUE(launch.was_loaded);
    const auto bytes = static_cast<std::size_t>(plan.workspace.bytes);
    (bytes > 0 ? with : without) = true;
    const auto context = reinterpret_cast<std::uintptr_t>(fake_context(0));
    EXPECT_EQ(launch.pointers[4],
              bytes > 0 ? workspaces_.lend(context, stream, bytes).pointer() : nullptr);
  }
  EXPECT_TRUE(with && without);
}

TEST_F(LinearTest, OnesForChainedLaunchesDoNotShareTheirKernels) {
  const Ladder isolated = ladder();
  Options options = in_memory();
  options.chained = true;
  const Ladder chained(weights_of(512, 1024), options, store_, workspaces_);
  const Ladder other(weights_of(512, 1024), options, store_, workspaces_);
  EXPECT_FALSE(chained.shares_kernels(isolated));
  EXPECT_TRUE(chained.shares_kernels(other));
  for (const Ladder* one : {&isolated, &chained, &other}) call(*one, 16);
  EXPECT_NE(chained.kernel_at(rung_index(16)), isolated.kernel_at(rung_index(16)));
  EXPECT_EQ(chained.kernel_at(rung_index(16)), other.kernel_at(rung_index(16)));
}

TEST_F(LinearTest, ManyThreadsCompileEachRungOnce) {
  constexpr std::int64_t kMostM = 100;
  constexpr std::size_t kThreads = 8;
  const Ladder ladder = this->ladder();
  const std::size_t before = fake_cuda()->log.size();
  test::run_together(kThreads, [&](std::size_t t) {
    for (std::int64_t i = 0; i < kMostM; ++i) {
      call(ladder, 1 + (i + 17 * static_cast<std::int64_t>(t)) % kMostM, stream_number(t));
    }
  });
  EXPECT_EQ(compiles_, rung_index(kMostM) + 1);
  const auto& log = fake_cuda()->log;
  EXPECT_EQ(log.size() - before, kThreads * kMostM);
  std::map<const void*, std::set<CUstream>> streams_of;
  for (std::size_t i = before; i < log.size(); ++i) {
    EXPECT_EQ(shape_in(log[i].entry), shape_of(rung_for(log[i].m)));
    if (log[i].pointers[4] != nullptr) streams_of[log[i].pointers[4]].insert(log[i].config.hStream);
  }
  const auto shared = std::count_if(streams_of.begin(), streams_of.end(),
                                    [](const auto& buffer) { return buffer.second.size() > 1; });
  EXPECT_LE(shared, static_cast<std::ptrdiff_t>(Workspaces::kShared));
}

TEST_F(LinearTest, WarmUpFillsTheRungsUpToMAndNoMore) {
  const Ladder ladder = this->ladder();
  const Ladder* const one = &ladder;
  Ladder::warm_up({&one, 1}, 40, 4);
  EXPECT_EQ(compiles_, 8);  // 1, 2, 4, 8, 16, 24, 32, 40
  for (int rung = 0; rung < kRungs; ++rung) {
    EXPECT_EQ(ladder.kernel_at(rung) != nullptr, rung < 8) << rung;
  }
  for (std::int64_t m = 1; m <= 40; ++m) call(ladder, m);
  EXPECT_EQ(compiles_, 8);
  call(ladder, 41);
  EXPECT_EQ(compiles_, 9);
}

TEST_F(LinearTest, WarmUpOfTheWholeLadderSizesTheWorkspace) {
  const Ladder ladder = this->ladder(weights_of(4096, 4096));
  const Ladder* const one = &ladder;
  Ladder::warm_up({&one, 1}, kMaxM, 0);
  EXPECT_EQ(compiles_, kRungs);
  Ladder::warm_up({&one, 1}, kMaxM, 1);
  EXPECT_EQ(compiles_, kRungs);
  EXPECT_GT(most_workspace(ladder), 0u);
  const int before = fake_cuda()->allocations;
  for (const std::int64_t m : rungs()) call(ladder, m, stream_number(5));
  EXPECT_EQ(fake_cuda()->allocations, before);  // a launch allocates nothing
  const std::lock_guard lock(fake_cuda()->mutex);
  EXPECT_GE(fake_cuda()->memory.rbegin()->second.bytes,
            (Workspaces::kOwn + Workspaces::kShared) * most_workspace(ladder));
}

TEST_F(LinearTest, AnErrorOfWarmUpComesAfterTheOthersWereMade) {
  const Ladder ladder = this->ladder();
  const Ladder* const one = &ladder;
  before_ = [](const Plan& plan) {
    if (plan.problem.shape.m != 4 && plan.problem.shape.m != 16) return;
    throw Error(ErrorCode::compile_failed, "not " + std::to_string(plan.problem.shape.m));
  };
  for (const int threads : {1, 3}) {
    EXPECT_EQ(refusal([&] { Ladder::warm_up({&one, 1}, 32, threads); }), "compile_failed: not 4");
    for (int rung = 0; rung <= rung_index(32); ++rung) {
      EXPECT_EQ(ladder.kernel_at(rung) != nullptr, rungs()[rung] != 4 && rungs()[rung] != 16);
    }
  }
  EXPECT_EQ(refusal([&] { call(ladder, 3); }), "compile_failed: not 4");
  before_ = nullptr;
  Ladder::warm_up({&one, 1}, 32, 2);
  call(ladder, 3);
  EXPECT_EQ(shape_in(last().entry), shape_of(4));
}

TEST_F(LinearTest, LaddersOfOneShapeAreWarmedByOneCompile) {
  const Ladder first = ladder(), second = ladder(), wide = ladder(weights_of(1024, 1024));
  const std::vector<const Ladder*> all = {&first, &wide, &second};
  before_ = [&](const Plan&) { std::this_thread::yield(); };
  Ladder::warm_up(all, 16, 4);
  EXPECT_EQ(compiles_, 2 * 5);
  for (int rung = 0; rung < 5; ++rung) {
    EXPECT_NE(first.kernel_at(rung), nullptr);
    EXPECT_EQ(first.kernel_at(rung), second.kernel_at(rung));
    EXPECT_NE(first.kernel_at(rung), wide.kernel_at(rung));
  }
}

TEST_F(LinearTest, WarmUpMakesTheContextCurrentAndTheCallersAgain) {
  CUcontext before = nullptr;
  driver().cuCtxGetCurrent(&before);
  driver().cuCtxSetCurrent(fake_context(1));
  const Ladder ladder = this->ladder();
  driver().cuCtxSetCurrent(nullptr);
  fake_cuda()->load_contexts.clear();
  const Ladder* const one = &ladder;
  Ladder::warm_up({&one, 1}, 16, 3);
  EXPECT_EQ(fake_cuda()->load_contexts, std::vector<CUcontext>(5, fake_context(1)));
  CUcontext after = fake_context(1);
  driver().cuCtxGetCurrent(&after);
  EXPECT_EQ(after, nullptr);
  driver().cuCtxSetCurrent(before);
}

TEST_F(LinearTest, EachContextHasItsKernelsLoadedAndItsWorkspace) {
  std::set<const void*> buffers;
  std::set<const Kernel*> kernels;
  const CUcontext contexts[] = {fake_context(0), fake_context(0, 1), fake_context(1)};
  for (const CUcontext context : contexts) {
    driver().cuCtxSetCurrent(context);
    const Ladder ladder = sharing_ladder();
    for (int rung = 0; rung < kSharing; ++rung) {
      call(ladder, rungs()[rung]);
      kernels.insert(ladder.kernel_at(rung));
      EXPECT_EQ(last().context, context);
      EXPECT_TRUE(last().was_loaded);
      buffers.insert(last().pointers[4]);
      const auto address = reinterpret_cast<CUdeviceptr>(last().pointers[4]);
      EXPECT_EQ(fake_cuda()->memory.at(address).context, context);
    }
    // Called from elsewhere it refuses, and launches nothing.
    const std::size_t launches = fake_cuda()->log.size();
    driver().cuCtxSetCurrent(fake_context(7));
    EXPECT_EQ(refusal([&] { call(ladder, 1); }),
              "invalid_argument: another CUDA context is current than the one the Linear was made "
              "in");
    driver().cuCtxSetCurrent(nullptr);
    EXPECT_EQ(refused_code([&] { call(ladder, 1); }), "invalid_argument");
    EXPECT_EQ(fake_cuda()->log.size(), launches);
  }
  driver().cuCtxSetCurrent(fake_context(0));
  EXPECT_EQ(kernels.size(), 2u * kSharing);  // of two devices
  EXPECT_GE(buffers.size(), 3u);             // more where one has grown
}

TEST_F(LinearTest, AWorkspaceThatGrowsKeepsTheOld) {
  // An A100: all its kernels are stripes, which need more for more rows.
  fake_cuda()->cc_major = 8;
  fake_cuda()->sms = 108;
  const Ladder ladder = this->ladder(weights_of(4096, 14336));
  const void* used = nullptr;
  int grown = 0;
  for (int rung = 0; rung < kRungs; ++rung) {
    call(ladder, rungs()[rung], stream_number(3));
    const auto needs = static_cast<std::size_t>(ladder.kernel_at(rung)->plan().workspace.bytes);
    if (needs == 0) continue;
    const std::lock_guard lock(fake_cuda()->mutex);
    const void* now = fake_cuda()->last.pointers[4];
    const auto& memory = fake_cuda()->memory;
    const std::size_t bytes = memory.at(reinterpret_cast<CUdeviceptr>(now)).bytes;
    EXPECT_GE(bytes, (Workspaces::kOwn + Workspaces::kShared) * needs);
    if (now == used) continue;
    if (used != nullptr) {
      EXPECT_EQ(memory.count(reinterpret_cast<CUdeviceptr>(used)), 1u);
      ++grown;
    }
    used = now;
  }
  EXPECT_EQ(grown, 1);  // to what serves all of them
}

TEST_F(LinearTest, DuringACaptureAHitWorksAndAMissIsRefused) {
  const Ladder ladder = sharing_ladder(), other = sharing_ladder();
  for (const std::int64_t m : {1, 2, 4, 8}) call(ladder, m, stream_number(1));
  const int compiles = compiles_;
  const int allocations = fake_cuda()->allocations;
  for (const bool blocking : {false, true}) {
    fake_cuda()->blocking_capture = blocking;
    fake_cuda()->captured_stream = stream_number(2);
    // Also the first launch on this stream, and of this Linear, whose kernel another one had made.
    for (const Ladder* each : {&ladder, &other}) {
      for (const std::int64_t m : {1, 2, 3, 7}) call(*each, m, stream_number(2));
      EXPECT_EQ(refused_code([&] { call(*each, 16, stream_number(2)); }), "capturing");
    }
  }
  EXPECT_EQ(compiles_, compiles);
  EXPECT_EQ(fake_cuda()->allocations, allocations);
  const Ladder* const one = &ladder;
  EXPECT_EQ(refused_code([&] { Ladder::warm_up({&one, 1}, 16, 2); }), "capturing");
  EXPECT_EQ(compiles_, compiles);
}

// As serving engines ask of ranks that are idle.
TEST_F(LinearTest, NoRowsIsALaunchOfNothing) {
  const Ladder ladder = this->ladder();
  const std::size_t launches = fake_cuda()->log.size();
  const int compiles = compiles_;
  ladder.launch(nullptr, nullptr, 0, nullptr);
  const Ladder* const one = &ladder;
  Ladder::warm_up({&one, 1}, 0, 1);
  EXPECT_EQ(fake_cuda()->log.size(), launches);
  EXPECT_EQ(compiles_, compiles);
}

TEST_F(LinearTest, BadArgumentsAreRefusedBeforeAnythingIsMade) {
  const Ladder ladder = this->ladder();
  const std::size_t launches = fake_cuda()->log.size();
  constexpr std::int64_t kHuge = std::numeric_limits<std::int64_t>::max();
  constexpr std::int64_t kLow = std::numeric_limits<std::int64_t>::min();
  for (const std::int64_t m : {std::int64_t{-1}, kMaxM + 1, kHuge, kLow}) {
    EXPECT_EQ(refusal([&] { call(ladder, m); }),
              "invalid_argument: m = " + std::to_string(m) + " is not in 0..65536");
    const Ladder* const one = &ladder;
    EXPECT_EQ(refusal([&] {
                Ladder::warm_up({&one, 1}, m, 0);
              }),
              "invalid_argument: most_m = " + std::to_string(m) + " is not in 0..65536");
  }
  const Ladder* const one = &ladder;
  EXPECT_EQ(refusal([&] {
              Ladder::warm_up({&one, 1}, 1, -1);
            }),
            "invalid_argument: threads = -1 is negative");
  EXPECT_EQ(refusal([&] { ladder.launch(nullptr, nullptr, 1, c_); }),
            "invalid_argument: a is null");
  EXPECT_EQ(refusal([&] { ladder.launch(nullptr, a_, 1, nullptr); }),
            "invalid_argument: c is null");
  EXPECT_EQ(refusal([&] { ladder.launch(nullptr, device_pointer(0x1008), 1, c_); }),
            "invalid_argument: a = 0x1008 is not aligned to 16 bytes");
  EXPECT_EQ(refusal([&] { ladder.launch(nullptr, a_, 1, device_pointer(0x4001)); }),
            "invalid_argument: c = 0x4001 is not aligned to 16 bytes");
  EXPECT_EQ(fake_cuda()->log.size(), launches);
  EXPECT_EQ(compiles_, 0);
}

TEST_F(LinearTest, BadWeightsAreRefusedAtConstruction) {
  DeviceWeights weights = weights_of(4100, 4096);
  EXPECT_EQ(refusal([&] { Linear{weights}; }), "invalid_shape: n = 4100 is not a multiple of 64");
  weights = weights_of(512, 1024);
  weights.b = nullptr;
  EXPECT_EQ(refusal([&] { Linear{weights}; }), "invalid_argument: b is null");
  weights = weights_of(512, 1024);
  weights.scales = device_pointer(0x3004);
  EXPECT_EQ(refusal([&] { Linear{weights}; }),
            "invalid_argument: scales = 0x3004 is not aligned to 16 bytes");
  fake_cuda()->has_context = false;
  EXPECT_EQ(refused_code([&] { Linear{weights_of(512, 1024)}; }), "no_device");
}

// The public door: the process's store, with kernels from a cache folder that stand-ins are in.
TEST_F(LinearTest, TheObjectMovesAndServesFromItsCaches) {
  const test::ScratchDir scratch;
  const Options options = {.cache_dir = scratch / "user",
                           .system_dirs = std::vector<std::string>{},
                           .disable_jit = false};
  static std::int64_t n = 512;
  n += 64;  // the process remembers the kernels of an earlier repetition
  const DeviceWeights weights = weights_of(n, 1024);
  const Ladder maker(weights, options, store_, workspaces_);
  const Ladder* const one = &maker;
  Ladder::warm_up({&one, 1}, 16, 2);
  ASSERT_EQ(compiles_, 5);

  Options prebuilt = options;
  prebuilt.disable_jit = true;
  Linear first(weights, prebuilt);
  first.warm_up(8, 2);
  Linear second = std::move(first);
  EXPECT_EQ(second.weights().k, 1024);
  EXPECT_EQ(refused_code([&] { first(nullptr, a_, 1, c_); }), "invalid_argument");  // NOLINT
  const int loads = fake_cuda()->loads;
  second(stream_number(1), a_, 7, c_);
  EXPECT_EQ(shape_in(last().entry), shape_of(8, n));
  EXPECT_EQ(fake_cuda()->loads, loads);
  second(stream_number(1), a_, 9, c_);
  EXPECT_EQ(fake_cuda()->loads, loads + 1);
  EXPECT_EQ(refused_code([&] { second(stream_number(1), a_, 17, c_); }), "jit_disabled");

  first = Linear(weights, prebuilt);
  const std::vector<const Linear*> both = {&first, &second};
  Linear::warm_up(both, 16);
  EXPECT_EQ(fake_cuda()->loads, loads + 1);
  const std::vector<const Linear*> lacking = {&first, nullptr};
  EXPECT_EQ(refused_code([&] { Linear::warm_up(lacking); }), "invalid_argument");
  EXPECT_EQ(compiles_, 5);
}

}  // namespace
}  // namespace marlin
