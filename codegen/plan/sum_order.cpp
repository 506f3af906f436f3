// SumOrder -> its text. Entry point: to_string.
#include "codegen/plan/sum_order.h"

#include <fmt/format.h>

namespace marlin {

std::string to_string(const SumOrder& order) {
  std::string text = fmt::format("{} {}", name_of(order.family),
                                 kScaleOnNames[static_cast<std::size_t>(order.scale_on)]);
  if (order.scaled_k > 0) text += fmt::format(" of {}", order.scaled_k);
  if (order.warps_k > 1) text += fmt::format(" x{} k{}", order.warps_k, order.warp_k);
  if (order.splits > 1) {
    text += fmt::format(", {} parts of {}", order.splits, order.split_k);
    if (order.longer > 0) text += fmt::format(", {} longer by {}", order.longer, order.warp_k);
  }
  return text;
}

}  // namespace marlin
