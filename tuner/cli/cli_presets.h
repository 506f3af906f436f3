// Presets: the layers of well-known models and the shapes of the published Marlin test, by name.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace marlin {

// One weight matrix [k, n] and, where the preset says so, the token counts and groups it is used
// with; an empty list leaves them to the command line.
struct Layer {
  std::string name;
  std::int64_t n = 0;
  std::int64_t k = 0;
  std::vector<std::int64_t> m;
  std::vector<int> groups;
};

// In the order they are listed to people.
const std::vector<std::string>& preset_names();

// The preset's layers; empty when the name is unknown.
std::vector<Layer> preset_layers(std::string_view name);

}  // namespace marlin
