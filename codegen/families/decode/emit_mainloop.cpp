// Plan -> a decode kernel's fragment loads, products and the loop over a warp's units.
// Entry points: emit_decode_fragments, emit_decode_product.
#include "codegen/families/decode/emit.h"

namespace marlin {

namespace {

// Makes what the warps that share tokens have copied known to all of them.
void meet(const Plan& plan, Text& text) {
  if (plan.decode().private_rings) {
    text.line("__syncwarp();");
  } else if (plan.config.warps_k == 1) {
    text.line("__syncthreads();");
  } else {
    text.line("meet(warp_k + 1, {});", plan.decode().copies.copiers);
  }
}

void load(const Plan& plan, Text& text, int step) {
  mma_step(plan, plan.decode())
      .load(text, step, fmt::format("words_at + stage * {}", plan.decode().shared.packed_stage),
            fmt::format("tokens_at + stage * {}", plan.decode().activations.unit));
}

// This stage is in registers: wait for the next one, fill this one again and turn to the next.
void next_unit(const Plan& plan, Text& text) {
  const int stages = plan.config.stages;
  text.line(
      "// This stage is in registers. Wait for the next one, fill this one again and turn to it.");
  text.line("wait_for_stage<{}>();", stages - 2);
  meet(plan, text);
  if (plan.decode().splits.k_tiles > stages || plan.decode().splits.longer > 0) {
    text.open("if (left > {}) {{", stages);
    text.line("copy_weights(stage, unit);");
    text.line("copy_tokens(stage);");
    text.close();
    text.line("unit += {};", plan.decode().splits.count);
  }
  text.line("close_stage();");
  text.line("stage = stage == {} ? 0 : stage + 1;", stages - 1);
  load(plan, text, 0);
}

void one_unit(const Plan& plan, Text& text) {
  const DecodePlan& own = plan.decode();
  const MmaStep mma = mma_step(plan, own);
  for (int step = 0; step < plan.tiles.k_steps; ++step) {
    text.line("// k16 step {} of {}.", step + 1, plan.tiles.k_steps);
    if (plan.scales.grouped && step % plan.scales.steps == 0) {
      const std::string scales = fmt::format("scales_at + stage * {}", own.shared.packed_stage);
      mma.load_scales(text, plus(scales, own.scales.row_at(step / plan.scales.steps)));
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
  text.line("const unsigned token_row = {};",
            plan.decode().warp.n8_tiles > 1 ? "(lane & 7) + lane / 16 * 8" : "lane & 7");
  text.line(
      "const unsigned tokens_at = tokens_ring + token_row * 128 + (((lane / 8 & 1) ^ (lane & 7)) "
      "<< 4);");
  if (plan.scales.grouped) {
    text.line("const unsigned scales_at = words_ring + {} + lane / 4 * 16;",
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
              plus("part", plan.config.stages * plan.decode().splits.count));
  }
  text.line("wait_for_stage<{}>();", plan.config.stages - 1);
  meet(plan, text);
  load(plan, text, 0);
  text.line("#pragma unroll 1");
  text.open("for (int left = units; left > 0; --left) {{");
  one_unit(plan, text);
  text.close();
  return text.str();
}

}  // namespace marlin
