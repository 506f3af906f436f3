// Plan -> the CUDA text of a stripe kernel. Entry point: stripe_source.
#include "codegen/emit/device_headers.h"
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
  text.line("A block computes tiles of {} x {} and takes {} of K from each of the {} stages of its",
            counted(plan.tiles.rows, "row"), counted(config.tile_n, "column"), config.tile_k(),
            config.stages);
  text.line("pipeline; columns are split over {} and that K over {}. Weights are the",
            counted(config.warps_n, "warp"), counted(config.warps_k, "warp"));
  text.line("A operand of the tensor cores, activations the B operand: C^T = W^T A^T.");
  return text.str();
}

DeviceText primitives(const Plan& plan) {
  std::vector<std::string_view> headers = {"ptx/cp_async", "ptx/ld_st",          "ptx/ldmatrix",
                                           "ptx/mma",      "types/accumulators", "reduce/block"};
  if (plan.workspace.shared) {
    headers.insert(headers.end(), {"reduce/partial", "reduce/last_arriver"});
  }
  const auto slots = scheme_headers(plan.problem.scheme);
  headers.insert(headers.end(), slots.begin(), slots.end());
  return device_text(headers);
}

}  // namespace

std::string stripe_source(const Plan& plan) {
  const DeviceText device = primitives(plan);
  return expand(template_text("kernels/stripe.cu"),
                {{"title", emit_title(plan)},
                 {"description", emit_description(plan, summary(plan))},
                 {"declarations", device.declarations},
                 {"definitions", device.definitions},
                 {"shared_map", emit_shared_map(stripe_shared_map(plan), plan.launch.shared_bytes)},
                 {"assumptions", emit_assumptions(plan, "")},
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
