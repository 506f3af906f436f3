// Plan -> fragment loads, dequantisation, tensor core products and the loop over k tiles.
// Entry points: emit_fragment_addresses, emit_product.
#include "codegen/emit/text.h"
#include "codegen/families/stripe/emit.h"

namespace marlin {

namespace {

constexpr char kComponents[] = "xyzw";
constexpr char kPacked[] = "packed_at + stage", kActivations[] = "activations_at + stage";

const char* barrier(const Plan& plan) {
  return plan.stripe().private_rings ? "__syncwarp();" : "__syncthreads();";
}

void spread_all(const Plan& plan, Text& text) {
  for (int block = 0; block < plan.stripe().warp.blocks64; ++block) {
    for (int j = 0; j < 4; ++j) {
      text.line("spread_scales(scale_low[{0}][{1}], scale_high[{0}][{1}], scale_pairs[{0}].{2});",
                block, j, kComponents[j]);
    }
  }
}

// The slot just read is free: fetch into it what comes `stages` tiles later.
void refill(const Plan& plan, Text& text) {
  if (plan.stripe().work.striped) {
    text.line("if (to_fetch-- > 0) fetch(stage);");
  } else if (plan.stripe().work.k_tiles > plan.config.stages) {
    text.line("if (k_tile < {}) fetch(stage);", plan.stripe().work.k_tiles - plan.config.stages);
  }
  text.line("cp_async_commit();");
}

void next_stage(const Plan& plan, Text& text) {
  text.line(
      "// This stage is in registers: wait for the next one, refill this one and turn to the "
      "next.");
  text.line("cp_async_wait<{}>();", plan.config.stages - 2);
  text.line("{}", barrier(plan));
  refill(plan, text);
  text.line("stage = stage == {} ? 0 : stage + {};",
            plan.stripe().stage.ring_bytes - plan.stripe().stage.bytes, plan.stripe().stage.bytes);
  mma_step(plan, plan.stripe()).load(text, 0, kPacked, kActivations);
  if (scales_weights(plan)) mma_step(plan, plan.stripe()).load_scales(text, "scales_at + stage");
}

// What happens when the last k tile of a tile is done and another tile may follow.
void tile_end(const Plan& plan, Text& text) {
  const bool stripes = plan.stripe().work.striped;
  text.open("if (--tile_left == 0) {{");
  text.line("finish();");
  text.line("clear(sums);");
  if (stripes && plan.tiles.m_tiles > 1) {
    text.line("if (++m_tile == {}) m_tile = 0, ++n_tile;", plan.tiles.m_tiles);
    if (plan.tiles.guard_rows) {
      text.line("rows = {};", rows_of(plan, "m_tile"));
    }
  } else {
    text.line("++n_tile;");
  }
  if (stripes) {
    text.line("tile_left = min({}, block_k_tiles - k_tile - 1);", plan.tiles.k_tiles);
    text.line("shared_tile = tile_left == {} ? SharedTile{{1, 0, -1, -1}} : stripe.last;",
              plan.tiles.k_tiles);
  } else {
    text.line("tile_left = {};", plan.tiles.k_tiles);
  }
  if (!plan.scales.grouped) {
    text.line("if (k_tile + 1 < {}) load_channel_scales();",
              stripes ? "block_k_tiles" : std::to_string(plan.stripe().work.k_tiles));
  }
  text.close();
}

}  // namespace

std::string emit_fragment_addresses(const Plan& plan) {
  Text text(2);
  text.line("const unsigned activation_row = {};",
            plan.stripe().warp.n8_tiles > 1 ? "(lane & 7) + lane / 16 * 8" : "lane & 7");
  Sum offset(
      fmt::format("activation_row * {} + (lane / 8 & 1) * 16", plan.stripe().activations.pitch));
  text.line("const unsigned activation_offset = {};",
            offset.near("warp_k", plan.stripe().stage.activations_warp_k).str());
  text.line(
      "const unsigned activations_at = {} + (activation_offset ^ ((activation_offset >> {} & {}) "
      "<< 4));",
      Sum("shared").named("kActivations").near("warp", plan.stripe().activations.unit).str(),
      plan.stripe().activations.swizzle_shift, plan.stripe().activations.swizzle_mask);
  if (plan.scales.grouped) {
    text.line("const unsigned scales_at = shared + kScales + warp * {} + lane / 4 * 16;",
              plan.stripe().scales.unit);
  }
  text.line("float sums[{}][4][{}][4];  // [64 columns][16 of them][8 tokens][fragment]",
            plan.stripe().warp.blocks64, plan.stripe().warp.n8_tiles);
  text.line("clear(sums);");
  return text.str();
}

std::string emit_product(const Plan& plan) {
  const bool many_tiles = plan.config.partition.kind != Partition::Kind::split;
  const bool stripes = plan.stripe().work.striped;
  Text text(2);
  mma_step(plan, plan.stripe()).declare_registers(text);
  text.line("unsigned stage = 0;");
  if (stripes) {
    text.line("int tile_left = min({} - static_cast<int>(first_k_tile), block_k_tiles);",
              plan.tiles.k_tiles);
  } else if (many_tiles) {
    text.line("int tile_left = {};", plan.tiles.k_tiles);
  }
  text.line("cp_async_wait<{}>();", plan.config.stages - 1);
  text.line("{}", barrier(plan));
  mma_step(plan, plan.stripe()).load(text, 0, kPacked, kActivations);
  if (scales_weights(plan)) mma_step(plan, plan.stripe()).load_scales(text, "scales_at + stage");
  text.line("#pragma unroll 1");
  text.open("for (int k_tile = 0; k_tile < {}; ++k_tile) {{",
            stripes ? "block_k_tiles" : std::to_string(plan.stripe().work.k_tiles));
  if (scales_accumulators(plan))
    mma_step(plan, plan.stripe()).load_scales(text, "scales_at + stage");
  if (scales_weights(plan)) spread_all(plan, text);
  for (int step = 0; step < plan.tiles.k_steps; ++step) {
    text.line("// k16 step {} of {}.", step + 1, plan.tiles.k_steps);
    if (step + 1 < plan.tiles.k_steps) {
      mma_step(plan, plan.stripe()).load(text, step + 1, kPacked, kActivations);
    } else {
      next_stage(plan, text);
    }
    mma_step(plan, plan.stripe()).multiply(text, step);
  }
  if (scales_accumulators(plan)) mma_step(plan, plan.stripe()).add_group(text);
  if (many_tiles) tile_end(plan, text);
  text.close();
  if (!many_tiles) text.line("finish();");
  return text.str();
}

}  // namespace marlin
