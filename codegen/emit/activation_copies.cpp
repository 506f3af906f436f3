// Plan -> the lines by which one thread copies rows of activations into shared memory.
// Entry points: TokenCopies::all, TokenCopies::emit.
#include "codegen/emit/activation_copies.h"

namespace marlin {

// The condition under which a pass over the rows copies, or "" when it always does.
std::string TokenCopies::guard(int pass) const {
  if (plan.tiles.guard_rows) return fmt::format("if (copy_rows > {}) ", pass * copies.pass_rows);
  const bool last = pass + 1 == copies.passes;
  if (last && copies.last_copiers < copies.copiers) {
    return fmt::format("if (copier < {}) ", copies.last_copiers);
  }
  return "";
}

std::vector<ActivationCopy> TokenCopies::all(std::string_view to, std::string_view from) const {
  std::vector<ActivationCopy> found;
  for (int pass = 0; pass < copies.passes; ++pass) {
    const int row = pass * copies.pass_rows;
    const int swizzle = rows.swizzle_of_row(row);
    const std::string swizzled_to =
        swizzle == 0 ? std::string(to) : fmt::format("({} ^ {})", to, swizzle);
    found.push_back({guard(pass), plus(swizzled_to, rows.row_at(row)),
                     plus(from, plan.global.activations.row_at(row))});
  }
  return found;
}

void TokenCopies::emit(Text& text, std::string_view to, std::string_view from) const {
  for (const ActivationCopy& copy : all(to, from)) {
    text.line("{}cp_async16({}, {});", copy.guard, copy.to, copy.from);
  }
}

}  // namespace marlin
