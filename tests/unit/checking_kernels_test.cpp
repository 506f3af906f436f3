// The kernels that measure and check, compiled for the oldest and the newest common architecture:
// no spills, and no load of the read floor removed.
// Entry point: the tests of suite CheckingKernels.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "codegen/templates.h"
#include "runtime/nvrtc.h"

namespace marlin {
namespace {

CompileOutput compile(const std::string& file, const std::string& arch) {
  return nvrtc_compile({.source = std::string(template_text(file)),
                        .name = file,
                        .arch = arch,
                        .options = kernel_compile_options()});
}

struct File {
  std::string name;
  std::vector<std::string> entries;
};

void PrintTo(const File& file, std::ostream* out) { *out << file.name; }

class CheckingKernels : public testing::TestWithParam<File> {};

TEST_P(CheckingKernels, CompileWithoutSpills) {
  for (const std::string arch : {"sm_80", "sm_90a"}) {
    const CompileOutput output = compile(GetParam().name, arch);
    EXPECT_FALSE(output.cubin.empty());
    for (const std::string& entry : GetParam().entries) {
      const KernelResources resources = parse_resources(output.log, entry);
      EXPECT_EQ(resources.spill_stores, 0) << arch << " " << entry;
      EXPECT_EQ(resources.spill_loads, 0) << arch << " " << entry;
      EXPECT_GT(resources.registers, 0) << arch << " " << entry;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Files, CheckingKernels,
    testing::Values(File{"fill.cu", {"fill_codes", "fill_bytes", "fill_uniform", "fill_normal"}},
                    File{"reference.cu",
                         {"reference_gemm", "compare", "count_other", "count_different"}},
                    File{"read_floor.cu", {"read_floor_4", "read_floor_8"}}));

std::size_t occurrences(const std::string& text, const std::string& word) {
  std::size_t count = 0;
  for (auto at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++count;
  return count;
}

TEST(ReadFloorKernels, KeepEveryLoad) {
  const std::string ptx = compile("read_floor.cu", "sm_90a").ptx;
  EXPECT_EQ(occurrences(ptx, "ld.global.nc.L1::no_allocate.L2::128B.v4.u32"), 4U + 8U);
}

TEST(ReferenceKernel, MultipliesInDoublePrecision) {
  const std::string ptx = compile("reference.cu", "sm_90a").ptx;
  EXPECT_GT(occurrences(ptx, "fma.rn.f64"), 16U);
  EXPECT_EQ(occurrences(ptx, "fma.rn.f32"), 0U);
}

}  // namespace
}  // namespace marlin
