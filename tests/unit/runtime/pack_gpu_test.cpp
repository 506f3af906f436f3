// What GPU packing does before any GPU is needed: refusals, its kernels' text and their cubins.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "codegen/problem/target.h"
#include "marlin/pack.h"
#include "runtime/compile/nvrtc.h"
#include "runtime/pack/pack_kernels.h"
#include "tests/stubs/fake_cuda.h"
#include "tests/unit/refusal.h"

namespace marlin {
namespace {

namespace fs = std::filesystem;

using test::refusal;

TEST(PackGpuRefuses, ShapesAndPointersWithTheRule) {
  const Problem problem{.shape = {.n = 64, .k = 128}, .scheme = {.group = 128}};
  const auto at = [](std::uintptr_t address) { return reinterpret_cast<void*>(address); };
  void* good = at(0x1000);
  EXPECT_EQ(refusal([&] {
              pack_codes_gpu(nullptr, {.shape = {.n = 65, .k = 128}, .scheme = {.group = 128}},
                             good, good, good, good);
            }),
            "invalid_shape: n = 65 is not a multiple of 64");
  EXPECT_EQ(refusal([&] {
              quantize_rtn_gpu(nullptr, {.shape = {.n = 64, .k = 64}, .scheme = {.group = 128}},
                               good, good, good);
            }),
            "invalid_shape: k = 64 is not a multiple of the group, 128");
  EXPECT_EQ(refusal([&] { unpack_codes_gpu(nullptr, {}, good, good, good, good); }).substr(0, 14),
            "invalid_shape:");
  EXPECT_EQ(refusal([&] { pack_codes_gpu(nullptr, problem, nullptr, good, good, good); }),
            "invalid_argument: codes is null");
  EXPECT_EQ(refusal([&] { pack_codes_gpu(nullptr, problem, good, good, good, at(0x1008)); }),
            "invalid_argument: packed_scales = 0x1008 is not 16-byte aligned");
  EXPECT_EQ(refusal([&] { unpack_codes_gpu(nullptr, problem, at(0x1004), good, good, good); }),
            "invalid_argument: packed = 0x1004 is not 16-byte aligned");
  EXPECT_EQ(refusal([&] { quantize_rtn_gpu(nullptr, problem, good, good, nullptr); }),
            "invalid_argument: scales is null");
  EXPECT_EQ(refusal([&] {
              quantize_rtn_gpu(nullptr, problem, good, good, good,
                               static_cast<std::uint32_t*>(at(0x1002)));
            }),
            "invalid_argument: status = 0x1002 is not 4-byte aligned");
}

TEST(PackKernels, CompileForEveryArchitectureWithoutSpills) {
  for (const ArchLimits& arch : known_archs()) {
    const CompileOutput output = nvrtc_compile({.source = pack_source(),
                                                .name = "pack.cu",
                                                .arch = std::string(arch.name),
                                                .options = kernel_compile_options()});
    for (const char* entry : {"marlin_pack_codes", "marlin_unpack_codes", "marlin_pack_scales",
                              "marlin_unpack_scales", "marlin_quantize_rtn"}) {
      const KernelResources resources = parse_resources(output.log, entry);
      EXPECT_EQ(resources.spill_stores + resources.spill_loads + resources.stack_bytes, 0)
          << entry << ' ' << arch.name;
      EXPECT_GT(resources.registers, 0) << entry << ' ' << arch.name;
    }
  }
}

// A cache folder of its own, gone with the test.
class PackKernelCache : public testing::Test {
 protected:
  void SetUp() override {
    std::string path = (fs::temp_directory_path() / "marlin_pack_XXXXXX").string();
    ASSERT_NE(mkdtemp(path.data()), nullptr);
    dir_ = path;
    setenv("MARLIN_CACHE_DIR", path.c_str(), 1);
  }
  void TearDown() override {
    unsetenv("MARLIN_CACHE_DIR");
    unsetenv("MARLIN_DISABLE_JIT");
    fs::remove_all(dir_);
  }

  int entries() const {
    int count = 0;
    for (const auto& file : fs::recursive_directory_iterator(dir_)) {
      count += file.path().extension() == ".mcb";
    }
    return count;
  }

  fs::path dir_;
};

TEST_F(PackKernelCache, KeepsTheCubinAndServesItWithoutJit) {
  const auto pack_cubin = [](const std::string& arch) {
    std::string cubin;
    with_pack_cubin(arch, [&](const FoundKernel& found) { cubin = found.entry.cubin; });
    return cubin;
  };
  const std::string built = pack_cubin("sm_80");
  EXPECT_EQ(entries(), 1);
  setenv("MARLIN_DISABLE_JIT", "1", 1);
  EXPECT_EQ(pack_cubin("sm_80"), built);
  EXPECT_EQ(refusal([&] { pack_cubin("sm_90"); }),
            "jit_disabled: the kernels of GPU weight packing for sm_90 are in no cache and "
            "MARLIN_DISABLE_JIT is set: pack on the CPU, or pack on the GPU once without it\n"
            "Passed over:\n  " +
                dir_.string() + ": has no entry for it");
  EXPECT_EQ(entries(), 1);
}

// On a make-believe GPU: what is loaded, when it is refused, and what is launched.
TEST_F(PackKernelCache, LoadsOnceAndNotDuringACapture) {
  const Problem problem{.shape = {.n = 192, .k = 256}, .scheme = {.group = 64}};
  void* memory = reinterpret_cast<void*>(std::uintptr_t{0x1000});
  const auto stream = reinterpret_cast<CUstream>(std::uintptr_t{0x77});
  const auto quantize = [&] { quantize_rtn_gpu(stream, problem, memory, memory, memory); };
  const std::string capturing =
      "capturing: the first GPU packing call on a device loads its kernels, which cannot be done "
      "while a stream is being captured: make one call before the capture";
  fake_cuda()->captured_stream = stream;
  EXPECT_EQ(refusal(quantize), capturing);
  fake_cuda()->captured_stream = nullptr;
  fake_cuda()->blocking_capture = true;
  EXPECT_EQ(refusal(quantize), capturing);
  fake_cuda()->blocking_capture = false;
  EXPECT_EQ(fake_cuda()->loads, 0);

  fake_cuda()->kernel_result = CUDA_ERROR_NOT_FOUND;
  EXPECT_EQ(refusal(quantize).substr(0, 14), "driver_failed:");
  EXPECT_EQ(fake_cuda()->unloads, 1);
  fake_cuda()->kernel_result = CUDA_SUCCESS;

  quantize();
  fake_cuda()->captured_stream = stream;  // loaded now: a capture is no hindrance
  quantize();
  fake_cuda()->captured_stream = nullptr;
  EXPECT_EQ(fake_cuda()->loads, 2);
  EXPECT_EQ(fake_cuda()->launches, 2);
  EXPECT_EQ(fake_cuda()->unrelaxed, 0);
  const CUlaunchConfig& launched = fake_cuda()->last.config;
  EXPECT_EQ(launched.hStream, stream);
  EXPECT_EQ(launched.gridDimX, 6u);  // 32 columns a block
  EXPECT_EQ(launched.gridDimY, 4u);  // groups
  EXPECT_EQ(launched.blockDimX * launched.blockDimY, 256u);
}

}  // namespace
}  // namespace marlin
