// Device headers: their order, and that each says exactly what it needs.
// Entry points: the tests of suite DeviceHeaders.
#include "codegen/emit/device_headers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <regex>
#include <set>
#include <stdexcept>
#include <string>

#include "codegen/emit/templates.h"

namespace marlin {
namespace {

using testing::ElementsAre;

std::vector<std::string> order_of(const std::map<std::string, std::string>& headers,
                                  const std::vector<std::string_view>& names) {
  return headers_in_order(names, [&](std::string_view name) -> std::string_view {
    return headers.at(std::string(name));
  });
}

TEST(DeviceHeaders, NeededOnesComeFirstAndOnce) {
  const std::map<std::string, std::string> headers = {
      {"a", "// A.\n//\n// needs: b, c\n\ncode\n"},
      {"b", "// B.\n//\n// needs: c\n\ncode\n"},
      {"c", "// C.\n\n// needs: a (not in the opening comment)\n"}};
  EXPECT_THAT(order_of(headers, {"a"}), ElementsAre("c", "b", "a"));
  EXPECT_THAT(order_of(headers, {"c", "a", "b"}), ElementsAre("c", "b", "a"));
}

TEST(DeviceHeaders, ACircleAndAnUnknownNameAreLogicErrors) {
  const std::map<std::string, std::string> headers = {{"a", "// needs: b\n"},
                                                      {"b", "// needs: a\n"}};
  EXPECT_THROW(order_of(headers, {"a"}), std::logic_error);
  EXPECT_THROW(device_text({"ptx/no_such"}), std::logic_error);
}

TEST(DeviceHeaders, TypesAndDeclarationsComeBeforeDefinitions) {
  const DeviceText text = device_text({"ptx/multicast"});
  EXPECT_NE(text.declarations.find("struct __align__(64) TensorMap {"), std::string::npos);
  EXPECT_NE(text.declarations.find("// What the driver encodes"), std::string::npos);
  EXPECT_LT(text.declarations.find("tma_load_2d("),
            text.declarations.find("tma_load_2d_multicast("));
  EXPECT_EQ(text.declarations.find("asm"), std::string::npos);
  EXPECT_EQ(text.definitions.find("struct"), std::string::npos);
  EXPECT_EQ(text.definitions.find("needs:"), std::string::npos);
  EXPECT_NE(text.definitions.find("// Waits until at most `Pending`"), std::string::npos);
}

// Without comments and PTX, whose instructions have names like ours.
std::string code_of(std::string_view text) {
  static const std::regex comments("//[^\n]*"), strings("\"[^\"\n]*\"");
  return std::regex_replace(std::regex_replace(std::string(text), comments, ""), strings, "");
}

std::set<std::string> defined_in(const std::string& code) {
  static const std::regex functions(R"(__forceinline__ [\w ]*?(\w+)\()"),
      types(R"(struct [^{]*?(\w+) \{)");
  std::set<std::string> names;
  for (const std::regex& kind : {functions, types}) {
    for (std::sregex_iterator it(code.begin(), code.end(), kind), end; it != end; ++it) {
      names.insert((*it)[1]);
    }
  }
  return names;
}

bool mentions(const std::string& code, const std::string& name) {
  return std::regex_search(code, std::regex("\\b" + name + "\\b"));
}

TEST(DeviceHeaders, SayExactlyWhatTheyNeed) {
  std::map<std::string, std::string> codes;  // by header, "ptx/mma"
  std::map<std::string, std::set<std::string>> definitions;
  for (const std::string_view name : template_names()) {
    if (!name.starts_with("device/")) continue;
    const std::string header(name.substr(7, name.size() - 11));
    codes[header] = code_of(template_text(name));
    definitions[header] = defined_in(codes[header]);
    EXPECT_FALSE(definitions[header].empty()) << header;
  }
  ASSERT_GT(codes.size(), 20u);
  for (const auto& [header, code] : codes) {
    std::set<std::string> used;
    for (const auto& [other, names] : definitions) {
      for (const std::string& name : names) {
        if (other != header && !definitions[header].contains(name) && mentions(code, name)) {
          used.insert(other);
        }
      }
    }
    const std::vector<std::string> needs = needs_of(template_text("device/" + header + ".cuh"));
    EXPECT_EQ(std::set<std::string>(needs.begin(), needs.end()), used) << header;
  }
}

}  // namespace
}  // namespace marlin
