// Environment variables -> their values and the user's folders.
// Entry points: variable, user_folder.
#include "runtime/base/environment.h"

#include <cstdlib>

namespace marlin {
namespace {

bool is_absolute(const std::optional<std::string>& path) {
  return path && !path->empty() && path->front() == '/';
}

}  // namespace

std::optional<std::string> variable(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr) return std::nullopt;
  return std::string(value);
}

std::string user_folder(const char* xdg, const char* below_home) {
  if (const auto base = variable(xdg); is_absolute(base)) return *base + "/marlin";
  const auto home = variable("HOME");
  return is_absolute(home) ? *home + "/" + below_home + "/marlin" : "";
}

}  // namespace marlin
