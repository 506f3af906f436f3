// Plan -> a decode kernel's fragment loads, products and the loop over a warp's units.
// Entry points: emit_decode_fragments, emit_decode_product.
#include "codegen/families/decode/emit.h"

namespace marlin {

namespace {

// Makes what the warps that share activations have copied known to all of them.
void group_barrier(const Plan& plan, Text& text) {
  if (plan.decode().private_rings) {
    text.line("__syncwarp();");
  } else if (plan.config.warps_k == 1) {
    text.line("__syncthreads();");
  } else {
    text.line("named_barrier_sync(warp_k + 1, {});", plan.decode().copies.copiers);
  }
}

void load(const Plan& plan, Text& text, int step) {
  mma_step(plan, plan.decode())
      .load(text, step, fmt::format("packed_at + stage * {}", plan.decode().shared.packed_stage),
            fmt::format("activations_at + stage * {}", plan.decode().activations.unit));
}

// This stage is in registers: wait for the next one, fill this one again and turn to the next.
void next_unit(const Plan& plan, Text& text) {
  const int stages = plan.config.stages;
  text.line(
      "// This stage is in registers: wait for the next one, refill this one and turn to the "
      "next.");
  text.line("cp_async_wait<{}>();", stages - 2);
  group_barrier(plan, text);
  if (plan.decode().splits.k_tiles > stages || plan.decode().splits.longer > 0) {
    text.open("if (left > {}) {{", stages);
    text.line("copy_packed(stage, unit);");
    text.line("copy_activations(stage);");
    text.close();
    text.line("unit += {};", plan.decode().splits.count);
  }
  text.line("cp_async_commit();");
  text.line("stage = stage == {} ? 0 : stage + 1;", stages - 1);
  load(plan, text, 0);
}

void one_unit(const Plan& plan, Text& text) {
  const DecodePlan& reduce_count = plan.decode();
  const MmaStep mma = mma_step(plan, reduce_count);
  for (int step = 0; step < plan.tiles.k_steps; ++step) {
    text.line("// k16 step {} of {}.", step + 1, plan.tiles.k_steps);
    if (plan.scales.grouped && step % plan.scales.steps == 0) {
      const std::string scales =
          fmt::format("scales_at + stage * {}", reduce_count.shared.packed_stage);
      mma.load_scales(text, plus(scales, reduce_count.scales.row_at(step / plan.scales.steps)));
    }
    if (step + 1 < plan.tiles.k_steps) {
      load(plan, text, step + 1);
    } else {
      next_unit(plan, text);
    }
    mma.multiply(text, step);
    if (plan.scales.grouped && (step + 1) % plan.scales.steps == 0) mma.add_group(text);
  }
}

}  // namespace

std::string emit_decode_fragments(const Plan& plan) {
  Text text(2);
  text.line("const unsigned activation_row = {};",
            plan.decode().warp.n8_tiles > 1 ? "(lane & 7) + lane / 16 * 8" : "lane & 7");
  text.line(
      "const unsigned activations_at = activations_ring + activation_row * 128 + (((lane / 8 & 1) "
      "^ (lane & 7)) "
      "<< 4);");
  if (plan.scales.grouped) {
    text.line("const unsigned scales_at = packed_ring + {} + lane / 4 * 16;",
              plan.decode().scales.offset);
  }
  text.line("float sums[{}][4][{}][4];  // [64 columns][16 of them][8 tokens][fragment]",
            plan.decode().warp.blocks64, plan.decode().warp.n8_tiles);
  text.line("clear(sums);");
  return text.str();
}

std::string emit_decode_product(const Plan& plan) {
  Text text(2);
  mma_step(plan, plan.decode()).declare_registers(text);
  text.line("unsigned stage = 0;");
  if (plan.decode().splits.k_tiles > plan.config.stages || plan.decode().splits.longer > 0) {
    text.line("unsigned unit = {};  // to copy next",
              plus("split", plan.config.stages * plan.decode().splits.count));
  }
  text.line("cp_async_wait<{}>();", plan.config.stages - 1);
  group_barrier(plan, text);
  load(plan, text, 0);
  text.line("#pragma unroll 1");
  text.open("for (int left = units; left > 0; --left) {{");
  one_unit(plan, text);
  text.close();
  return text.str();
}

}  // namespace marlin
