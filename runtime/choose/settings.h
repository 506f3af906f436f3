// Options and environment -> the settings kernels are found by.
#pragma once

#include <string>
#include <vector>

#include "codegen/base/error.h"
#include "marlin/options.h"

namespace marlin {

struct Settings {
  std::string cache_dir;  // "": none
  std::vector<std::string> system_dirs;
  bool disable_jit = false;
  std::string tuning_db = {};  // "": none
};

// The tuning databases that are looked at before the shipped data, in order: the user's, then those
// in the prebuilt folders and in the user's cache folder. With `user` false the first is left out.
std::vector<std::string> tuning_paths(const Settings& settings, bool user = true);

// What the options leave out comes from the environment as it is now. Throws
// Error{invalid_argument} for a MARLIN_DISABLE_JIT that is neither a yes nor a no.
Settings settings_from(const Options& options);

}  // namespace marlin
