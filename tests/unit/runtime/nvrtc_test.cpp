// NVRTC as installed here, libraries that are broken in known ways, and ptxas's report.
// Entry point: the tests of suites Nvrtc, NvrtcFaults, NvrtcSearch and PtxasReport.
#include "runtime/compile/nvrtc.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <string>
#include <thread>

#include "codegen/base/error.h"
#include "runtime/base/sha256.h"
#include "runtime/compile/nvrtc_find.h"
#include "tests/unit/runtime/cubin_cache_fixture.h"

namespace marlin {
namespace {

CompileRequest request_for(std::string source, std::string arch = "sm_80") {
  return {.source = std::move(source),
          .name = "probe.cu",
          .arch = std::move(arch),
          .options = kernel_compile_options()};
}

constexpr const char* kProbe =
    "extern \"C\" __global__ void probe(float* x) { __shared__ float s[32];"
    " s[threadIdx.x] = x[threadIdx.x]; __syncthreads(); x[threadIdx.x] = s[31 - threadIdx.x]; }";

template <typename Action>
Error error_of(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error;
  }
  return Error(ErrorCode::io, "nothing was thrown");
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(Nvrtc, OneCompileGivesPtxCubinAndReport) {
  const CompileOutput output = nvrtc_compile(request_for(kProbe));
  EXPECT_TRUE(contains(output.ptx, ".entry probe"));
  EXPECT_EQ(output.ptx.find('\0'), std::string::npos);
  EXPECT_EQ(output.cubin.substr(0, 4),
            "\x7f"
            "ELF");
  EXPECT_GT(output.milliseconds, 0);
  const KernelResources resources = parse_resources(output.log, "probe");
  EXPECT_GT(resources.registers, 0);
  EXPECT_EQ(resources.static_shared_bytes, 128);
  EXPECT_EQ(resources.spill_stores, 0);
}

TEST(Nvrtc, TheSameSourceGivesTheSameCubin) {
  EXPECT_EQ(nvrtc_compile(request_for(kProbe)).cubin, nvrtc_compile(request_for(kProbe)).cubin);
}

TEST(Nvrtc, ARefusedSourceComesBackWithLogAndOptions) {
  const Error error = error_of([] { nvrtc_compile(request_for("__global__ void probe( {")); });
  EXPECT_EQ(error.code(), ErrorCode::compile_failed) << error.what();
  EXPECT_TRUE(contains(error.log(), "probe.cu(1): error")) << error.log();
  EXPECT_TRUE(contains(error.options(), "--gpu-architecture=sm_80\n")) << error.options();
}

TEST(Nvrtc, AnUnknownOptionIsRefused) {
  CompileRequest request = request_for(kProbe);
  request.options.push_back("--no-such-option");
  EXPECT_EQ(error_of([&] { nvrtc_compile(request); }).code(), ErrorCode::compile_failed);
}

TEST(Nvrtc, AnUnknownArchitectureIsRefused) {
  for (const char* arch : {"sm_20", "sm_999", "", "nonsense"}) {
    const Error error = error_of([&] { nvrtc_compile(request_for(kProbe, arch)); });
    EXPECT_EQ(error.code(), ErrorCode::no_nvrtc) << arch << ": " << error.what();
  }
}

TEST(Nvrtc, ThreadsCompileAtTheSameTime) {
  std::string cubins[3];
  std::vector<std::thread> threads;
  for (std::string& cubin : cubins) {
    threads.emplace_back([&cubin] { cubin = nvrtc_compile(request_for(kProbe)).cubin; });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_FALSE(cubins[0].empty());
  EXPECT_EQ(cubins[0], cubins[1]);
  EXPECT_EQ(cubins[0], cubins[2]);
}

TEST(Nvrtc, TheIdentityIsVersionAndBuild) {
  EXPECT_TRUE(std::regex_match(nvrtc_identity(),
                               std::regex("[0-9]+\\.[0-9]+ ([0-9a-f]{16,}|sha256:[0-9a-f]{64})")))
      << nvrtc_identity();
  EXPECT_EQ(nvrtc_identity(), nvrtc().identity());
  EXPECT_EQ(nvrtc_identity().substr(0, nvrtc_identity().find(' ')), nvrtc().version());
}

TEST(Nvrtc, WhatIsFoundWithoutOpeningIsWhatIsOpened) {
  const std::string found = find_nvrtc();
  if (found.empty()) GTEST_SKIP() << "only the dynamic loader knows where NVRTC is";
  EXPECT_EQ(found, nvrtc().path());
}

TEST(NvrtcFaults, AMissingLibraryIsNamed) {
  const Error error = error_of([] { Nvrtc("/not/there/libnvrtc.so"); });
  EXPECT_EQ(error.code(), ErrorCode::no_nvrtc);
  EXPECT_TRUE(contains(error.what(), "/not/there/libnvrtc.so")) << error.what();
}

TEST(NvrtcFaults, AnOldLibraryIsRefusedWithWhatIsNeeded) {
  const Error error = error_of([] { Nvrtc library(NVRTC_OLD); });
  EXPECT_EQ(error.code(), ErrorCode::no_nvrtc);
  EXPECT_TRUE(contains(error.what(), "is NVRTC 11.8: 12.0 or newer is needed")) << error.what();
}

TEST(NvrtcFaults, ALackingFunctionIsNamed) {
  const Error error = error_of([] { Nvrtc library(NVRTC_LACKS); });
  EXPECT_EQ(error.code(), ErrorCode::no_nvrtc);
  EXPECT_TRUE(contains(error.what(), "has no nvrtcGetCUBIN")) << error.what();
}

TEST(NvrtcFaults, SuccessWithoutACubinIsAFailure) {
  const Error error = error_of([] { Nvrtc(NVRTC_EMPTY).compile(request_for(kProbe)); });
  EXPECT_EQ(error.code(), ErrorCode::compile_failed);
  EXPECT_TRUE(contains(error.what(), "gives no cubin")) << error.what();
}

TEST(NvrtcFaults, TheLogOfARefusalIsKept) {
  const Error error = error_of([] { Nvrtc(NVRTC_REFUSES).compile(request_for(kProbe)); });
  EXPECT_EQ(error.code(), ErrorCode::compile_failed);
  EXPECT_EQ(error.log(), "fake.cu(1): error: refused by a test");
  EXPECT_TRUE(contains(error.what(), "NVRTC_ERROR_COMPILATION")) << error.what();
}

TEST(NvrtcFaults, ALibraryThatCannotCreateAProgramFails) {
  const Error error = error_of([] { Nvrtc(NVRTC_MUTE).compile(request_for(kProbe)); });
  EXPECT_EQ(error.code(), ErrorCode::compile_failed);
  EXPECT_TRUE(contains(error.what(), "NVRTC_ERROR_INTERNAL_ERROR")) << error.what();
}

TEST(NvrtcFaults, Sm120NeedsANewerLibrary) {
  const Error error = error_of([] { Nvrtc(NVRTC_EMPTY).compile(request_for(kProbe, "sm_120")); });
  EXPECT_EQ(error.code(), ErrorCode::no_nvrtc);
  EXPECT_TRUE(contains(error.what(), "12.8 or newer is needed")) << error.what();
}

class NvrtcSearch : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"MARLIN_NVRTC", "LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_PATH"}) {
      unsetenv(name);
    }
  }
  // An empty file; searching looks at names only.
  std::string make(const std::string& name) {
    const std::string path = scratch_ / name;
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    std::ofstream(path).flush();
    return path;
  }
  static std::size_t place(const std::string& path) {
    const auto all = nvrtc_candidates();
    return static_cast<std::size_t>(std::find(all.begin(), all.end(), path) - all.begin());
  }
  test::ScratchDir scratch_;
};

TEST_F(NvrtcSearch, ANamedLibraryIsTheOnlyOne) {
  setenv("MARLIN_NVRTC", "/some/libnvrtc.so", 1);
  EXPECT_EQ(nvrtc_candidates(), std::vector<std::string>{"/some/libnvrtc.so"});
  EXPECT_EQ(find_nvrtc(), "");
  const std::string real = make("named.so");
  setenv("MARLIN_NVRTC", real.c_str(), 1);
  EXPECT_EQ(find_nvrtc(), std::filesystem::canonical(real));
}

TEST_F(NvrtcSearch, FoldersAreSearchedInOrderAndVersionedNamesFirst) {
  const std::string plain = make("path/libnvrtc.so"), versioned = make("path/libnvrtc.so.12");
  const std::string newer = make("home/lib64/libnvrtc.so.13");
  setenv("LD_LIBRARY_PATH", (":" + scratch_ / "none" + ":" + scratch_ / "path").c_str(), 1);
  setenv("CUDA_HOME", (scratch_ / "home").c_str(), 1);
  EXPECT_LT(place(versioned), place(newer));
  EXPECT_LT(place(newer), place(plain));
  EXPECT_LT(place(plain), place("libnvrtc.so.13"));  // the loader's own search comes last
  EXPECT_LT(place("libnvrtc.so.13"), nvrtc_candidates().size());
}

TEST_F(NvrtcSearch, AFileWithoutABuildIdIsNamedByItsBytes) {
  const std::string path = make("bytes");
  std::ofstream(path) << "no ELF at all";
  EXPECT_EQ(build_of(path), "sha256:" + sha256_hex("no ELF at all"));
  std::ofstream(path) << "\x7f"
                         "ELF";  // cut off inside the header
  EXPECT_EQ(build_of(path).substr(0, 7), "sha256:");
  EXPECT_EQ(error_of([&] { build_of(path + ".absent"); }).code(), ErrorCode::io);
}

// Logs as NVRTC 12.0 and 13.0 print them.
constexpr const char* kOldLog =
    "ptxas info    : 304 bytes gmem\n"
    "ptxas info    : Compiling entry function 'first' for 'sm_90a'\n"
    "ptxas info    : Function properties for first\n"
    "ptxas         .     256 bytes stack frame, 12 bytes spill stores, 16 bytes spill loads\n"
    "ptxas info    : Used 19 registers, 512 bytes smem\n"
    "ptxas info    : Compiling entry function 'second' for 'sm_90a'\n"
    "ptxas info    : Function properties for second\n"
    "ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
    "ptxas info    : Used 255 registers\n";
constexpr const char* kNewLog =
    "ptxas info    : 0 bytes gmem\n"
    "ptxas info    : Compiling entry function 'first' for 'sm_90a'\n"
    "ptxas info    : (C7508) Potential Performance Loss: all registers are taken\n"
    "ptxas info    : Function properties for first\n"
    "ptxas         .     256 bytes stack frame, 0 bytes spill stores, 8 bytes spill loads\n"
    "ptxas info    : Used 19 registers, used 1 barriers, 256 bytes cumulative stack size, 512 bytes"
    " smem\n"
    "ptxas info    : Compile time = 5.625 ms\n";

TEST(PtxasReport, OldAndNewLogsAreRead) {
  struct Case {
    const char* log;
    const char* entry;
    int registers, stores, loads, stack, shared;
  };
  const Case cases[] = {{kOldLog, "first", 19, 12, 16, 256, 512},
                        {kOldLog, "second", 255, 0, 0, 0, 0},
                        {kNewLog, "first", 19, 0, 8, 256, 512}};
  for (const Case& c : cases) {
    const KernelResources got = parse_resources(c.log, c.entry);
    EXPECT_EQ(got.registers, c.registers);
    EXPECT_EQ(got.spill_stores, c.stores);
    EXPECT_EQ(got.spill_loads, c.loads);
    EXPECT_EQ(got.stack_bytes, c.stack);
    EXPECT_EQ(got.static_shared_bytes, c.shared);
  }
}

TEST(PtxasReport, AMissingReportIsAnError) {
  for (const char* log :
       {"", kNewLog, "ptxas info    : Compiling entry function 'other' for 'sm_80'\n"}) {
    EXPECT_EQ(error_of([&] { parse_resources(log, "other"); }).code(), ErrorCode::compile_failed);
  }
  EXPECT_EQ(error_of([&] { parse_resources(kNewLog, "firs"); }).code(), ErrorCode::compile_failed);
}

}  // namespace
}  // namespace marlin
