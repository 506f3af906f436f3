// From a shape to a launch against a make-believe driver: what is compiled, found, refused, loaded
// and launched. Entry point: the tests of suite CompiledTest.
#include "marlin/compiled.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <limits>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "codegen/base/error.h"
#include "codegen/generator.h"
#include "runtime/choose/select.h"
#include "runtime/driver/driver.h"
#include "runtime/launch/kernel_store.h"
#include "tests/stubs/fake_cuda.h"
#include "tests/unit/problems.h"
#include "tests/unit/runtime/store_fixture.h"
#include "tests/unit/runtime/tuning_cases.h"
#include "tests/unit/together.h"

namespace marlin {
namespace {

using test::CompiledTest;
using test::device_pointer;
using test::error_of;
using test::kShape;
using test::sound_args;

TEST_F(CompiledTest, TheSecondGetIsTheFirstKernel) {
  const Kernel* first = store_.get(kShape, in_memory());
  const int loads = fake_cuda()->loads;
  EXPECT_EQ(store_.get(kShape, in_memory()), first);
  EXPECT_EQ(compiles_, 1);
  EXPECT_EQ(fake_cuda()->loads, loads);
  EXPECT_EQ(first->origin(), Origin::compiled);
  EXPECT_EQ(first->resources().registers, 99);
  EXPECT_EQ(first->config(), to_string(model_config(kShape, {"sm_90a", 132})));
  EXPECT_EQ(first->chosen_by(), ChosenBy::model);
}

TEST_F(CompiledTest, ShapesOfOneRungShareAKernelAndExactOnesDoNot) {
  Problem problem = kShape;
  problem.shape.m = 13;
  const Kernel* rung = store_.get(problem, in_memory());
  problem.shape.m = 14;
  EXPECT_EQ(store_.get(problem, in_memory()), rung);
  EXPECT_EQ(rung->plan().problem.shape.m, rung_for(14));
  problem.shape.exact_m = true;
  const Kernel* exact = store_.get(problem, in_memory());
  EXPECT_NE(exact, rung);
  EXPECT_EQ(exact->plan().problem.shape.m, 14);
}

TEST_F(CompiledTest, AConfigOrTargetAskedForIsAnotherKernel) {
  const Kernel* ours = store_.get(kShape, in_memory());
  Options options = in_memory();
  options.target = Target{"sm_90a", 66};
  const Kernel* fewer = store_.get(kShape, options);
  EXPECT_NE(fewer, ours);
  EXPECT_EQ(fewer->plan().target.sms, 66);
  const auto configs = legal_configs(kShape, {"sm_90a", 132});
  options = in_memory();
  options.config = to_string(configs.back());
  const Kernel* asked = store_.get(kShape, options);
  EXPECT_EQ(asked->config(), *options.config);
  EXPECT_EQ(asked->chosen_by(), ChosenBy::given);
  EXPECT_EQ(store_.get(kShape, options), asked);
  options.config = "no config";
  EXPECT_EQ(error_of([&] { store_.get(kShape, options); }).code(), ErrorCode::invalid_config);
}

// Chained and isolated launches have their choices each; where they agree, one cubin serves both.
TEST_F(CompiledTest, ChainedLaunchesHaveAChoiceOfTheirOwn) {
  const std::string db = scratch_ / "tuning.jsonl";
  TuningRecord record = test::choice_for(kShape, test::plain_config(2));
  record.gpu = "Fake GPU";
  const std::string isolated = to_line(record);
  record.config = test::plain_config(3);
  test::write_file(db, isolated + to_line(test::chained(record)));
  Options options = cached();
  options.tuning_db = db;
  Options chained = options;
  chained.chained = true;
  EXPECT_EQ(store_.get(kShape, options)->config(), to_string(test::plain_config(2)));
  const Kernel* kernel = store_.get(kShape, chained);
  EXPECT_EQ(kernel->config(), to_string(test::plain_config(3)));
  EXPECT_EQ(kernel->chosen_by(), ChosenBy::tuned);
  EXPECT_EQ(store_.get(kShape, chained), kernel);
  chained.target = Target{"sm_90a", 66};
  EXPECT_NE(store_.get(kShape, chained), kernel);
  EXPECT_EQ(compiles_, 3);

  // A given config is one kernel, however it is launched.
  options.config = chained.config = to_string(test::plain_config(4));
  chained.target = std::nullopt;
  EXPECT_EQ(store_.get(kShape, options), store_.get(kShape, chained));

  test::write_file(db, isolated);
  KernelStore& other = new_store();
  options.config = chained.config = std::nullopt;
  EXPECT_EQ(other.get(kShape, chained)->config(), to_string(test::plain_config(2)));
  EXPECT_EQ(other.get(kShape, chained)->origin(), Origin::user_cache);
}

// Kernels that do not wait for the previous one by themselves are launched as always.
TEST_F(CompiledTest, ADependentLaunchIsForKernelsThatCan) {
  Options options = in_memory();
  options.config = to_string(test::plain_config());
  const Kernel* kernel = store_.get(kShape, options);
  LaunchArgs args = sound_args();
  args.dependent = true;
  kernel->launch(nullptr, args, 13);
  EXPECT_EQ(fake_cuda()->last.config.numAttrs, 0u);
  EXPECT_EQ(fake_cuda()->last.m, 13);
}

// Blocks that wait for one another must be at work at once.
TEST_F(CompiledTest, AKernelWhoseBlocksMeetIsLaunchedTogether) {
  const Problem problem = {.shape = {.m = 64, .n = 4096, .k = 4096}};
  Options options = in_memory();
  options.target = Target{"sm_90a", 132};
  options.config = "wgmma m64 n128 w4x1 k128 s6 accumulators split4 b1";
  const Kernel* kernel = store_.get(problem, options);
  LaunchArgs args = sound_args();
  args.dependent = true;
  kernel->launch(nullptr, args, 64);
  const CUlaunchConfig& config = fake_cuda()->last.config;
  ASSERT_EQ(config.numAttrs, 2u);
}

TEST_F(CompiledTest, AnotherProcessFindsItInTheUsersCache) {
  store_.get(kShape, cached());
  const Kernel* found = new_store().get(kShape, cached());
  EXPECT_EQ(compiles_, 1);
  EXPECT_EQ(found->origin(), Origin::user_cache);
  EXPECT_EQ(found->resources().registers, 99);
}

TEST_F(CompiledTest, ACacheThatCannotBeWrittenDoesNotFailTheCall) {
  Options options = cached();
  options.cache_dir = "/proc/no/such/place";
  EXPECT_EQ(store_.get(kShape, options)->origin(), Origin::compiled);
}

TEST_F(CompiledTest, ManyThreadsCompileEachKernelOnce) {
  constexpr int kThreads = 8, kShapes = 4;
  std::array<std::array<const Kernel*, kShapes>, kThreads> got = {};
  test::run_together(kThreads, [&](int t) {
    for (int i = 0; i < kShapes; ++i) {
      Problem problem = kShape;
      problem.shape.n *= 1 + (i + t) % kShapes;
      got[t][(i + t) % kShapes] = store_.get(problem, cached());
    }
  });
  EXPECT_EQ(compiles_, kShapes);
  for (int t = 1; t < kThreads; ++t) EXPECT_EQ(got[t], got[0]);
}

// Who has joined a compile cannot be seen from outside. All ask before it fails, and in some round
// at least one of them has joined by then; whoever has not compiles for itself and fails as well.
TEST_F(CompiledTest, ACompileFailureReachesEveryWaiterAndTheNextCallTriesAgain) {
  constexpr int kThreads = 8, kRounds = 1000;
  int fewest = kThreads;
  for (int round = 0; round < kRounds && fewest == kThreads; ++round) {
    std::atomic<int> asking{0}, failed{0};
    compiles_ = 0;
    before_ = [&] {
      while (asking < kThreads) std::this_thread::yield();
      throw Error(ErrorCode::compile_failed, "no").with_log("the log");
    };
    test::run_together(kThreads, [&](int) {
      ++asking;
      const Error error = error_of([&] { store_.get(kShape, cached()); });
      if (error.code() == ErrorCode::compile_failed && error.log() == "the log") ++failed;
    });
    ASSERT_EQ(failed, kThreads);
    fewest = compiles_;
  }
  EXPECT_LT(fewest, kThreads);
  before_ = nullptr;
  EXPECT_EQ(store_.get(kShape, cached())->origin(), Origin::compiled);
}

TEST_F(CompiledTest, WithoutJitAMissNamesTheCommandThatMendsIt) {
  Options options = cached();
  options.disable_jit = true;
  Problem problem = kShape;
  problem.shape.m = 13;
  const Error error = error_of([&] { store_.get(problem, options); });
  EXPECT_EQ(error.code(), ErrorCode::jit_disabled);
  EXPECT_EQ(compiles_, 0);
  const std::string command =
      "marlin prebuild --arch sm_90a --sms 132 --shape 16x512x1024"
      " --scheme f16.u4b8.g128 --out " +
      scratch_ / "user";
  EXPECT_NE(std::string(error.what()).find(command), std::string::npos) << error.what();
}

TEST_F(CompiledTest, WithoutJitAPrebuiltFolderServes) {
  store_.get(kShape, cached());
  CubinCache(scratch_ / "user").write_manifest();
  const Options options = {.cache_dir = "",
                           .system_dirs = Dirs{scratch_ / "none", scratch_ / "user"},
                           .disable_jit = true};
  EXPECT_EQ(new_store().get(kShape, options)->origin(), Origin::system_cache);
  EXPECT_EQ(compiles_, 1);
  // The same folder as the user's own.
  Options own = cached();
  own.disable_jit = true;
  EXPECT_EQ(new_store().get(kShape, own)->origin(), Origin::user_cache);
}

TEST_F(CompiledTest, BadShapesAreRefusedBeforeAnythingElse) {
  constexpr std::int64_t kHuge = std::numeric_limits<std::int64_t>::max();
  constexpr std::int64_t kLow = std::numeric_limits<std::int64_t>::min();
  const int loads = fake_cuda()->loads;
  for (const bool exact : {false, true}) {
    for (const std::int64_t bad : {std::int64_t{0}, std::int64_t{-1}, kHuge, kLow, kMaxM + 1}) {
      for (const Problem& problem : {problem_of(bad, 512, 1024, 128, exact),
                                     problem_of(16, bad == kMaxM + 1 ? 65 : bad, 1024, 128, exact),
                                     problem_of(16, 512, bad == kMaxM + 1 ? 65 : bad, 128, exact),
                                     problem_of(bad, bad, bad, 128, exact)}) {
        const Error error = error_of([&] { store_.get(problem, in_memory()); });
        EXPECT_EQ(error.code(), ErrorCode::invalid_shape) << to_string(problem) << error.what();
        EXPECT_EQ(std::string(error.what()), broken_rule(problem));
      }
    }
    for (const int group : {0, 1, 48, -128, std::numeric_limits<int>::min()}) {
      const Error error =
          error_of([&] { store_.get(problem_of(16, 512, 1024, group, exact), in_memory()); });
      EXPECT_EQ(error.code(), ErrorCode::invalid_shape) << group;
    }
  }
  // k is no multiple of the group.
  EXPECT_EQ(error_of([&] { store_.get(problem_of(16, 512, 192, 128), in_memory()); }).code(),
            ErrorCode::invalid_shape);
  EXPECT_EQ(compiles_, 0);
  EXPECT_EQ(fake_cuda()->loads, loads);
}

TEST_F(CompiledTest, DuringACaptureAHitWorksAndAMissIsRefused) {
  const Kernel* kernel = store_.get(kShape, cached());
  Problem other = kShape;
  other.shape.n = 1024;
  const int unrelaxed = fake_cuda()->unrelaxed, loads = fake_cuda()->loads;

  fake_cuda()->blocking_capture = true;
  EXPECT_EQ(store_.get(kShape, cached()), kernel);
  EXPECT_EQ(error_of([&] { store_.get(other, cached()); }).code(), ErrorCode::capturing);
  // Neither is a kernel loaded that only the disk has.
  EXPECT_EQ(error_of([&] { new_store().get(kShape, cached()); }).code(), ErrorCode::capturing);
  fake_cuda()->blocking_capture = false;

  // A stream that does not block is seen when the call is told of it.
  const auto stream = static_cast<CUstream>(device_pointer(0x77));
  fake_cuda()->captured_stream = stream;
  Options options = cached();
  options.stream = stream;
  EXPECT_EQ(store_.get(kShape, options), kernel);
  EXPECT_EQ(error_of([&] { store_.get(other, options); }).code(), ErrorCode::capturing);
  EXPECT_EQ(compiles_, 1);
  EXPECT_EQ(fake_cuda()->loads, loads);

  // When it is not, the kernel is loaded in a mode that leaves captures alone.
  EXPECT_NE(store_.get(other, cached()), nullptr);
  EXPECT_EQ(fake_cuda()->unrelaxed, unrelaxed);
}

// A green context has some of the device's SMs: its kernels are written for these.
TEST_F(CompiledTest, AContextWithFewerSmsHasKernelsOfItsOwn) {
  const Kernel* whole = store_.get(kShape, in_memory());
  EXPECT_EQ(whole->plan().target.sms, 132);
  const CUcontext green = test::fake_context(0, 1);
  {
    const std::lock_guard lock(fake_cuda()->mutex);
    fake_cuda()->context_sms[green] = 32;
  }
  check(driver().cuCtxSetCurrent(green), "cuCtxSetCurrent");
  const Kernel* part = store_.get(kShape, in_memory());
  EXPECT_EQ(store_.get(kShape, in_memory()), part);
  check(driver().cuCtxSetCurrent(test::fake_context(0, 2)), "cuCtxSetCurrent");
  EXPECT_EQ(store_.get(kShape, in_memory()), whole);  // another context with all of them
  check(driver().cuCtxSetCurrent(test::fake_context(0)), "cuCtxSetCurrent");
  EXPECT_EQ(part->plan().target, (Target{"sm_90a", 32}));
  EXPECT_EQ(store_.get(kShape, in_memory()), whole);
}

TEST_F(CompiledTest, WithoutAContextThereIsNoKernel) {
  fake_cuda()->has_context = false;
  EXPECT_EQ(error_of([&] { store_.get(kShape, in_memory()); }).code(), ErrorCode::no_device);
}

TEST_F(CompiledTest, ACubinTheDriverRefusesIsUnloadedAndTriedAgain) {
  const int loads = fake_cuda()->loads, unloads = fake_cuda()->unloads;
  fake_cuda()->kernel_result = CUDA_ERROR_NOT_FOUND;
  const Error error = error_of([&] { store_.get(kShape, cached()); });
  EXPECT_EQ(error.code(), ErrorCode::driver_failed);
  EXPECT_NE(std::string(error.what()).find("16x512x1024"), std::string::npos) << error.what();
  EXPECT_EQ(fake_cuda()->loads, loads + 1);
  EXPECT_EQ(fake_cuda()->unloads, unloads + 1);
  fake_cuda()->kernel_result = CUDA_SUCCESS;
  EXPECT_NE(store_.get(kShape, cached()), nullptr);
}

TEST_F(CompiledTest, ALaunchPassesThePlanAndThePointers) {
  const Kernel* kernel = store_.get(kShape, in_memory());
  const auto stream = static_cast<CUstream>(device_pointer(0x99));
  EXPECT_EQ(fake_cuda()->shared_bytes, kernel->plan().launch.shared_bytes);
  kernel->launch(stream, sound_args(), 13);
  const test::FakeLaunch& last = fake_cuda()->last;
  EXPECT_EQ(last.entry, kernel->plan().launch.entry);
  EXPECT_EQ(last.m, 13);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(last.pointers[i], device_pointer(0x1000u * (i + 1)));
  EXPECT_EQ(last.config.hStream, stream);
  EXPECT_EQ(static_cast<int>(last.config.blockDimX), kernel->plan().launch.threads);
  EXPECT_EQ(last.config.blockDimY * last.config.blockDimZ, 1u);
  EXPECT_EQ(static_cast<int>(last.config.sharedMemBytes), kernel->plan().launch.shared_bytes);
  EXPECT_EQ(last.config.numAttrs, 0u);
  LaunchArgs args = sound_args();
  args.m = 5;
  kernel->launch(nullptr, args, 13);
  EXPECT_EQ(fake_cuda()->last.m, 5);
}

// Blocks whose token tile lies beyond the rows are not launched; stripes always all are.
TEST_F(CompiledTest, ALaunchOfFewerRowsHasFewerTokenTiles) {
  const Problem problem = {.shape = {.m = 512, .n = 4096, .k = 4096}};
  std::set<Partition::Kind> kinds;
  for (const Config& config : legal_configs(problem, {"sm_90a", 132})) {
    if (config.family() != Family::stripe || config.tile_m >= problem.shape.m) continue;
    if (!kinds.insert(config.partition.kind).second) continue;
    Options options = in_memory();
    options.config = to_string(config);
    const Kernel* kernel = store_.get(problem, options);
    for (const std::int64_t rows : {std::int64_t{1}, std::int64_t{config.tile_m},
                                    std::int64_t{config.tile_m} + 1, problem.shape.m}) {
      kernel->launch(nullptr, sound_args(), rows);
      const CUlaunchConfig& launched = fake_cuda()->last.config;
      const bool stripes = config.partition.kind == Partition::Kind::stripes;
      const std::int64_t tiles = (rows + config.tile_m - 1) / config.tile_m;
      EXPECT_EQ(launched.gridDimX, stripes ? kernel->plan().launch.grid_x : tiles)
          << *options.config;
      EXPECT_EQ(static_cast<int>(launched.gridDimY), kernel->plan().launch.grid_y);
      EXPECT_EQ(static_cast<int>(launched.gridDimZ), kernel->plan().launch.grid_z);
    }
  }
  EXPECT_EQ(kinds.size(), 3u);
}

// Tokens, words and C go as tensor maps, the rest as it is.
TEST_F(CompiledTest, AWgmmaLaunchTakesTensorMaps) {
  const Problem problem = {.shape = {.m = 512, .n = 4096, .k = 4096}};
  Options options = in_memory();
  options.config = "wgmma m128 n256 w8x1 k128 s3 weights stripes132 b1 raster4";
  const Kernel* kernel = store_.get(problem, options);
  const LaunchArgs args = sound_args();
  kernel->launch(nullptr, args, 300);
  const test::FakeLaunch& last = fake_cuda()->last;
  const void* pointers[] = {args.a, args.b, args.scales, args.c, args.workspace};
  EXPECT_TRUE(std::equal(std::begin(pointers), std::end(pointers), std::begin(last.pointers)));
  EXPECT_EQ(last.m, 300);
  EXPECT_EQ(static_cast<int>(last.config.gridDimX), 132);
  EXPECT_EQ(static_cast<int>(last.config.blockDimX), 384);
  ASSERT_EQ(fake_cuda()->maps.size(), 3u);
  const auto expect_map = [](const test::FakeMap& map, std::uint64_t columns, std::uint64_t rows,
                             std::uint64_t pitch, std::uint32_t box_columns,
                             std::uint32_t box_rows) {
    EXPECT_EQ(map.columns, columns);
    EXPECT_EQ(map.rows, rows);
    EXPECT_EQ(map.pitch, pitch);
    EXPECT_EQ(map.box_columns, box_columns);
    EXPECT_EQ(map.box_rows, box_rows);
  };
  expect_map(fake_cuda()->maps[0], 4096, 300, 8192, 64, 128);  // FP16 tokens
  expect_map(fake_cuda()->maps[1], 4096, 256, 32768, 256, 8);  // words of a column and k16 row
  expect_map(fake_cuda()->maps[2], 4096, 300, 8192, 64, 64);   // FP16 results
}

TEST_F(CompiledTest, BadLaunchesAreRefusedWithTheRule) {
  const Kernel* kernel = store_.get(kShape, in_memory());
  const int launches = fake_cuda()->launches;
  const auto refusal = [&](const LaunchArgs& args, std::int64_t rows) {
    const Error error = error_of([&] { kernel->launch(nullptr, args, rows); });
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument) << error.what();
    return std::string(error.what());
  };
  LaunchArgs args = sound_args();
  args.a = nullptr;
  EXPECT_EQ(refusal(args, 1), "a is null");
  args = sound_args();
  args.scales = device_pointer(0x3008);
  EXPECT_EQ(refusal(args, 1), "scales = 0x3008 is not aligned to 16 bytes");
  args = sound_args();
  args.c = device_pointer(0x4001);
  EXPECT_EQ(refusal(args, 1), "c = 0x4001 is not aligned to 16 bytes");
  args = sound_args();
  args.b = nullptr;
  EXPECT_EQ(refusal(args, 1), "b is null");
  for (const std::int64_t m : {std::int64_t{17}, std::int64_t{-1}, std::int64_t{1} << 32}) {
    args = sound_args();
    args.m = m;
    EXPECT_EQ(refusal(args, 1), "m = " + std::to_string(m) + " is not in 0..16");
  }
  EXPECT_EQ(fake_cuda()->launches, launches);
}

TEST_F(CompiledTest, NoRowsIsALaunchOfNothing) {
  Problem exact = kShape;
  exact.shape.exact_m = true;
  for (const Problem& problem : {kShape, exact}) {
    const Kernel* kernel = store_.get(problem, in_memory());
    const int launches = fake_cuda()->launches;
    EXPECT_NO_THROW(kernel->launch(nullptr, {.m = 0}, problem.shape.m));
    EXPECT_EQ(fake_cuda()->launches, launches);
    EXPECT_EQ(error_of([&] { kernel->launch(nullptr, {}, problem.shape.m); }).code(),
              ErrorCode::invalid_argument);  // left out, m is that of get()
  }
}

TEST_F(CompiledTest, AnExactKernelServesOnlyItsM) {
  Problem problem = kShape;
  problem.shape.m = 13;
  problem.shape.exact_m = true;
  const Kernel* kernel = store_.get(problem, in_memory());
  LaunchArgs args = sound_args();
  args.m = 12;
  EXPECT_EQ(error_of([&] { kernel->launch(nullptr, args, 13); }).code(),
            ErrorCode::invalid_argument);
  EXPECT_NO_THROW(kernel->launch(nullptr, sound_args(), 13));
}

TEST_F(CompiledTest, AWorkspaceIsAskedForOnlyWhereOneIsUsed) {
  const Problem problem = {.shape = {.m = 16, .n = 4096, .k = 4096}};
  bool with = false, without = false;
  for (const Config& config : legal_configs(problem, {"sm_90a", 132})) {
    const bool uses = make_plan(problem, {"sm_90a", 132}, config).workspace.bytes > 0;
    if (uses ? with : without) continue;
    (uses ? with : without) = true;
    Options options = in_memory();
    options.config = to_string(config);
    const Kernel* kernel = store_.get(problem, options);
    LaunchArgs args = sound_args();
    args.workspace = nullptr;
    const Error error = error_of([&] { kernel->launch(nullptr, args, 1); });
    EXPECT_STREQ(error.what(), uses ? "workspace is null" : "nothing was thrown");
  }
  EXPECT_TRUE(with && without);
}

TEST_F(CompiledTest, ALaunchTheDriverRefusesIsAnError) {
  const Kernel* kernel = store_.get(kShape, in_memory());
  fake_cuda()->launch_result = CUDA_ERROR_ILLEGAL_ADDRESS;
  EXPECT_EQ(error_of([&] { kernel->launch(nullptr, sound_args(), 1); }).code(),
            ErrorCode::driver_failed);
}

// The public door, with the real compiler behind it.
TEST_F(CompiledTest, GetCompilesWithNvrtcAndLaunchesTheRowsAskedFor) {
  const Options options = cached();
  const Result bad = Compiled::try_get({.m = 16, .n = 100, .k = 1024}, options);
  EXPECT_FALSE(bad);
  ASSERT_TRUE(bad.error.has_value());
  EXPECT_EQ(bad.error->code(), ErrorCode::invalid_shape);

  const Result good = Compiled::try_get({.m = 11, .n = 256, .k = 256}, options);
  ASSERT_TRUE(good) << good.error->what() << good.error->log();
  const Compiled& kernel = *good.kernel;
  EXPECT_EQ(kernel.origin(), Origin::compiled);
  EXPECT_EQ(kernel.problem().shape.m, 16);
  EXPECT_EQ(kernel.target(), (Target{"sm_90a", 132}));
  EXPECT_GT(kernel.resources().registers, 0);
  EXPECT_GT(kernel.resources().cubin_bytes, 0u);
  EXPECT_NE(kernel.source().find("__global__"), std::string::npos);
  kernel.launch(nullptr, sound_args());
  EXPECT_EQ(fake_cuda()->last.m, 11);

  const Kernel* again = new_store().get(problem_of(11, 256, 256), options);
  EXPECT_EQ(again->origin(), Origin::user_cache);
  EXPECT_EQ(again->resources().registers, kernel.resources().registers);
  EXPECT_EQ(compiles_, 0);
}

TEST_F(CompiledTest, OriginsHaveNames) {
  EXPECT_STREQ(to_string(Origin::user_cache), "user cache");
  EXPECT_STREQ(to_string(Origin::system_cache), "system cache");
  EXPECT_STREQ(to_string(Origin::compiled), "compiled");
}

}  // namespace
}  // namespace marlin
