// Plan -> the parts of a kernel's CUDA text that all families share.
// Entry points: emit_title, emit_description, emit_assumptions, emit_shared_map.
#include "codegen/emit/source.h"

#include <algorithm>

#include "codegen/emit/text.h"

namespace marlin {

namespace {

std::string commented(std::string_view lines) {
  std::string text;
  for (std::size_t at = 0; at <= lines.size();) {
    const std::size_t end = std::min(lines.find('\n', at), lines.size());
    const std::string_view line = lines.substr(at, end - at);
    text += line.empty() ? "//" : fmt::format("// {}", line);
    if (end < lines.size()) text += '\n';
    at = end + 1;
  }
  return text;
}

}  // namespace

std::string emit_title(const Plan& plan) {
  return fmt::format("{}: Marlin {} kernel, {}", plan.launch.entry, name_of(plan.config.family()),
                     to_string(plan.problem));
}

std::string emit_description(const Plan& plan, std::string_view summary) {
  const Problem& problem = plan.problem;
  Text text(0);
  text.line("C[{0}, {1}] = A[{0}, {2}] * dequantised(B)[{2}, {1}]{3}.",
            plan.tiles.dynamic_m ? "m" : std::to_string(problem.shape.m), problem.shape.n,
            problem.shape.k,
            plan.tiles.dynamic_m ? fmt::format(" for any m in 1..{}", problem.shape.m) : "");
  text.line("B: 4-bit codes in the Marlin format, {}.",
            plan.scales.grouped
                ? fmt::format("one FP16 scale for each {} along K", problem.scheme.group)
                : "one FP16 scale for the whole K");
  text.line("Written for {} by config '{}'.", to_string(plan.target), to_string(plan.config));
  text.line("{} x {} x {} blocks of {} threads, {} bytes of shared memory each, {} of workspace.",
            plan.launch.grid_x, plan.launch.grid_y, plan.launch.grid_z, plan.launch.threads,
            plan.launch.shared_bytes, plan.workspace.bytes);
  text.line("");
  text.line("{}", summary);
  return commented(text.str());
}

std::string emit_assumptions(const Plan& plan, std::string_view more) {
  Text text(0);
  text.line("// Assumptions, checked at compile time.");
  text.line("static_assert(__CUDA_ARCH__ == {}, \"written for {}\");",
            limits_of(plan.target).compute_capability * 10, plan.target.arch);
  text.line("static_assert(32 * sizeof(uint4) == {}, \"a warp loads a pack tile at once\");",
            kPackTileBytes);
  return text.str() + "\n" + std::string(more);
}

std::string first_scale_row(const Plan& plan, std::string_view unit) {
  if (plan.scales.rows > 1) return fmt::format("{} * {}", unit, plan.scales.rows);
  const int units = plan.problem.scheme.group / plan.config.warp_k;
  return units > 1 ? fmt::format("{} / {}", unit, units) : std::string(unit);
}

std::string emit_shared_map(const SharedMap& map, int shared_bytes) {
  Text text(2);
  text.line(
      "// ---- Shared memory, {} bytes: where each area begins, how many there are of how many",
      shared_bytes);
  text.line("// bytes, and what they hold.");
  for (const SharedRegion& region : map) {
    const std::string constant =
        fmt::format("constexpr unsigned {} = {};", region.name, region.offset);
    text.line("{:<44}// {:>3} x {:>6}  {}", constant, region.count, region.each, region.what);
  }
  const SharedRegion& last = map.back();
  text.line("static_assert({} + {} * {} <= {}, \"the areas fit\");", last.name, last.count,
            last.each, shared_bytes);
  return text.str();
}

}  // namespace marlin
