// The lines of emitted code and the strict expander of ${name} holes.
#include "codegen/emit/text.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>

namespace marlin {
namespace {

TEST(Expand, FillsEveryHole) {
  EXPECT_EQ(expand("no holes\n", {}), "no holes\n");
  EXPECT_EQ(expand("int ${name} = ${value};\n", {{"name", "x"}, {"value", "1"}}), "int x = 1;\n");
  EXPECT_EQ(expand("${a}${a}", {{"a", "-"}}), "--");
  EXPECT_EQ(expand("$ {a} $a {b}", {}), "$ {a} $a {b}");
  EXPECT_EQ(expand("${a}", {{"a", "${b}"}}), "${b}");  // a text is not expanded again
}

TEST(Expand, AnEmptyTextTakesItsOwnLineWithIt) {
  EXPECT_EQ(expand("one\n${a}\ntwo\n", {{"a", ""}}), "one\ntwo\n");
  EXPECT_EQ(expand("${a}\ntwo\n", {{"a", ""}}), "two\n");
  EXPECT_EQ(expand("one ${a}\ntwo\n", {{"a", ""}}), "one \ntwo\n");
  EXPECT_EQ(expand("  ${a}\n", {{"a", ""}}), "  \n");
  EXPECT_EQ(expand("one\n${a}", {{"a", ""}}), "one\n");
}

TEST(Expand, IsStrict) {
  EXPECT_THROW(expand("${unknown}", {}), std::logic_error);
  EXPECT_THROW(expand("${a}", {{"a", "1"}, {"unused", "2"}}), std::logic_error);
  EXPECT_THROW(expand("text", {{"unused", ""}}), std::logic_error);
  EXPECT_THROW(expand("${a", {{"a", "1"}}), std::logic_error);
  EXPECT_THROW(expand("${a} ${", {{"a", "1"}}), std::logic_error);
  EXPECT_THROW(expand("${}", {{"a", "1"}}), std::logic_error);
  EXPECT_THROW(expand("${ a }", {{"a", "1"}}), std::logic_error);
}

TEST(Text, LinesAndBlocks) {
  Text text(2);
  text.line("a = {};", 1).open("if ({}) {{", "b").line("c();").otherwise().line("d();").close();
  text.line("e();");
  EXPECT_EQ(text.str(), "  a = 1;\n  if (b) {\n    c();\n  } else {\n    d();\n  }\n  e();");
  EXPECT_EQ(Text(4).str(), "");
  EXPECT_EQ(Text(0).open("struct S {{").close("};").str(), "struct S {\n};");
}

TEST(Sum, LeavesOutTermsThatAreZero) {
  EXPECT_EQ(Sum("a").str(), "a");
  EXPECT_EQ(Sum("a").near("x", 16).far("y", 4096).constant(8).str(), "a + x * 16 + y * 4096ll + 8");
  EXPECT_EQ(Sum("a").near("x", 0).far("y", 0).constant(0).str(), "a");
  EXPECT_EQ(Sum("a").near("0", 16).far("0", 4096).str(), "a");
}

}  // namespace
}  // namespace marlin
