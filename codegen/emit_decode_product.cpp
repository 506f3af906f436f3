// Plan -> a decode kernel's fragment loads, products and the loop over a warp's units.
// Entry points: emit_decode_fragments, emit_decode_product.
#include "codegen/emit.h"
#include "codegen/emit_decode.h"

namespace marlin {

namespace {

void wait_for_unit(const Plan& plan, Text& text, std::string_view stage, std::string_view parity) {
  text.line("wait_for(full + {} * 8, {});", stage, parity);
  if (!plan.private_rings) text.line("wait_for(tokens_full + {} * 8, {});", stage, parity);
}

void load_first_step(const Plan& plan, Text& text, std::string_view stage) {
  load_step(plan, text, 0, fmt::format("words_at + {} * {}", stage, plan.words_bytes),
            fmt::format("tokens_at + {} * {}", stage, plan.tokens_unit));
}

// Asks for what this stage holds next, once all lanes have read what it held.
void refill(const Plan& plan, Text& text) {
  text.line("__syncwarp();");
  if (!plan.private_rings) text.line("if (lane == 0) arrive(tokens_free + stage * 8);");
  if (plan.part_units == plan.config.stages && plan.long_parts == 0) return;
  text.open("if (left > {}) {{", plan.config.stages);
  text.line("if (lane == 0) request_weights(stage, unit);");
  if (!plan.private_rings) text.line("wait_for(tokens_free + stage * 8, parity);");
  text.line("request_tokens(stage, unit);");
  text.line("unit += {};", plan.parts);
  text.close();
}

void one_unit(const Plan& plan, Text& text) {
  const std::string words = fmt::format("words_at + stage * {}", plan.words_bytes);
  const std::string tokens = fmt::format("tokens_at + stage * {}", plan.tokens_unit);
  for (int step = 0; step < plan.k_steps; ++step) {
    text.line("// k16 step {} of {}.", step + 1, plan.k_steps);
    if (plan.group_scales && step % plan.group_steps == 0) {
      const int group = step / plan.group_steps;
      load_scales(plan, text,
                  plus(fmt::format("scales_at + stage * {}", plan.words_bytes),
                       group * plan.scales_unit / plan.unit_groups));
    }
    if (step + 1 < plan.k_steps) {
      load_step(plan, text, step + 1, words, tokens);
    } else {
      text.open("if (left > 1) {{");
      wait_for_unit(plan, text, "next_stage", "next_parity");
      load_first_step(plan, text, "next_stage");
      text.close();
    }
    multiply_step(plan, text, step, plan.group_steps);
    if (plan.group_scales && (step + 1) % plan.group_steps == 0) add_group(plan, text);
  }
}

}  // namespace

std::string emit_decode_fragments(const Plan& plan) {
  Text text(2);
  text.line("const unsigned words_at = words_ring + lane * 16;");
  text.line("const unsigned token_row = {};",
            plan.token_tiles > 1 ? "(lane & 7) + lane / 16 * 8" : "lane & 7");
  text.line(
      "const unsigned tokens_at = tokens_ring + token_row * {} + ((lane / 8 & 1 ^ lane & 7) << 4);",
      plan.tokens_pitch);
  if (plan.group_scales) {
    text.line("const unsigned scales_at = words_ring + {} + lane / 4 * 16;", plan.scales_offset);
  }
  text.line("float sums[{}][4][{}][4];  // [64 columns][16 of them][8 tokens][fragment]",
            plan.blocks64, plan.token_tiles);
  text.line("clear(sums);");
  return text.str();
}

std::string emit_decode_product(const Plan& plan) {
  Text text(2);
  declare_registers(plan, text);
  text.line("unsigned stage = 0, parity = 0;");
  if (plan.part_units > plan.config.stages || plan.long_parts > 0) {
    text.line("unsigned unit = {};  // to request next",
              plus("part", plan.config.stages * plan.parts));
  }
  wait_for_unit(plan, text, "0", "0");
  load_first_step(plan, text, "0");
  text.line("#pragma unroll 1");
  text.open("for (int left = units; left > 0; --left) {{");
  text.line("const unsigned next_stage = stage == {} ? 0 : stage + 1;", plan.config.stages - 1);
  text.line("const unsigned next_parity = next_stage == 0 ? parity ^ 1 : parity;");
  one_unit(plan, text);
  refill(plan, text);
  text.line("stage = next_stage;");
  text.line("parity = next_parity;");
  text.close();
  return text.str();
}

}  // namespace marlin
