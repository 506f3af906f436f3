// The kernels that measure and check, compiled for the oldest and the newest common architecture:
// no spills, and no load of the read floor removed.
// Entry point: the tests of suite CheckingKernels.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "runtime/compile/nvrtc.h"
#include "tuner/measure/gpu.h"

namespace marlin {
namespace {

CompileOutput compile(const std::string& file, const std::string& arch) {
  return nvrtc_compile({.source = std::string(tuner_kernel_text(file)),
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
                    File{"read_floor.cu", {"read_floor_4", "read_floor_8"}},
                    File{"sm_clock.cu", {"read_sm_clocks"}}));

TEST(CheckingKernelTexts, UnknownNameIsALogicError) {
  EXPECT_THROW(tuner_kernel_text("kernels/stripe.cu"), std::logic_error);
}

TEST(ReadFloorKernels, ChainedOnesDoNotSpill) {
  const CompileOutput output = compile("read_floor.cu", "sm_90a");
  for (const char* entry : {"chained_read_floor_4", "chained_read_floor_8"}) {
    const KernelResources resources = parse_resources(output.log, entry);
    EXPECT_EQ(resources.spill_stores, 0) << entry;
    EXPECT_GT(resources.registers, 0) << entry;
  }
}

std::size_t occurrences(const std::string& text, const std::string& word) {
  std::size_t count = 0;
  for (auto at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++count;
  return count;
}

// A kernel's PTX from its name to its end.
std::string body_of(const std::string& ptx, const std::string& entry) {
  const auto begin = ptx.find(".entry " + entry + "(");
  if (begin == std::string::npos) return "";
  return ptx.substr(begin, ptx.find("\n}", begin) - begin);
}

constexpr const char* kFloorLoad = "ld.global.nc.L1::no_allocate.L2::128B.v4.u32";

// Both kernels, once ahead of the loop and once in it.
TEST(ReadFloorKernels, KeepEveryLoad) {
  const std::string ptx = compile("read_floor.cu", "sm_80").ptx;
  EXPECT_EQ(occurrences(ptx, kFloorLoad), 2 * (4U + 8U));
  EXPECT_EQ(occurrences(ptx, "griddepcontrol"), 0U);
  EXPECT_EQ(occurrences(compile("read_floor.cu", "sm_90a").ptx, kFloorLoad), 4 * (4U + 8U));
}

// The next kernel may start before anything else is done, and only the first loads come before the
// wait for the previous one.
TEST(ReadFloorKernels, ChainedOnesRequestTheirDataBeforeTheyWait) {
  for (const std::string arch : {"sm_90a", "sm_100", "sm_120"}) {
    const std::string ptx = compile("read_floor.cu", arch).ptx;
    for (const std::size_t unroll : {4U, 8U}) {
      const std::string kernel = body_of(ptx, "chained_read_floor_" + std::to_string(unroll));
      const auto launch = kernel.find("griddepcontrol.launch_dependents;");
      const auto wait = kernel.find("griddepcontrol.wait;");
      ASSERT_LT(launch, wait) << kernel;
      EXPECT_EQ(occurrences(kernel.substr(0, launch), kFloorLoad), 0U);
      EXPECT_EQ(occurrences(kernel.substr(launch, wait - launch), kFloorLoad), unroll);
      const std::string after = kernel.substr(wait);
      EXPECT_EQ(occurrences(after, kFloorLoad), unroll);
      EXPECT_EQ(occurrences(after, "ld.global.u32"), 1U) << "the word of the previous kernel";
      EXPECT_EQ(occurrences(kernel, "ld.global.u32"), 1U);
    }
    EXPECT_EQ(occurrences(body_of(ptx, "read_floor_4"), "griddepcontrol"), 0U);
  }
}

TEST(ReferenceKernel, MultipliesInDoublePrecision) {
  const std::string ptx = compile("reference.cu", "sm_90a").ptx;
  EXPECT_GT(occurrences(ptx, "fma.rn.f64"), 16U);
  EXPECT_EQ(occurrences(ptx, "fma.rn.f32"), 0U);
}

}  // namespace
}  // namespace marlin
