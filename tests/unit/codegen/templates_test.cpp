// The embedded CUDA text against the files it was made from, byte for byte.
// Entry point: the tests of suite Templates.
#include "codegen/emit/templates.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>

namespace marlin {
namespace {

std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(Templates, EveryEntryIsItsFileByteForByte) {
  for (std::string_view name : template_names()) {
    const auto path = std::filesystem::path(MARLIN_TEMPLATES_DIR) / name;
    ASSERT_TRUE(std::filesystem::is_regular_file(path)) << path;
    EXPECT_EQ(template_text(name), bytes_of(path)) << name;
  }
}

TEST(Templates, EveryCudaFileIsEmbedded) {
  const auto names = template_names();
  for (const auto& entry : std::filesystem::recursive_directory_iterator(MARLIN_TEMPLATES_DIR)) {
    const std::string extension = entry.path().extension().string();
    if (extension != ".cu" && extension != ".cuh") continue;
    const std::string name = entry.path().lexically_relative(MARLIN_TEMPLATES_DIR).string();
    EXPECT_TRUE(std::binary_search(names.begin(), names.end(), name)) << name;
  }
}

TEST(Templates, NamesAscendWithoutRepeats) {
  const auto names = template_names();
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end());
}

TEST(Templates, UnknownNameIsALogicError) {
  EXPECT_THROW(template_text("no_such_file.cu"), std::logic_error);
  EXPECT_THROW(template_text(""), std::logic_error);
}

}  // namespace
}  // namespace marlin
