// Compiled::get on a real driver: memory, disk, captures, threads, prebuilt folders.
// Entry point: the tests of suite CompiledGpu.
#include "marlin/compiled.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "runtime/launch/kernel_store.h"
#include "tests/gpu/captured_stream.h"
#include "tests/unit/problems.h"
#include "tests/unit/runtime/cubin_cache_fixture.h"
#include "tuner/measure/gpu.h"

namespace marlin {
namespace {

constexpr Problem kShape = {.shape = {.m = 16, .n = 512, .k = 1024}};
constexpr Problem kOther = {.shape = {.m = 16, .n = 1024, .k = 1024}};

class CompiledGpu : public testing::Test {
 protected:
  void SetUp() override {
    if (!gpu_available()) GTEST_SKIP() << "no GPU";
    gpu_.emplace();
    for (DeviceBuffer& buffer : buffers_) {
      buffer = DeviceBuffer(std::size_t{4} << 20);
      check(driver().cuMemsetD8(buffer.address(), 0, buffer.bytes()), "cuMemsetD8");
    }
    check(driver().cuCtxSynchronize(), "cuCtxSynchronize");
  }

  KernelStore& new_store() {
    return *stores_.emplace_back(
        std::make_unique<KernelStore>([this](const KernelText& kernel, const std::string& dir) {
          ++compiles_;
          return compile_kernel(kernel, dir);
        }));
  }

  Options cached() const {
    return {.cache_dir = scratch_ / "cache",
            .system_dirs = std::vector<std::string>{},
            .disable_jit = false};
  }

  // Data of any value: only whether the launch works is looked at here.
  void launch(const Kernel* kernel, CUstream stream) const {
    ASSERT_LE(kernel->plan().workspace.bytes, std::int64_t{4} << 20);
    kernel->launch(stream,
                   {.a = buffers_[0].pointer(),
                    .b = buffers_[1].pointer(),
                    .scales = buffers_[2].pointer(),
                    .c = buffers_[3].pointer(),
                    .workspace = buffers_[4].pointer()},
                   kernel->plan().problem.shape.m);
  }

  static std::optional<ErrorCode> refusal(KernelStore& store, const Problem& problem,
                                          const Options& options) {
    try {
      store.get(problem, options);
      return std::nullopt;
    } catch (const Error& error) {
      return error.code();
    }
  }

  test::ScratchDir scratch_;
  std::optional<Gpu> gpu_;
  std::array<DeviceBuffer, 5> buffers_;
  std::atomic<int> compiles_{0};
  std::vector<std::unique_ptr<KernelStore>> stores_;  // kernels live as long as these
  KernelStore& store_ = new_store();
};

TEST_F(CompiledGpu, MemoryThenDiskThenCompiler) {
  const Kernel* kernel = store_.get(kShape, cached());
  EXPECT_EQ(store_.get(kShape, cached()), kernel);
  EXPECT_EQ(kernel->origin(), Origin::compiled);
  const Kernel* loaded = new_store().get(kShape, cached());
  EXPECT_EQ(loaded->origin(), Origin::user_cache);
  EXPECT_EQ(compiles_, 1);
  launch(kernel, nullptr);
  launch(loaded, nullptr);
  check(driver().cuCtxSynchronize(), "cuCtxSynchronize");
}

TEST_F(CompiledGpu, ACaptureTakesAHitsLaunch) {
  const Kernel* kernel = store_.get(kShape, cached());
  for (const unsigned flags : {CU_STREAM_DEFAULT, CU_STREAM_NON_BLOCKING}) {
    CapturedStream stream(flags);
    stream.begin();
    EXPECT_EQ(store_.get(kShape, cached()), kernel);
    launch(kernel, stream.handle());
    EXPECT_EQ(stream.end(), 1u);
    stream.replay();
  }
}

// Also a kernel's first launch ever may be a captured one.
TEST_F(CompiledGpu, AMissDuringACaptureIsRefusedAndTheGraphStaysWhole) {
  const Kernel* kernel = store_.get(kShape, cached());
  store_.get(kOther, cached());
  for (const unsigned flags : {CU_STREAM_DEFAULT, CU_STREAM_NON_BLOCKING}) {
    CapturedStream stream(flags);
    Options options = cached();
    if (flags == CU_STREAM_NON_BLOCKING) options.stream = stream.handle();
    stream.begin();
    EXPECT_EQ(refusal(new_store(), kOther, options), ErrorCode::capturing);  // on disk
    EXPECT_EQ(refusal(store_, problem_of(16, 2048, 1024), options), ErrorCode::capturing);
    launch(kernel, stream.handle());
    EXPECT_EQ(stream.end(), 1u);
    stream.replay();
  }
  EXPECT_EQ(compiles_, 2);
}

TEST_F(CompiledGpu, ACaptureThatCannotBeSeenStaysWhole) {
  const Kernel* kernel = store_.get(kShape, cached());
  CapturedStream stream(CU_STREAM_NON_BLOCKING);
  stream.begin();
  launch(kernel, stream.handle());
  const Kernel* other = store_.get(kOther, cached());  // compiled and loaded beside the capture
  launch(other, stream.handle());
  EXPECT_EQ(stream.end(), 2u);
  stream.replay();
}

TEST_F(CompiledGpu, ThreadsShareOneCompile) {
  std::array<const Kernel*, 4> got = {};
  std::vector<std::thread> threads;
  for (const Kernel*& kernel : got) {
    threads.emplace_back([&] {
      gpu_->make_current();
      kernel = store_.get(kShape, cached());
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(compiles_, 1);
  for (const Kernel* kernel : got) EXPECT_EQ(kernel, got[0]);
  launch(got[0], nullptr);
  check(driver().cuCtxSynchronize(), "cuCtxSynchronize");
}

TEST_F(CompiledGpu, AThreadWithoutAContextIsTold) {
  std::optional<ErrorCode> code;
  std::thread([&] { code = refusal(store_, kShape, cached()); }).join();
  EXPECT_EQ(code, ErrorCode::no_device);
}

TEST_F(CompiledGpu, WithoutJitAPrebuiltFolderServes) {
  store_.get(kShape, cached());
  CubinCache(scratch_ / "cache").write_manifest();
  const Options options = {.cache_dir = "",
                           .system_dirs = std::vector<std::string>{scratch_ / "cache"},
                           .disable_jit = true};
  KernelStore& production = new_store();
  const Kernel* kernel = production.get(kShape, options);
  EXPECT_EQ(kernel->origin(), Origin::system_cache);
  launch(kernel, nullptr);
  check(driver().cuCtxSynchronize(), "cuCtxSynchronize");
  EXPECT_EQ(refusal(production, kOther, options), ErrorCode::jit_disabled);
  EXPECT_EQ(compiles_, 1);
}

}  // namespace
}  // namespace marlin
