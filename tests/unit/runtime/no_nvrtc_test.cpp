// get() where NVRTC is missing, old or failing: a clear error, and prebuilt kernels still work.
// Entry point: the tests of suite NoNvrtc.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "codegen/base/error.h"
#include "runtime/choose/select.h"
#include "runtime/launch/kernel_store.h"
#include "tests/stubs/fake_cuda.h"
#include "tests/unit/runtime/cubin_cache_fixture.h"

namespace marlin {
namespace {

constexpr Problem kPrebuilt = {.shape = {.m = 16, .n = 512, .k = 1024}};
constexpr Problem kMissing = {.shape = {.m = 16, .n = 1024, .k = 1024}};
const Target kTarget = {"sm_90a", 132};

// A folder as `marlin prebuild` leaves it, of a kernel built by some NVRTC elsewhere.
void prebuild(const std::string& dir) {
  const KernelText kernel = write_kernel(kPrebuilt, kTarget, model_config(kPrebuilt, kTarget));
  CacheEntry entry;
  entry.meta.key = key_fields(kernel, "12.6 0123456789abcdef");
  entry.meta.problem = to_string(kPrebuilt);
  entry.meta.config = to_string(kernel.plan.config);
  entry.meta.sms = kTarget.sms;
  entry.meta.threads = kernel.plan.launch.threads;
  entry.meta.shared_bytes = kernel.plan.launch.shared_bytes;
  entry.cubin = test::stand_in_cubin(90, 256, 1);
  CubinCache cache(dir);
  ASSERT_TRUE(cache.store(entry));
  cache.write_manifest();
}

Error error_of(KernelStore& store, const Problem& problem, const Options& options) {
  try {
    store.get(problem, options);
  } catch (const Error& error) {
    return error;
  }
  return Error(ErrorCode::io, "nothing was thrown");
}

class NoNvrtc : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(fake_cuda(), nullptr);  // keeps the make-believe driver linked
    prebuild(scratch_ / "prebuilt");
  }
  Options options() const {
    return {.cache_dir = scratch_ / "user",
            .system_dirs = std::vector<std::string>{scratch_ / "prebuilt"},
            .disable_jit = false};
  }
  test::ScratchDir scratch_;
};

// One test, because a library that opens stays open: the one that fails only when it compiles comes
// last.
TEST_F(NoNvrtc, PrebuiltKernelsServeAndAMissSaysWhatIsWrong) {
  struct Case {
    const char* library;
    const char* said;
  };
  const Case cases[] = {{"/not/there/libnvrtc.so", "/not/there/libnvrtc.so"},
                        {NVRTC_OLD, "is NVRTC 11.8: 12.0 or newer is needed"},
                        {NVRTC_LACKS, "has no nvrtcGetCUBIN"}};
  for (const Case& c : cases) {
    setenv("MARLIN_NVRTC", c.library, 1);
    KernelStore store;
    EXPECT_EQ(store.get(kPrebuilt, options())->origin(), Origin::system_cache);
    const Error error = error_of(store, kMissing, options());
    EXPECT_EQ(error.code(), ErrorCode::no_nvrtc);
    EXPECT_NE(std::string(error.what()).find(c.said), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("MARLIN_NVRTC"), std::string::npos) << error.what();
  }

  setenv("MARLIN_NVRTC", NVRTC_REFUSES, 1);
  KernelStore store;
  EXPECT_EQ(store.get(kPrebuilt, options())->origin(), Origin::system_cache);
  const Error error = error_of(store, kMissing, options());
  EXPECT_EQ(error.code(), ErrorCode::compile_failed);
  EXPECT_EQ(error.log(), "fake.cu(1): error: refused by a test");
  EXPECT_EQ(error.source_path().find(scratch_ / "user/failed/"), 0u) << error.source_path();
  EXPECT_NE(test::read_file(error.source_path()).find("__global__"), std::string::npos);
  EXPECT_TRUE(CubinCache(scratch_ / "user").list().empty());
}

}  // namespace
}  // namespace marlin
