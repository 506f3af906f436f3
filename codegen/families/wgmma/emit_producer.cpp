// Plan -> the producer of a wgmma kernel: the thread that fills the stages.
// Entry point: emit_wgmma_produce.
#include "codegen/families/wgmma/emit.h"

namespace marlin {

namespace {

// "whole", or a choice by whether the slice is the last one, which is narrower.
std::string by_slice(const Plan& plan, int whole, int tail) {
  if (plan.wgmma().tail.columns == 0) return std::to_string(whole);
  return fmt::format("(slice == {} ? {} : {})", plan.tiles.n_tiles - 1, tail, whole);
}

void scales_lambda(const Plan& plan, Text& text) {
  text.open("auto copy_scales = [&](unsigned stage, unsigned k_tile) {{");
  text.line("const unsigned bytes = {};",
            by_slice(plan, plan.wgmma().stage.scales_row, plan.wgmma().tail.scales_row));
  text.line("const char* from = scales + {} * {}ll + slice * {};", first_scale_row(plan, "k_tile"),
            plan.global.scales.row, plan.wgmma().stage.scales_row);
  text.line("const unsigned to = shared + {} + stage * {};", plan.wgmma().shared.scales,
            plan.wgmma().stage.scales);
  for (int group = 0; group < plan.scales.rows; ++group) {
    text.line("copy_bytes({}, {}, bytes, full + stage * 8);",
              plus("to", plan.wgmma().stage.scales_at(group)),
              plus("from", plan.global.scales.row_at(group)));
  }
  text.close("};");
}

void words_lambda(const Plan& plan, Text& text) {
  text.open("auto copy_words = [&](unsigned stage, unsigned k_tile) {{");
  text.line("expect_bytes(full + stage * 8, {});",
            by_slice(plan, plan.wgmma().stage.bytes, plan.wgmma().tail.stage_bytes));
  text.line(
      "copy_box(shared + {} + stage * {}, &word_map, slice * {}, k_tile * {}, full + stage * 8);",
      plan.wgmma().shared.packed, plan.wgmma().stage.packed, plan.config.tile_n,
      plan.tiles.k_steps);
  if (plan.scales.grouped) text.line("copy_scales(stage, k_tile);");
  text.close("};");
}

void tokens_lambda(const Plan& plan, Text& text) {
  const Config& config = plan.config;
  const bool shared = config.wgmma().multicast > 1;
  const std::string part = shared ? "rank" : "0";
  text.open("auto copy_tokens = [&](unsigned stage, unsigned k_tile) {{");
  for (int line = 0; line < plan.wgmma().stage.lines; ++line) {
    const std::string to = Sum(plus("shared", plan.wgmma().stage.line_at(line)))
                               .near("stage", plan.wgmma().stage.activations)
                               .near(part, plan.wgmma().stage.line / config.wgmma().multicast)
                               .str();
    const std::string row = Sum(fmt::format("m_tile * {}", config.tile_m))
                                .near(part, plan.wgmma().stage.activation_box)
                                .str();
    text.line("{}({}, &token_map, {}, {}, full + stage * 8{});",
              shared ? "copy_box_to_all" : "copy_box", to,
              plus(fmt::format("k_tile * {}", config.warp_k), line * 64), row,
              shared ? fmt::format(", {}", (1 << config.wgmma().multicast) - 1) : "");
  }
  text.close("};");
}

// The first stages' words do not depend on the previous kernel.
void begin_early(const Plan& plan, Text& text) {
  text.open("if (first) {{");
  text.line("first = false;");
  text.line("filled = min({}, k_count);", plan.config.stages);
  text.line("for (int i = 0; i < filled; ++i) copy_words(i, k_first + i);");
  text.line("wait_for_previous();");
  text.close();
}

void next_words(const Plan& plan, Text& text) {
  if (plan.config.wgmma().early_weights) {
    text.open("if (filled > 0) {{");
    text.line("--filled;");
    text.otherwise();
  }
  text.line("wait_for_phase(empty + stage * 8, parity);");
  text.line("copy_words(stage, i);");
  if (plan.config.wgmma().early_weights) text.close();
}

// Sums that the blocks before have given follow the k tiles as stages of their own.
void copy_partials(const Plan& plan, Text& text) {
  const auto& [float4s, chunks, chunk, last] = plan.wgmma().fixup;
  const std::string bytes = last == chunk
                                ? std::to_string(chunk)
                                : fmt::format("chunk == {} ? {} : {}", chunks - 1, last, chunk);
  open_givers(plan, text,
              fmt::format("k_first > 0 && k_first + k_count == {}", plan.tiles.k_tiles));
  text.line("take_flags<{}>({});", plan.wgmma().roles.consumers, flags_of(plan, giver_block(plan)));
  text.line("const char* from = {};", partials_of(plan, giver_block(plan)));
  text.open("for (int chunk = 0; chunk < {}; ++chunk) {{", chunks);
  text.line("const unsigned bytes = {};", bytes);
  text.line("wait_for_phase(empty + stage * 8, parity);");
  text.line("expect_bytes(full + stage * 8, bytes);");
  text.line("copy_bytes(shared + {} + stage * {}, from + chunk * {}, bytes, full + stage * 8);",
            plan.wgmma().shared.packed, plan.wgmma().stage.packed, chunk);
  next_stage(plan, text);
  text.close();
  text.close();
}

}  // namespace

std::string emit_wgmma_produce(const Plan& plan) {
  const bool early = plan.config.wgmma().early_weights;
  Text text(4);
  text.open("if (thread == 0) {{");
  if (plan.scales.grouped) scales_lambda(plan, text);
  words_lambda(plan, text);
  tokens_lambda(plan, text);
  text.line("unsigned stage = 0, parity = 1;");
  if (early) {
    text.line("bool first = true;");
    text.line("int filled = 0;  // stages whose words are on their way already");
  } else {
    text.line("wait_for_previous();");
  }
  open_piece(plan, text);
  if (early) begin_early(plan, text);
  text.line("#pragma unroll 1");
  text.open("for (int i = k_first; i < k_first + k_count; ++i) {{");
  next_words(plan, text);
  text.line("copy_tokens(stage, i);");
  next_stage(plan, text);
  text.close();
  if (plan.wgmma().work.striped_k_tiles > 0) copy_partials(plan, text);
  text.close();
  if (early) text.line("if (first) wait_for_previous();");
  text.close();
  return text.str();
}

}  // namespace marlin
