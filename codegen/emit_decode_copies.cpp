// Plan -> what a block and a warp of a decode kernel work on, and the bulk copies that bring it.
// Entry points: emit_decode_work, emit_decode_requests, emit_decode_fill.
#include "codegen/emit.h"
#include "codegen/emit_decode.h"
#include "codegen/text.h"

namespace marlin {

namespace {

std::string warp_n_name(const Plan& plan) { return plan.private_rings ? "0" : "warp_n"; }

// The expression for the row of scales where a unit's begin.
std::string scales_row(const Plan& plan) {
  if (plan.config.warp_k >= plan.shape.group) {
    return plan.unit_groups > 1 ? fmt::format("unit * {}", plan.unit_groups) : "unit";
  }
  return fmt::format("unit / {}", plan.shape.group / plan.config.warp_k);
}

void request_weights(const Plan& plan, Text& text) {
  text.open("auto request_weights = [&](unsigned stage, unsigned unit) {{");
  text.line("const unsigned to = words_ring + stage * {}, barrier = full + stage * 8;",
            plan.words_bytes);
  text.line("expect_bytes(barrier, {});", plan.full_bytes);
  text.line("const char* words = first_words + unit * {}ll;", plan.k_steps * plan.weights_row);
  for (int step = 0; step < plan.k_steps; ++step) {
    text.line("copy_bytes({}, {}, {}, barrier);", plus("to", step * plan.weights_unit_row),
              plus("words", step * plan.weights_row), plan.weights_unit_row);
  }
  if (plan.group_scales) {
    text.line("const char* row = first_scales + {} * {}ll;", scales_row(plan), plan.scales_row);
    const int bytes = plan.scales_unit / plan.unit_groups;
    for (int group = 0; group < plan.unit_groups; ++group) {
      text.line("copy_bytes({}, {}, {}, barrier);", plus("to", plan.scales_offset + group * bytes),
                plus("row", group * plan.scales_row), bytes);
    }
  }
  text.close("};");
}

void request_tokens(const Plan& plan, Text& text) {
  text.open("auto request_tokens = [&](unsigned stage, unsigned unit) {{");
  text.line("const unsigned to = tokens_to + stage * {};", plan.tokens_unit);
  text.line("const char* from = first_tokens + unit * {}ll;", 2 * plan.config.warp_k);
  copy_tokens(plan, text, "to", "from");
  text.line("arrive_when_copied({} + stage * 8);", plan.private_rings ? "full" : "tokens_full");
  text.close("};");
}

std::string unit_name(const Plan& plan, int i) { return plus("part", i * plan.parts); }

void init_barriers(const Plan& plan, Text& text) {
  const int stages = plan.config.stages;
  for (int stage = 0; stage < stages; ++stage) {
    text.line("init_barrier({}, {});", plus("full", stage * 8), plan.private_rings ? 33 : 1);
  }
  if (!plan.private_rings) {
    text.open("if (warp_n == 0) {{");
    for (int stage = 0; stage < stages; ++stage) {
      text.line("init_barrier({}, {});", plus("tokens_full", stage * 8), plan.token_copiers);
      text.line("init_barrier({}, {});", plus("tokens_free", stage * 8), plan.config.warps_n);
    }
    text.close();
  }
}

// The barrier of what the cluster sends, told how much that will be.
void init_received(const Plan& plan, Text& text) {
  const int fragment_bytes = plan.quad_lanes * 8 * 16;
  const int each = plan.parts * plan.config.warps_n * fragment_bytes;
  text.open("if (warp == 0) {{");
  text.line("init_barrier(received, 1);");
  text.line("publish_barriers();");
  text.line("expect_bytes(received, own * {});", each);
  text.close();
}

}  // namespace

std::string decode_rank(const Plan& plan) { return plan.cluster > 1 ? "rank" : "0"; }
std::string decode_slice(const Plan& plan) { return plan.n_slices > 1 ? "slice" : "0"; }

std::string emit_decode_work(const Plan& plan) {
  const Config& config = plan.config;
  Text text(2);
  if (plan.n_slices > 1) text.line("const unsigned slice = blockIdx.y;");
  if (plan.cluster > 1) text.line("const unsigned rank = blockIdx.x;  // in the cluster");
  if (plan.private_rings) {
    text.line("const unsigned warp_k = warp;");
  } else {
    text.line("const unsigned warp_n = warp & {}, warp_k = warp / {};", config.warps_n - 1,
              config.warps_n);
  }
  text.line("const unsigned part = {};  // of {}: takes the units part, part + {}, ...",
            Sum("warp_k").near(decode_rank(plan), config.warps_k).str(), plan.parts, plan.parts);
  if (plan.long_parts > 0) {
    text.line("const int units = {} + (part < {} ? 1 : 0);", plan.part_units, plan.long_parts);
  } else {
    text.line("constexpr int units = {};", plan.part_units);
  }
  return text.str();
}

std::string emit_decode_requests(const Plan& plan) {
  const Config& config = plan.config;
  const int stages = config.stages;
  Text text(2);
  text.line("const unsigned column = {};",
            Sum(fmt::format("{} * {}", decode_slice(plan), config.tile_n))
                .near(warp_n_name(plan), plan.warp_columns)
                .str());
  text.line("const unsigned words_ring = shared + {} + warp * {};", plan.words_offset,
            stages * plan.words_bytes);
  text.line(
      "const unsigned tokens_ring = {};",
      Sum("shared").constant(plan.tokens_offset).near("warp_k", stages * plan.tokens_unit).str());
  text.line("const unsigned full = shared + {} + warp * {};  // a barrier for each stage",
            plan.full_offset, stages * 8);
  if (!plan.private_rings) {
    text.line("const unsigned tokens_full = shared + {} + warp_k * {};", plan.tokens_full_offset,
              stages * 8);
    text.line("const unsigned tokens_free = shared + {} + warp_k * {};", plan.tokens_free_offset,
              stages * 8);
  }
  text.line("const char* first_words = b + column * {}ll;",
            plan.weights_unit_row / plan.warp_columns);
  if (plan.group_scales) text.line("const char* first_scales = scales + column * 2ll;");
  text.line("const unsigned copier = {};", Sum("lane").near(warp_n_name(plan), 32).str());
  text.line("const unsigned copy_row = copier / {}, copy_chunk = copier & {};",
            plan.token_chunks_row, plan.token_chunks_row - 1);
  if (plan.guard_rows) {
    text.line("const int copy_rows = m - static_cast<int>(copy_row);  // from copy_row on");
  }
  text.line("const char* first_tokens = a + copy_row * {}ll + copy_chunk * 16;", plan.tokens_row);
  Sum place("tokens_ring + copy_row * 128 + ((copy_chunk ^ copy_row) & 7) * 16");
  if (plan.token_chunks_row > 8) place.near("(copy_chunk / 8)", plan.tokens_line);
  text.line("const unsigned tokens_to = {};", place.str());
  request_weights(plan, text);
  request_tokens(plan, text);
  return text.str();
}

std::string emit_decode_fill(const Plan& plan) {
  const int stages = plan.config.stages;
  Text text(2);
  if (plan.cluster > 1) {
    text.line("const unsigned received = shared + {};", plan.received_offset);
    std::string first, own;
    for (int rank = 0; rank + 1 < plan.cluster; ++rank) {
      first += fmt::format("rank == {} ? {} : ", rank, plan.owners[rank].first);
      own += fmt::format("rank == {} ? {} : ", rank, plan.owners[rank].count);
    }
    text.line("// Fragments of each warp that this block adds up, from the first on.");
    text.line("const unsigned first_own = {}{};", first, plan.owners.back().first);
    text.line("const unsigned own = {}{};", own, plan.owners.back().count);
  }
  text.open("if (lane == 0) {{");
  init_barriers(plan, text);
  text.line("publish_barriers();");
  for (int i = 0; i < stages; ++i) {
    text.line("request_weights({}, {});", i, unit_name(plan, i));
  }
  if (plan.cluster > 1) init_received(plan, text);
  text.close();
  text.line("__syncwarp();");
  if (plan.cluster > 1) text.line("arrive_at_cluster();");
  if (!plan.private_rings) text.line("__syncthreads();  // All barriers are there.");
  text.line("launch_dependents();");
  text.line("wait_for_previous();");
  for (int i = 0; i < stages; ++i) text.line("request_tokens({}, {});", i, unit_name(plan, i));
  return text.str();
}

}  // namespace marlin
