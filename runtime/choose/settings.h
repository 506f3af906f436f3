// Options and environment -> the settings kernels are found by.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "codegen/base/error.h"
#include "marlin/options.h"
#include "runtime/cache/cubin_cache.h"

namespace marlin {

struct Settings {
  std::string cache_dir;  // "": none
  std::vector<std::string> system_dirs;
  bool disable_jit = false;
  std::string tuning_db = {};                  // "": none
  std::uint64_t cap_bytes = kDefaultCacheCap;  // of the cache folder
  // What the environment asks for and does not get, each with its variable, the rule and what is
  // used instead. None of it keeps a kernel from being found.
  std::vector<std::string> problems = {};
};

// The tuning databases that are looked at before the shipped data, in order: the user's, then those
// in the prebuilt folders and in the user's cache folder. With `user` false the first is left out.
std::vector<std::string> tuning_paths(const Settings& settings, bool user = true);

// What the options leave out comes from the environment as it is now.
Settings settings_from(const Options& options);

}  // namespace marlin
