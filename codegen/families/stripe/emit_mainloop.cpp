// Plan -> fragment loads, dequantisation, tensor core products and the loop over k tiles.
// Entry points: emit_fragment_addresses, emit_product.
#include "codegen/emit/text.h"
#include "codegen/families/stripe/emit.h"

namespace marlin {

namespace {

constexpr char kComponents[] = "xyzw";
constexpr char kWords[] = "words_at + stage", kTokens[] = "tokens_at + stage";

const char* barrier(const Plan& plan) {
  return plan.private_rings ? "__syncwarp();" : "__syncthreads();";
}

void spread_all(const Plan& plan, Text& text) {
  for (int block = 0; block < plan.blocks64; ++block) {
    for (int j = 0; j < 4; ++j) {
      text.line("spread_scales(scale_low[{0}][{1}], scale_high[{0}][{1}], scale_pairs[{0}].{2});",
                block, j, kComponents[j]);
    }
  }
}

// The slot just read is free: fetch into it what comes `stages` tiles later.
void refill(const Plan& plan, Text& text) {
  if (plan.striped) {
    text.line("if (to_fetch-- > 0) fetch(stage);");
  } else if (plan.block_k_tiles > plan.config.stages) {
    text.line("if (k_tile < {}) fetch(stage);", plan.block_k_tiles - plan.config.stages);
  }
  text.line("close_stage();");
}

void next_stage(const Plan& plan, Text& text) {
  text.line(
      "// This stage is in registers. Wait for the next one, give the slot back and turn to it.");
  text.line("wait_for_stage<{}>();", plan.config.stages - 2);
  text.line("{}", barrier(plan));
  refill(plan, text);
  text.line("stage = stage == {} ? 0 : stage + {};", plan.ring_bytes - plan.stage_bytes,
            plan.stage_bytes);
  load_step(plan, text, 0, kWords, kTokens);
  if (scales_weights(plan)) load_scales(plan, text, "scales_at + stage");
}

// What happens when the last k tile of a slice is done and another slice may follow.
void slice_end(const Plan& plan, Text& text) {
  const bool stripes = plan.striped;
  text.open("if (--slice_left == 0) {{");
  text.line("finish();");
  text.line("clear(sums);");
  if (stripes && plan.m_tiles > 1) {
    text.line("if (++m_tile == {}) m_tile = 0, ++slice;", plan.m_tiles);
    if (plan.guard_rows) {
      text.line("rows = {};", rows_of(plan, "m_tile"));
    }
  } else {
    text.line("++slice;");
  }
  if (stripes) {
    text.line("slice_left = min({}, block_k_tiles - k_tile - 1);", plan.k_tiles);
    text.line("share = slice_left == {} ? Share{{1, 0, -1, -1}} : stripe.last;", plan.k_tiles);
  } else {
    text.line("slice_left = {};", plan.k_tiles);
  }
  if (!plan.group_scales) {
    text.line("if (k_tile + 1 < {}) load_channel_scales();",
              stripes ? "block_k_tiles" : std::to_string(plan.block_k_tiles));
  }
  text.close();
}

}  // namespace

std::string emit_fragment_addresses(const Plan& plan) {
  Text text(2);
  text.line("const unsigned token_row = {};",
            plan.token_tiles > 1 ? "(lane & 7) + lane / 16 * 8" : "lane & 7");
  Sum place(fmt::format("token_row * {} + (lane / 8 & 1) * 16", plan.tokens_pitch));
  text.line("const unsigned token_place = {};", place.near("warp_k", plan.tokens_warp_k).str());
  text.line("const unsigned tokens_at = {} + (token_place ^ ((token_place >> {} & {}) << 4));",
            Sum("shared").constant(plan.tokens_offset).near("warp", plan.tokens_unit).str(),
            plan.swizzle_shift, plan.swizzle_mask);
  if (plan.group_scales) {
    text.line("const unsigned scales_at = shared + {} + warp * {} + lane / 4 * 16;",
              plan.scales_offset, plan.scales_unit);
  }
  text.line("float sums[{}][4][{}][4];  // [64 columns][16 of them][8 tokens][fragment]",
            plan.blocks64, plan.token_tiles);
  text.line("clear(sums);");
  return text.str();
}

std::string emit_product(const Plan& plan) {
  const bool many_slices = plan.config.partition.kind != Partition::Kind::split;
  const bool stripes = plan.striped;
  Text text(2);
  declare_registers(plan, text);
  text.line("unsigned stage = 0;");
  if (stripes) {
    text.line("int slice_left = min({} - static_cast<int>(first_k_tile), block_k_tiles);",
              plan.k_tiles);
  } else if (many_slices) {
    text.line("int slice_left = {};", plan.k_tiles);
  }
  text.line("wait_for_stage<{}>();", plan.config.stages - 1);
  text.line("{}", barrier(plan));
  load_step(plan, text, 0, kWords, kTokens);
  if (scales_weights(plan)) load_scales(plan, text, "scales_at + stage");
  text.line("#pragma unroll 1");
  text.open("for (int k_tile = 0; k_tile < {}; ++k_tile) {{",
            stripes ? "block_k_tiles" : std::to_string(plan.block_k_tiles));
  if (scales_accumulators(plan)) load_scales(plan, text, "scales_at + stage");
  if (scales_weights(plan)) spread_all(plan, text);
  for (int step = 0; step < plan.k_steps; ++step) {
    text.line("// k16 step {} of {}.", step + 1, plan.k_steps);
    if (step + 1 < plan.k_steps) {
      load_step(plan, text, step + 1, kWords, kTokens);
    } else {
      next_stage(plan, text);
    }
    multiply_step(plan, text, step, plan.k_steps);
  }
  if (scales_accumulators(plan)) add_group(plan, text);
  if (many_slices) slice_end(plan, text);
  text.close();
  if (!many_slices) text.line("finish();");
  return text.str();
}

}  // namespace marlin
