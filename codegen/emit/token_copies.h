// One thread's copies of token rows, which the families with cp.async share.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "codegen/emit/text.h"
#include "codegen/plan/plan.h"

namespace marlin {

// One thread's copies of the token rows of a stage or a unit, between these places: a condition,
// "" or "if (...) ", and two addresses.
struct TokenCopy {
  std::string guard, to, from;
};
std::vector<TokenCopy> token_copies(const Plan& plan, std::string_view to, std::string_view from);
// The same as asynchronous copies.
void copy_tokens(const Plan& plan, Text& text, std::string_view to, std::string_view from);

}  // namespace marlin
