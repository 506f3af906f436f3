// Options and environment variables -> Settings.
// Entry points: settings_from, tuning_paths.
#include "runtime/choose/settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <sstream>
#include <string_view>

#include "runtime/base/environment.h"
#include "runtime/cache/cubin_cache.h"
#include "runtime/choose/tuning_db.h"

namespace marlin {
namespace {

std::string environment(const char* name) { return variable(name).value_or(""); }

std::vector<std::string> system_dirs_of_environment() {
  std::vector<std::string> dirs;
  std::istringstream parts(environment("MARLIN_SYSTEM_CACHE_DIRS"));
  for (std::string part; std::getline(parts, part, ':');) {
    if (!part.empty()) dirs.push_back(part);
  }
  return dirs;
}

bool jit_disabled_by_environment(std::vector<std::string>& problems) {
  constexpr std::array<std::string_view, 4> kYes = {"1", "true", "yes", "on"};
  constexpr std::array<std::string_view, 5> kNo = {"", "0", "false", "no", "off"};
  const std::string given = environment("MARLIN_DISABLE_JIT");
  std::string text = given;
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (std::find(kYes.begin(), kYes.end(), text) != kYes.end()) return true;
  if (std::find(kNo.begin(), kNo.end(), text) != kNo.end()) return false;
  problems.push_back(fmt::format(
      "MARLIN_DISABLE_JIT: \"{}\" is neither 1, true, yes, on nor 0, false, no, off; kernels are "
      "compiled",
      given));
  return false;
}

}  // namespace

Settings settings_from(const Options& options) {
  Settings settings;
  settings.cache_dir = options.cache_dir ? *options.cache_dir : default_cache_dir();
  settings.system_dirs = options.system_dirs ? *options.system_dirs : system_dirs_of_environment();
  settings.disable_jit =
      options.disable_jit ? *options.disable_jit : jit_disabled_by_environment(settings.problems);
  settings.tuning_db = options.tuning_db ? *options.tuning_db : default_tuning_db();
  std::string why;
  settings.cap_bytes = cache_cap(&why);
  if (!why.empty()) settings.problems.push_back(why);
  return settings;
}

std::vector<std::string> tuning_paths(const Settings& settings, bool user) {
  std::vector<std::string> paths;
  if (user && !settings.tuning_db.empty()) paths.push_back(settings.tuning_db);
  for (const std::string& dir : settings.system_dirs) {
    paths.push_back(fmt::format("{}/{}", dir, kTuningFileName));
  }
  if (!settings.cache_dir.empty()) {
    paths.push_back(fmt::format("{}/{}", settings.cache_dir, kTuningFileName));
  }
  return paths;
}

}  // namespace marlin
