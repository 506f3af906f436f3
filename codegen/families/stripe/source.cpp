// Plan -> the CUDA text of a stripe kernel. Entry point: stripe_source.
#include "codegen/emit/templates.h"
#include "codegen/emit/text.h"
#include "codegen/families/stripe/emit.h"
#include "codegen/families/stripe/stripe.h"

namespace marlin {

namespace {

// The sentences on what a block does, for the comment that opens the source.
std::string summary(const Plan& plan) {
  const Config& config = plan.config;
  Text text(0);
  text.line(
      "A block computes tiles of {} tokens x {} columns and takes {} of K from each of the {}",
      plan.tiles.rows, config.tile_n, config.tile_k(), config.stages);
  text.line(
      "stages of its pipeline; {} warps split the columns and {} split that K. Weights are the",
      config.warps_n, config.warps_k);
  text.line("A operand of the tensor cores, activations the B operand: C^T = W^T A^T.");
  return text.str();
}

std::string assumptions(const Plan& plan) {
  Text text(0);
  text.line("static_assert({} % {} == 0 && {} % {} == 0, \"N and K are whole tiles\");",
            plan.shape.n, plan.config.tile_n, plan.shape.k, plan.config.tile_k());
  text.line("static_assert({} * {} <= {}, \"the ring fits\");", plan.config.stages,
            plan.stripe().stage.bytes, plan.launch.shared_bytes);
  return emit_assumptions(plan, text.str());
}

std::string device(const Plan& plan) {
  std::vector<std::string_view> names = {"ptx/cp_async", "ptx/ldmatrix", "dequantise/u4b8_f16",
                                         "scales/f16",   "ptx/mma",      "reduce/block"};
  if (plan.workspace.shared) names.insert(names.end(), {"reduce/partial", "reduce/last_arriver"});
  return device_text(names);
}

}  // namespace

std::string stripe_source(const Plan& plan) {
  return expand(template_text("kernels/stripe.cu"),
                {{"title", emit_title(plan)},
                 {"description", emit_description(plan, summary(plan))},
                 {"device", device(plan)},
                 {"assumptions", assumptions(plan)},
                 {"stripes", emit_stripe_table(plan)},
                 {"threads", std::to_string(plan.launch.threads)},
                 {"blocks_per_sm", std::to_string(plan.config.blocks_per_sm)},
                 {"entry", plan.launch.entry},
                 {"warp_index", emit_warp_index(plan)},
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
