// Plan -> the CUDA text of one kernel: the skeleton of its family with every hole filled.
// Entry point: emit_source.
#include "codegen/source.h"

#include <algorithm>

#include "codegen/emit.h"
#include "codegen/templates.h"
#include "codegen/text.h"

namespace marlin {

namespace {

std::string description(const Plan& plan) {
  const Shape& shape = plan.shape;
  Text text(0);
  text.line("C[{0}, {1}] = A[{0}, {2}] * dequantised(B)[{2}, {1}]{3}.",
            plan.dynamic_m ? "m" : std::to_string(shape.m), shape.n, shape.k,
            plan.dynamic_m ? fmt::format(" for any m in 1..{}", shape.m) : "");
  text.line("B: 4-bit codes in the Marlin format, {}.",
            plan.group_scales ? fmt::format("one FP16 scale for each {} along K", shape.group)
                              : "one FP16 scale for the whole K");
  text.line("Written for {} by config '{}'.", to_string(plan.target), to_string(plan.config));
  text.line("{} x {} x {} blocks of {} threads, {} bytes of shared memory each, {} of workspace.",
            plan.grid_x, plan.grid_y, plan.grid_z, plan.threads, plan.shared_bytes,
            plan.workspace_bytes);
  text.line("");
  text.line(
      "A block computes tiles of {} tokens x {} columns and takes {} of K from each of the {}",
      plan.rows, plan.config.tile_n, plan.config.tile_k(), plan.config.stages);
  text.line(
      "stages of its pipeline; {} warps split the columns and {} split that K. Weights are the",
      plan.config.warps_n, plan.config.warps_k);
  text.line("A operand of the tensor cores, tokens the B operand: C^T = W^T A^T.");
  std::string commented;
  std::string lines = text.str();
  for (std::size_t at = 0; at <= lines.size();) {
    const std::size_t end = std::min(lines.find('\n', at), lines.size());
    const std::string line = lines.substr(at, end - at);
    commented += line.empty() ? "//" : "// " + line;
    if (end < lines.size()) commented += '\n';
    at = end + 1;
  }
  return commented;
}

std::string beliefs(const Plan& plan) {
  Text text(0);
  text.line("// What the generator took for granted.");
  text.line("static_assert(__CUDA_ARCH__ == {}, \"written for {}\");",
            limits_of(plan.target).compute_capability * 10, plan.target.arch);
  text.line("static_assert({} % {} == 0 && {} % {} == 0, \"N and K are whole tiles\");",
            plan.shape.n, plan.config.tile_n, plan.shape.k, plan.config.tile_k());
  text.line("static_assert({} * {} <= {}, \"the ring fits\");", plan.config.stages,
            plan.stage_bytes, plan.shared_bytes);
  return text.str() + "\n";
}

std::string device_text(const Plan& plan) {
  std::string text;
  for (const char* name : {"copy", "fragments", "dequantise", "scale", "mma", "reduce", "share"}) {
    if (std::string_view(name) == "share" && !plan.shares_slices) continue;
    text += template_text(fmt::format("device/{}.cuh", name));
    text += '\n';
  }
  text.pop_back();
  return text;
}

}  // namespace

std::string emit_source(const Plan& plan) {
  return expand(
      template_text("stripe.cu"),
      {{"title", fmt::format("{}: Marlin stripe kernel, {}", plan.entry, to_string(plan.shape))},
       {"description", description(plan)},
       {"device", device_text(plan)},
       {"beliefs", beliefs(plan)},
       {"stripes", emit_stripe_table(plan)},
       {"threads", std::to_string(plan.threads)},
       {"blocks_per_sm", std::to_string(plan.config.blocks_per_sm)},
       {"entry", plan.entry},
       {"warp_place", emit_warp_place(plan)},
       {"work", emit_work(plan)},
       {"copy_addresses", emit_copy_addresses(plan)},
       {"fetch", emit_fetch(plan)},
       {"fragment_addresses", emit_fragment_addresses(plan)},
       {"output_addresses", emit_output_addresses(plan)},
       {"finish", emit_finish(plan)},
       {"fill", emit_fill(plan)},
       {"product", emit_product(plan)}});
}

}  // namespace marlin
