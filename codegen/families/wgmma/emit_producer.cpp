// Plan -> the producer of a wgmma kernel: the thread that fills the stages.
// Entry point: emit_wgmma_produce.
#include "codegen/families/wgmma/emit.h"

namespace marlin {

namespace {

// "whole", or a choice by whether the tile is the last one, which is narrower.
std::string by_n_tile(const Plan& plan, int whole, int tail) {
  if (plan.wgmma().tail.columns == 0) return std::to_string(whole);
  return fmt::format("(n_tile == {} ? {} : {})", plan.tiles.n_tiles - 1, tail, whole);
}

void scales_lambda(const Plan& plan, Text& text) {
  text.open("auto copy_scales = [&](unsigned stage, unsigned k_tile) {{");
  text.line("const unsigned bytes = {};",
            by_n_tile(plan, plan.wgmma().stage.scales_row, plan.wgmma().tail.scales_row));
  text.line("const char* from = scales + {} * {}ll + n_tile * {};", first_scale_row(plan, "k_tile"),
            plan.global.scales.row, plan.wgmma().stage.scales_row);
  text.line("const unsigned to = shared + kScales + stage * {};", plan.wgmma().stage.scales);
  for (int group = 0; group < plan.scales.rows; ++group) {
    text.line("bulk_copy({}, {}, bytes, full + stage * 8);",
              plus("to", plan.wgmma().stage.scales_at(group)),
              plus("from", plan.global.scales.row_at(group)));
  }
  text.close("};");
}

void packed_lambda(const Plan& plan, Text& text) {
  text.open("auto copy_packed = [&](unsigned stage, unsigned k_tile) {{");
  text.line("mbarrier_arrive_expect_tx(full + stage * 8, {});",
            by_n_tile(plan, plan.wgmma().stage.bytes, plan.wgmma().tail.stage_bytes));
  const WgmmaPlan::Stage& stage = plan.wgmma().stage;
  for (int box = 0; box < stage.packed_boxes; ++box) {
    text.line(
        "tma_load_2d({}, &packed_map, {}, k_tile * {}, full + stage * 8);",
        plus(fmt::format("shared + kPacked + stage * {}", stage.packed), stage.packed_box_at(box)),
        plus(fmt::format("n_tile * {}", plan.config.tile_n), box * stage.packed_columns),
        plan.tiles.k_steps);
  }
  if (plan.scales.grouped) text.line("copy_scales(stage, k_tile);");
  text.close("};");
}

void activations_lambda(const Plan& plan, Text& text) {
  const Config& config = plan.config;
  const bool shared = config.wgmma().multicast > 1;
  const std::string multicast_rank = shared ? "rank" : "0";
  text.open("auto copy_activations = [&](unsigned stage, unsigned k_tile) {{");
  for (int line = 0; line < plan.wgmma().stage.lines; ++line) {
    const std::string to =
        Sum("shared")
            .named("kActivations")
            .constant(plan.wgmma().stage.line_at(line))
            .near("stage", plan.wgmma().stage.activations)
            .near(multicast_rank, plan.wgmma().stage.line / config.wgmma().multicast)
            .str();
    const std::string row = Sum(fmt::format("m_tile * {}", config.tile_m))
                                .near(multicast_rank, plan.wgmma().stage.activation_box)
                                .str();
    text.line("{}({}, &activation_map, {}, {}, full + stage * 8{});",
              shared ? "tma_load_2d_multicast" : "tma_load_2d", to,
              plus(fmt::format("k_tile * {}", config.warp_k), line * 64), row,
              shared ? fmt::format(", {}", (1 << config.wgmma().multicast) - 1) : "");
  }
  text.close("};");
}

// The first stages' packed weights do not depend on the previous kernel.
void begin_early(const Plan& plan, Text& text) {
  text.open("if (first) {{");
  text.line("first = false;");
  text.line("filled = min({}, k_count);", plan.config.stages);
  text.line("for (int i = 0; i < filled; ++i) copy_packed(i, k_first + i);");
  text.line("wait_for_previous();");
  text.close();
}

void next_packed(const Plan& plan, Text& text) {
  if (plan.config.wgmma().early_weights) {
    text.open("if (filled > 0) {{");
    text.line("--filled;");
    text.otherwise();
  }
  text.line("mbarrier_wait_parity(empty + stage * 8, parity);");
  text.line("copy_packed(stage, i);");
  if (plan.config.wgmma().early_weights) text.close();
}

// Fixup: partial sums of lower-numbered blocks follow the k tiles as further stages.
void copy_partials(const Plan& plan, Text& text) {
  const auto& [float4s, chunks, chunk, last] = plan.wgmma().fixup;
  const std::string bytes = last == chunk
                                ? std::to_string(chunk)
                                : fmt::format("chunk == {} ? {} : {}", chunks - 1, last, chunk);
  open_fixup_peers(plan, text,
                   fmt::format("k_first > 0 && k_first + k_count == {}", plan.tiles.k_tiles));
  text.line("fixup_wait<{}>({});", plan.wgmma().roles.consumers,
            flags_of(plan, fixup_peer_block(plan)));
  text.line("const char* from = {};", partials_of(plan, fixup_peer_block(plan)));
  text.open("for (int chunk = 0; chunk < {}; ++chunk) {{", chunks);
  text.line("const unsigned bytes = {};", bytes);
  text.line("mbarrier_wait_parity(empty + stage * 8, parity);");
  text.line("mbarrier_arrive_expect_tx(full + stage * 8, bytes);");
  text.line("bulk_copy(shared + kPacked + stage * {}, from + chunk * {}, bytes, full + stage * 8);",
            plan.wgmma().stage.packed, chunk);
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
  packed_lambda(plan, text);
  activations_lambda(plan, text);
  text.line("unsigned stage = 0, parity = 1;");
  if (early) {
    text.line("bool first = true;");
    text.line("int filled = 0;  // stages whose packed weights are on their way already");
  } else {
    text.line("wait_for_previous();");
  }
  open_segment(plan, text);
  if (early) begin_early(plan, text);
  text.line("#pragma unroll 1");
  text.open("for (int i = k_first; i < k_first + k_count; ++i) {{");
  next_packed(plan, text);
  text.line("copy_activations(stage, i);");
  next_stage(plan, text);
  text.close();
  if (plan.wgmma().work.striped_k_tiles > 0) copy_partials(plan, text);
  text.close();
  if (early) text.line("if (first) wait_for_previous();");
  text.close();
  return text.str();
}

}  // namespace marlin
