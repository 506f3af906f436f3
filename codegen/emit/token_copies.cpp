// Plan -> the lines by which one thread copies token rows into shared memory.
// Entry points: token_copies, copy_tokens.
#include "codegen/emit/token_copies.h"

namespace marlin {

namespace {

// The condition under which a pass over the token rows copies, or "" when it always does.
std::string token_guard(const Plan& plan, int pass) {
  if (plan.guard_rows) {
    return fmt::format("if (copy_rows > {}) ", pass * plan.token_rows_pass);
  }
  const bool last = pass + 1 == plan.token_passes;
  if (last && plan.token_last_copiers < plan.token_copiers) {
    return fmt::format("if (copier < {}) ", plan.token_last_copiers);
  }
  return "";
}

}  // namespace

std::vector<TokenCopy> token_copies(const Plan& plan, std::string_view to, std::string_view from) {
  std::vector<TokenCopy> copies;
  for (int pass = 0; pass < plan.token_passes; ++pass) {
    const int row = pass * plan.token_rows_pass;
    const int place = row * plan.tokens_pitch;
    const int twist = (place >> plan.swizzle_shift & plan.swizzle_mask) << 4;
    const std::string twisted = twist == 0 ? std::string(to) : fmt::format("({} ^ {})", to, twist);
    copies.push_back(
        {token_guard(plan, pass), plus(twisted, place), plus(from, row * plan.tokens_row)});
  }
  return copies;
}

void copy_tokens(const Plan& plan, Text& text, std::string_view to, std::string_view from) {
  for (const TokenCopy& copy : token_copies(plan, to, from)) {
    text.line("{}copy16({}, {});", copy.guard, copy.to, copy.from);
  }
}

}  // namespace marlin
