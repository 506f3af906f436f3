// Environment variables, and the folders they give a user.
#pragma once

#include <optional>
#include <string>

namespace marlin {

// As it is now; nothing when it is not set.
std::optional<std::string> variable(const char* name);

// $<xdg>/marlin, else ~/<below_home>/marlin, else "". Only absolute paths count.
std::string user_folder(const char* xdg, const char* below_home);

}  // namespace marlin
