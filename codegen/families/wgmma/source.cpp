// Plan -> the CUDA text of a wgmma kernel. Entry point: wgmma_source.
#include "codegen/emit/source.h"

#include "codegen/emit/device_headers.h"
#include "codegen/emit/templates.h"
#include "codegen/emit/text.h"
#include "codegen/families/wgmma/emit.h"
#include "codegen/families/wgmma/wgmma.h"

namespace marlin {

namespace {

// The sentences on what a block does, for the comment that opens the source.
std::string summary(const Plan& plan) {
  const Config& config = plan.config;
  Text text(0);
  text.line("Tiles of {} rows x {} columns. {} with {} columns each; one thread of", config.tile_m,
            config.tile_n, counted(plan.wgmma().roles.consumers, "consumer warpgroup"),
            plan.wgmma().roles.m64_tiles * 64);
  text.line(
      "the producer warpgroup issues the TMA loads: {1} stages of {0} of K. Weights are the A",
      config.warp_k, config.stages);
  text.line(
      "operand of the tensor cores, from registers, activations the B operand: C^T = W^T A^T.");
  return text.str();
}

DeviceText primitives(const Plan& plan) {
  const WgmmaPlan& own = plan.wgmma();
  std::vector<std::string_view> headers = {
      "ptx/ld_st", "ptx/named_barrier", "ptx/fences", "ptx/mbarrier",       "ptx/tma",
      "ptx/pdl",   "ptx/setmaxnreg",    "ptx/wgmma",  "types/accumulators", "ptx/stmatrix"};
  if (plan.launch.cluster > 1) headers.push_back("ptx/cluster");
  if (plan.config.wgmma().multicast > 1) headers.push_back("ptx/multicast");
  if (own.reduction.cluster > 1) {
    headers.insert(headers.end(), {"reduce/cluster", "reduce/accumulators"});
  }
  if (own.work.striped_k_tiles > 0) {
    headers.insert(headers.end(), {"reduce/fixup", "reduce/accumulators"});
  }
  if (own.reduction.exchanges) headers.push_back("reduce/reduce_scatter");
  const auto slots = scheme_headers(plan.problem.scheme);
  headers.insert(headers.end(), slots.begin(), slots.end());
  return device_text(headers, emit_wgmma_primitive(plan));
}

// Consumers hold what the producer does not need, unless there is enough for all.
std::string swap_registers(const Plan& plan, std::string_view verb, int count) {
  if (plan.wgmma().roles.consumer_registers <= plan.wgmma().roles.producer_registers) return "";
  return fmt::format("    warpgroup_reg_{}<{}>();", verb, count);
}

// The producer's warps, too, see the barrier of the cluster to its end; and no block ends while
// another may still copy to it or arrive at its barriers.
std::string leave(const Plan& plan) {
  if (plan.config.wgmma().multicast > 1) return "  __syncwarp();\n  cluster_sync();";
  if (plan.wgmma().reduction.cluster == 1) return "";
  Text text(2);
  text.line("__syncwarp();");
  text.line("if (warpgroup == {}) cluster_wait();", plan.wgmma().roles.consumers);
  return text.str();
}

std::string opening(const Plan& plan) {
  Text text(4);
  if (plan.config.wgmma().multicast == 1) {
    text.line("named_barrier_sync<15, {}>();", mbarrier_threads(plan));
  }
  if (plan.wgmma().staging.buffers > 1) text.line("unsigned buffer = 0;  // of C on its way out");
  open_segment(plan, text);
  return text.str();
}

}  // namespace

std::string wgmma_source(const Plan& plan) {
  const DeviceText device = primitives(plan);
  const int cluster = plan.wgmma().reduction.cluster * plan.config.wgmma().multicast;
  const Holes holes = {
      {"title", emit_title(plan)},
      {"description", emit_description(plan, summary(plan))},
      {"declarations", device.declarations},
      {"definitions", device.definitions},
      {"shared_map", emit_shared_map(wgmma_shared_map(plan), plan.launch.shared_bytes)},
      {"assumptions", emit_assumptions(plan,
                                       "static_assert(sizeof(TensorMap) == 128, \"a tensor map is "
                                       "as large as the driver's\");\n")},
      {"threads", std::to_string(plan.launch.threads)},
      {"blocks_per_sm", std::to_string(plan.config.blocks_per_sm)},
      {"cluster_dims", cluster > 1 ? fmt::format(" __cluster_dims__({}, 1, 1)", cluster) : ""},
      {"entry", plan.launch.entry},
      {"work", emit_wgmma_work(plan)},
      {"barriers", emit_wgmma_barriers(plan)},
      {"producer", std::to_string(plan.wgmma().roles.consumers)},
      {"warpgroup_reg_dealloc",
       swap_registers(plan, "dealloc", plan.wgmma().roles.producer_registers)},
      {"warpgroup_reg_alloc", swap_registers(plan, "alloc", plan.wgmma().roles.consumer_registers)},
      {"produce", emit_wgmma_produce(plan)},
      {"addresses", emit_wgmma_addresses(plan)},
      {"open_segment", opening(plan)},
      {"consume", emit_wgmma_consume(plan)},
      {"output", emit_wgmma_output(plan)},
      {"leave", leave(plan)}};
  return expand(template_text("kernels/wgmma.cu"), holes);
}

}  // namespace marlin
