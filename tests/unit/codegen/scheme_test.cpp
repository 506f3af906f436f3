// Schemes and problems: their texts, and which are refused with which sentence.
// Entry points: the tests of suites SchemeText and ProblemRule.
#include <gtest/gtest.h>

#include <string>

#include "codegen/base/error.h"
#include "codegen/generator.h"
#include "tests/unit/problems.h"

namespace marlin {
namespace {

TEST(SchemeText, EveryOneThatHasKernelsReadsBack) {
  ASSERT_EQ(schemes().size(), 4u);
  for (const Scheme& scheme : schemes()) EXPECT_EQ(parse_scheme(to_string(scheme)), scheme);
  EXPECT_EQ(to_string(Scheme{}), "f16.u4b8.g128");
  EXPECT_EQ(parse_scheme("f16.u4b8.g-1").group, -1);
}

std::string refusal_of(const std::string& text) {
  try {
    parse_scheme(text);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_scheme) << text;
    return error.what();
  }
  ADD_FAILURE() << text << " was read";
  return "";
}

TEST(SchemeText, OnesOfTheFormAreNotSupportedYet) {
  for (const char* text :
       {"bf16.u4b8.g128", "f16.u4z.g128", "f16.u4r.g64", "bf16.u8b128.g-1", "f16.u8z.g32",
        "bf16.e4m3.g128x128", "bf16.mxfp4.g32", "bf16.nvfp4.g16", "f16.u4b8.g256",
        "f16.u4b8.g128.act", "f16.u4b8.g128.f32", "f16.u4b8.g128.act.f32"}) {
    EXPECT_EQ(refusal_of(text), "scheme = " + std::string(text) +
                                    " is not supported yet; these are: f16.u4b8.g32, f16.u4b8.g64, "
                                    "f16.u4b8.g128, f16.u4b8.g-1");
  }
}

TEST(SchemeText, OthersAreShownTheForm) {
  for (const char* text : {"", "f16", "f16.u4b8", "f16.u4b8.128", "f16.u4b8.g", "f16.u4b8.g0",
                           "f16.u4b8.g-2", "f16.u4b8.g128 ", "F16.u4b8.g128", "f16.u5.g128",
                           "f16.u4b8.g128.f32.act", "f16.u4b8.g128.f16", "f32.u4b8.g128"}) {
    EXPECT_NE(refusal_of(text).find("is not of the form <f16|bf16>.<u4b8|"), std::string::npos)
        << text;
  }
}

TEST(ProblemRule, NamesWhatIsBroken) {
  EXPECT_EQ(broken_rule(problem_of(16, 512, 1024)), std::nullopt);
  EXPECT_EQ(broken_rule(problem_of(16, 512, 1024, 48)),
            "group = 48 is none of 32, 64, 128, -1 (one scale for the whole k)");
  EXPECT_EQ(broken_rule(problem_of(16, 512, 64, 128)),
            "k = 64 is not a multiple of the group, 128");
  Problem strided = problem_of(16, 512, 1024);
  strided.shape.a_stride = 2048;
  EXPECT_EQ(broken_rule(strided),
            "a_stride = 2048: rows of A further apart than k are not supported yet");
  strided.shape.a_stride = 1024;
  EXPECT_EQ(broken_rule(strided), std::nullopt);
  strided.shape.c_stride = 520;
  EXPECT_EQ(broken_rule(strided),
            "c_stride = 520: rows of C further apart than n are not supported yet");
}

TEST(ProblemRule, TheKernelsProblemHasARungAndNoStrideWithoutAGap) {
  Problem asked = problem_of(13, 512, 1024, 64);
  asked.shape.a_stride = 1024;
  asked.shape.c_stride = 512;
  EXPECT_EQ(kernel_problem(asked), problem_of(16, 512, 1024, 64));
  EXPECT_EQ(to_string(kernel_problem(asked)), "16x512x1024 g64");
  EXPECT_EQ(to_string(problem_of(13, 512, 1024, -1, true)), "13x512x1024 g-1 exact");
}

// A kernel's arguments are operands by name, in an order that its plan gives.
TEST(Parameters, AreOperandsInTheOrderOfTheKernels) {
  const Problem problem = problem_of(64, 512, 1024);
  const Target target{"sm_90a", 132};
  const auto parameters = [&](const char* config) {
    return make_plan(problem, target, parse_config(config)).launch.parameters;
  };
  EXPECT_EQ(
      parameters("m64 n256 w4x2 k64 s3 weights split1 b1"),
      (std::vector<Parameter>{
          {Operand::a}, {Operand::b}, {Operand::scales}, {Operand::c}, {Operand::workspace}}));
  EXPECT_EQ(parameters("wgmma m64 n128 w8x1 k128 s3 weights split1 b1"),
            (std::vector<Parameter>{{Operand::a, true},
                                    {Operand::b, true},
                                    {Operand::c, true},
                                    {Operand::scales},
                                    {Operand::workspace}}));
}

}  // namespace
}  // namespace marlin
