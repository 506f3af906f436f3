// What get() and prebuilding share: keys, failed compiles, remembered compilers, commands.
// Entry point: the tests of suite KernelBuild.
#include "runtime/compile/kernel_build.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <string>

#include "codegen/base/error.h"
#include "codegen/generator.h"
#include "runtime/base/sha256.h"
#include "runtime/choose/select.h"
#include "runtime/compile/nvrtc.h"
#include "tests/unit/problems.h"
#include "tests/unit/runtime/cubin_cache_fixture.h"

namespace marlin {
namespace {

constexpr Problem kShape = {.shape = {.m = 1, .n = 256, .k = 256}};

KernelText kernel_for(const Problem& problem, const Target& target) {
  return write_kernel(problem, target, model_config(problem, target));
}

TEST(KernelBuild, TheKeyTellsShapeTargetOptionsAndCompilerApart) {
  const KernelText base = kernel_for(kShape, {"sm_80", 108});
  KernelText options = base;
  options.options.push_back("--use_fast_math");
  std::set<std::string> keys = {
      cache_key(key_fields(base, "13.0 aa")), cache_key(key_fields(base, "13.0 ab")),
      cache_key(key_fields(options, "13.0 aa")),
      cache_key(key_fields(kernel_for(kShape, {"sm_86", 108}), "13.0 aa")),
      cache_key(key_fields(kernel_for(problem_of(2, 256, 256), {"sm_80", 108}), "13.0 aa"))};
  EXPECT_EQ(keys.size(), 5u);
  EXPECT_EQ(cache_key(key_fields(kernel_for(kShape, {"sm_80", 108}), "13.0 aa")),
            cache_key(key_fields(base, "13.0 aa")));
}

TEST(KernelBuild, ACompiledEntryIsOneTheCacheTakes) {
  const test::ScratchDir scratch;
  const KernelText kernel = kernel_for(kShape, {"sm_80", 108});
  const CacheEntry entry = compile_kernel(kernel);
  EXPECT_EQ(entry.meta.key, key_fields(kernel, nvrtc_identity()));
  EXPECT_EQ(entry.meta.threads, kernel.plan.launch.threads);
  EXPECT_GT(entry.meta.registers, 0);
  EXPECT_EQ(entry.meta.spill_bytes, 0);
  CubinCache cache(scratch / "cache");
  std::string why;
  ASSERT_TRUE(cache.store(entry, &why)) << why;
  EXPECT_EQ(cache.load(cache_key(entry.meta.key)), entry);
}

// Blocks of a cluster split K, or share the tokens that they copy.
TEST(KernelBuild, AnEntrySaysHowManyBlocksAClusterHas) {
  const struct {
    const char* config;
    int cluster;
  } cases[] = {
      {"m8 n64 w1x2 k64 s3 accumulators split1 b1", 1},
      {"decode m8 n64 w1x2 k64 s2 accumulators cluster1 b1", 1},
      {"decode m8 n64 w1x2 k64 s2 accumulators cluster2 b1", 2},
      {"wgmma m64 n128 w4x1 k64 s2 weights split1 b1", 1},
      {"wgmma m64 n128 w4x1 k64 s2 weights cluster4 b1", 4},
      {"wgmma m64 n128 w4x1 k64 s2 weights split1 b1 multicast2", 2},
  };
  for (const auto& [text, cluster] : cases) {
    const Config config = parse_config(text);
    const Problem problem = {.shape = {.m = config.tile_m, .n = 256, .k = 512}};
    ASSERT_EQ(why_illegal(problem, {"sm_90a", 132}, config), std::nullopt) << text;
    const CacheEntry entry = compile_kernel(write_kernel(problem, {"sm_90a", 132}, config));
    EXPECT_EQ(entry.meta.cluster, cluster) << text;
  }
}

TEST(KernelBuild, ARefusedSourceIsKept) {
  const test::ScratchDir scratch;
  KernelText kernel = kernel_for(kShape, {"sm_80", 108});
  kernel.source += "\nnot CUDA";
  try {
    compile_kernel(kernel, scratch / "failed");
    FAIL() << "it was compiled";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::compile_failed);
    EXPECT_EQ(error.source_path(), scratch / "failed" + "/" + sha256_hex(kernel.source) + ".cu");
    EXPECT_EQ(test::read_file(error.source_path()), kernel.source);
    EXPECT_NE(std::string(error.what()).find(error.source_path()), std::string::npos);
    EXPECT_NE(error.log().find("error"), std::string::npos);
    EXPECT_NE(error.options().find("--gpu-architecture=sm_80"), std::string::npos);
  }
}

TEST(KernelBuild, WhereNothingCanBeKeptTheErrorIsTheCompilers) {
  KernelText kernel = kernel_for(kShape, {"sm_80", 108});
  kernel.source = "not CUDA";
  for (const char* dir : {"", "/proc/no/such/place"}) {
    try {
      compile_kernel(kernel, dir);
      FAIL() << "it was compiled";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::compile_failed);
      EXPECT_EQ(error.source_path(), "");
      EXPECT_FALSE(error.log().empty());
    }
  }
}

TEST(KernelBuild, TheCompilersIdentityIsRemembered) {
  const test::ScratchDir scratch;
  const CubinCache cache(scratch / "cache");
  if (find_nvrtc().empty()) GTEST_SKIP() << "only the dynamic loader knows where NVRTC is";
  EXPECT_EQ(recalled_nvrtc_identity(cache), std::nullopt);
  EXPECT_EQ(remembered_nvrtc_identity(cache), nvrtc_identity());
  EXPECT_EQ(recalled_nvrtc_identity(cache), nvrtc_identity());
  const CubinCache none("");
  EXPECT_EQ(remembered_nvrtc_identity(none), nvrtc_identity());
  EXPECT_EQ(recalled_nvrtc_identity(none), std::nullopt);
}

TEST(KernelBuild, ThePrebuildCommandIsOneForAShell) {
  const Target target = {"sm_90a", 132};
  Problem problem = {.shape = {.m = 13, .n = 256, .k = 256, .exact_m = true},
                     .scheme = {.group = -1}};
  Plan plan = make_plan(problem, target, model_config(problem, target));
  EXPECT_EQ(prebuild_command(plan, "", ""),
            "marlin prebuild --arch sm_90a --sms 132 --shape 13x256x256 --scheme f16.u4b8.g-1 "
            "--exact --out DIR");
  plan = make_plan(kShape, target, model_config(kShape, target));
  EXPECT_EQ(prebuild_command(plan, "m8 n256", "/it's here"),
            "marlin prebuild --arch sm_90a --sms 132 --shape 1x256x256 --scheme f16.u4b8.g128 "
            "--config 'm8 n256' --out '/it'\\''s here'");
}

}  // namespace
}  // namespace marlin
