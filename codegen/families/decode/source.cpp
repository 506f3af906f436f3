// Plan -> the CUDA text of a decode kernel. Entry point: decode_source.
#include "codegen/emit/device_headers.h"
#include "codegen/emit/templates.h"
#include "codegen/emit/text.h"
#include "codegen/families/decode/decode.h"
#include "codegen/families/decode/emit.h"

namespace marlin {

namespace {

// The sentences on what a block does, for the comment that opens the source.
std::string summary(const Plan& plan) {
  const Config& config = plan.config;
  Text text(0);
  text.line("{} computes {} x {} columns. Its {} for each {} columns",
            plan.launch.cluster > 1 ? fmt::format("A cluster of {} blocks", plan.launch.cluster)
                                    : "A block",
            counted(plan.tiles.rows, "row"), config.tile_n,
            counted(plan.decode().splits.count, "warp"), plan.decode().warp.columns);
  text.line("take turns at units of {} of K, {} of them on their way to each warp at any time.",
            config.warp_k, config.stages);
  text.line(
      "Weights are the A operand of the tensor cores, activations the B operand: C^T = W^T A^T.");
  return text.str();
}

DeviceText primitives(const Plan& plan) {
  std::vector<std::string_view> headers = {"ptx/cp_async",      "ptx/pdl",           "ptx/ld_st",
                                           "ptx/ldmatrix",      "ptx/named_barrier", "ptx/mma",
                                           "types/accumulators"};
  if (plan.launch.cluster > 1) headers.insert(headers.end(), {"ptx/cluster", "reduce/cluster"});
  headers.push_back("reduce/gather");
  const auto slots = scheme_headers(plan.problem.scheme);
  headers.insert(headers.end(), slots.begin(), slots.end());
  return device_text(headers);
}

}  // namespace

std::string decode_source(const Plan& plan) {
  const DeviceText device = primitives(plan);
  return expand(
      template_text("kernels/decode.cu"),
      {{"title", emit_title(plan)},
       {"description", emit_description(plan, summary(plan))},
       {"declarations", device.declarations},
       {"definitions", device.definitions},
       {"shared_map", emit_shared_map(decode_shared_map(plan), plan.launch.shared_bytes)},
       {"assumptions", emit_assumptions(plan, "")},
       {"threads", std::to_string(plan.launch.threads)},
       {"blocks_per_sm", std::to_string(plan.config.blocks_per_sm)},
       {"cluster_dims", plan.launch.cluster > 1
                            ? fmt::format(" __cluster_dims__({}, 1, 1)", plan.launch.cluster)
                            : ""},
       {"entry", plan.launch.entry},
       {"work", emit_decode_work(plan)},
       {"copies", emit_decode_copies(plan)},
       {"fill", emit_decode_fill(plan)},
       {"fragment_addresses", emit_decode_fragments(plan)},
       {"product", emit_decode_product(plan)},
       {"output", emit_decode_output(plan)}});
}

}  // namespace marlin
