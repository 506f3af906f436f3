// ptxas's report in a compile's log -> registers, spills, stack and shared memory of one kernel.
// Entry point: parse_resources.
#include <fmt/format.h>

#include <charconv>
#include <optional>

#include "codegen/base/error.h"
#include "runtime/compile/nvrtc.h"

namespace marlin {
namespace {

// The first number that stands right before `unit`, e.g. 24 before " bytes spill stores".
std::optional<int> number_before(std::string_view text, std::string_view unit) {
  for (std::size_t end = text.find(unit); end != text.npos; end = text.find(unit, end + 1)) {
    std::size_t begin = end;
    while (begin > 0 && text[begin - 1] >= '0' && text[begin - 1] <= '9') --begin;
    int value = 0;
    const auto [stop, error] = std::from_chars(text.data() + begin, text.data() + end, value);
    if (error == std::errc() && stop == text.data() + end) return value;
  }
  return std::nullopt;
}

}  // namespace

// The report, the same from 12.0 to 13.0, has for each kernel
//   ptxas info    : Compiling entry function 'NAME' for 'sm_90a'
//   ptxas info    : Function properties for NAME
//   ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
//   ptxas info    : Used 128 registers, used 1 barriers, 512 bytes smem
KernelResources parse_resources(std::string_view log, std::string_view entry) {
  const std::string head = fmt::format("Compiling entry function '{}' for", entry);
  const std::size_t start = log.find(head);
  if (start != std::string_view::npos) {
    log.remove_prefix(start + head.size());
    log = log.substr(0, log.find("Compiling entry function"));
    const auto registers = number_before(log, " registers");
    const auto stack = number_before(log, " bytes stack frame");
    const auto stores = number_before(log, " bytes spill stores");
    const auto loads = number_before(log, " bytes spill loads");
    if (registers && stack && stores && loads) {
      return {*registers, *stores, *loads, *stack, number_before(log, " bytes smem").value_or(0)};
    }
  }
  throw Error(ErrorCode::compile_failed,
              fmt::format("the compiler's log has no report on kernel {}", entry))
      .with_log(std::string(log));
}

}  // namespace marlin
