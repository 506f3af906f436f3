// Plan -> the asynchronous copies of one stage and the fetch cursor that walks through the tiles.
// Entry points: emit_copy_addresses, emit_fetch, emit_fill.
#include "codegen/emit/text.h"
#include "codegen/families/stripe/emit.h"

namespace marlin {

namespace {

bool many_slices(const Plan& plan) { return plan.config.partition.kind != Partition::Kind::split; }

std::string warp_n_name(const Plan& plan) { return plan.private_rings ? "0" : "warp_n"; }

void weight_addresses(const Plan& plan, Text& text) {
  Sum from("b");
  from.far(slice_name(plan), plan.weights_slice)
      .far(first_k_tile_name(plan), plan.weights_k_tile)
      .far("warp_k", plan.k_steps * plan.weights_row)
      .near(warp_n_name(plan), plan.weights_unit_row)
      .near("lane", 16);
  text.line("const char* from_weights = {};", from.str());
  text.line("const unsigned words_at = shared + warp * {} + lane * 16;", plan.weights_unit);
}

void token_addresses(const Plan& plan, Text& text) {
  text.line("const unsigned copier = {};", plan.private_rings ? "lane" : "threadIdx.x");
  text.line("const unsigned copy_row = copier / {}, copy_chunk = copier & {};",
            plan.token_chunks_row, plan.token_chunks_row - 1);
  Sum from("a");
  from.far(m_tile_name(plan), plan.tokens_m_tile)
      .far(first_k_tile_name(plan), plan.tokens_k_tile)
      .far("copy_row", plan.tokens_row)
      .near(plan.private_rings ? "warp" : "0", plan.tokens_pitch)
      .near("copy_chunk", 16);
  text.line("const char* from_tokens = {};", from.str());
  if (plan.guard_rows) {
    text.line(
        "{}int copy_rows = rows - static_cast<int>(copy_row);  // of the tile, from copy_row on",
        plan.striped ? "" : "const ");
  }
  text.line("const unsigned copy_place = copy_row * {} + copy_chunk * 16;", plan.tokens_pitch);
  text.line("const unsigned to_tokens = {} + (copy_place ^ ((copy_place >> {} & {}) << 4));",
            Sum("shared").constant(plan.tokens_offset).near("warp", plan.tokens_unit).str(),
            plan.swizzle_shift, plan.swizzle_mask);
}

void scale_addresses(const Plan& plan, Text& text) {
  const int units_of_group = plan.shape.group / plan.config.warp_k;
  const std::string group =
      units_of_group == 1 ? "warp_k" : fmt::format("(warp_k / {})", units_of_group);
  Sum from("scales");
  from.far(slice_name(plan), plan.scales_slice)
      .far(first_k_tile_name(plan), plan.scales_k_tile)
      .far(group, plan.scales_row)
      .near(warp_n_name(plan), plan.scales_unit)
      .near("lane", 16);
  text.line("const char* from_scales = {};", from.str());
  text.line("const unsigned to_scales = shared + {} + warp * {} + lane * 16;", plan.scales_offset,
            plan.scales_unit);
}

void copy_scales(const Plan& plan, Text& text) {
  const std::string guard =
      plan.scale_chunks < 32 ? fmt::format("if (lane < {}) ", plan.scale_chunks) : "";
  text.line("{}copy16(to_scales + stage, from_scales);", guard);
}

// From the end of one slice's column to the start of the next slice.
void next_slice(const Plan& plan, Text& text) {
  const bool rows_too = plan.striped && plan.m_tiles > 1;
  text.open("if (--fetch_left == 0) {{  // on to the next slice");
  text.line("fetch_left = {};", plan.k_tiles);
  text.line("from_weights -= {}ll;", plan.weights_column);
  text.line("from_tokens -= {}ll;", plan.tokens_column);
  if (plan.group_scales) text.line("from_scales -= {}ll;", plan.scales_column);
  if (rows_too) {
    text.line("from_tokens += {}ll;", plan.tokens_m_tile);
    text.open("if (++fetch_m_tile == {}) {{", plan.m_tiles);
    text.line("fetch_m_tile = 0;");
    text.line("from_tokens -= {}ll;", plan.m_tiles * plan.tokens_m_tile);
  }
  text.line("from_weights += {}ll;", plan.weights_slice);
  if (plan.group_scales) text.line("from_scales += {}ll;", plan.scales_slice);
  if (rows_too) {
    text.close();
    if (plan.guard_rows) {
      text.line("copy_rows = {} - static_cast<int>(copy_row);", rows_of(plan, "fetch_m_tile"));
    }
  }
  text.close();
}

}  // namespace

std::string emit_copy_addresses(const Plan& plan) {
  Text text(2);
  weight_addresses(plan, text);
  token_addresses(plan, text);
  if (plan.group_scales) scale_addresses(plan, text);
  if (many_slices(plan)) {
    text.line("int fetch_left = {}{};  // k tiles of the slice being fetched", plan.k_tiles,
              plan.striped ? " - first_k_tile" : "");
  }
  if (plan.striped) {
    text.line("int to_fetch = block_k_tiles;");
    if (plan.m_tiles > 1) text.line("int fetch_m_tile = m_tile;");
  }
  return text.str();
}

std::string emit_fetch(const Plan& plan) {
  Text text(4);
  for (int step = 0; step < plan.k_steps; ++step) {
    for (int block = 0; block < plan.blocks64; ++block) {
      text.line("copy16({}, {});",
                plus("words_at + stage", step * plan.weights_unit_row + block * 512),
                plus("from_weights", step * plan.weights_row + block * 512));
    }
  }
  copy_tokens(plan, text, "to_tokens + stage", "from_tokens");
  if (plan.group_scales) copy_scales(plan, text);
  text.line("from_weights += {}ll;", plan.weights_k_tile);
  text.line("from_tokens += {}ll;", plan.tokens_k_tile);
  if (plan.group_scales) text.line("from_scales += {}ll;", plan.scales_k_tile);
  if (many_slices(plan)) next_slice(plan, text);
  return text.str();
}

std::string emit_fill(const Plan& plan) {
  const int stages = plan.config.stages;
  Text text(2);
  for (int stage = 0; stage < stages; ++stage) {
    const int at = stage * plan.stage_bytes;
    if (plan.striped) {
      text.line("if (to_fetch-- > 0) fetch({});", at);
    } else if (stage < plan.block_k_tiles) {
      text.line("fetch({});", at);
    }
    text.line("close_stage();");
  }
  return text.str();
}

}  // namespace marlin
