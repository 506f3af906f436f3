// Plan -> the asynchronous copies of one stage and the fetch cursor that walks through the tiles.
// Entry points: emit_copy_addresses, emit_fetch, emit_fill.
#include "codegen/emit/text.h"
#include "codegen/families/stripe/emit.h"

namespace marlin {

namespace {

bool many_tiles(const Plan& plan) { return plan.config.partition.kind != Partition::Kind::split; }

std::string warp_n_name(const Plan& plan) { return plan.stripe().private_rings ? "0" : "warp_n"; }

void packed_addresses(const Plan& plan, Text& text) {
  Sum from("b");
  from.far(n_tile_name(plan), plan.global.packed.n_tile)
      .far(first_k_tile_name(plan), plan.global.packed.k_tile)
      .far("warp_k", plan.global.packed.unit)
      .near(warp_n_name(plan), plan.global.packed.warp_n)
      .near("lane", 16);
  text.line("const char* from_packed = {};", from.str());
  text.line("const unsigned packed_at = shared + kPacked + warp * {} + lane * 16;",
            plan.stripe().packed.unit);
}

void activation_addresses(const Plan& plan, Text& text) {
  text.line("const unsigned copier = {};", plan.stripe().private_rings ? "lane" : "threadIdx.x");
  text.line("const unsigned copy_row = copier / {}, copy_chunk = copier & {};",
            plan.stripe().copies.row_chunks, plan.stripe().copies.row_chunks - 1);
  Sum from("a");
  from.far(m_tile_name(plan), plan.global.activations.m_tile)
      .far(first_k_tile_name(plan), plan.global.activations.k_tile)
      .far("copy_row", plan.global.activations.row)
      .near(plan.stripe().private_rings ? "warp" : "0", plan.global.activations.warp_k)
      .near("copy_chunk", 16);
  text.line("const char* from_activations = {};", from.str());
  if (plan.tiles.guard_rows) {
    text.line(
        "{}int copy_rows = rows - static_cast<int>(copy_row);  // of the tile, from copy_row on",
        plan.stripe().work.striped ? "" : "const ");
  }
  text.line("const unsigned copy_offset = copy_row * {} + copy_chunk * 16;",
            plan.stripe().activations.pitch);
  text.line("const unsigned to_activations = {} + (copy_offset ^ ((copy_offset >> {} & {}) << 4));",
            Sum("shared").named("kActivations").near("warp", plan.stripe().activations.unit).str(),
            plan.stripe().activations.swizzle_shift, plan.stripe().activations.swizzle_mask);
}

void scale_addresses(const Plan& plan, Text& text) {
  const int units = plan.problem.scheme.group / plan.config.warp_k;  // that share a row
  const std::string group = units == 1 ? "warp_k" : fmt::format("(warp_k / {})", units);
  Sum from("scales");
  from.far(n_tile_name(plan), plan.global.scales.n_tile)
      .far(first_k_tile_name(plan), plan.global.scales.k_tile)
      .far(group, plan.global.scales.row)
      .near(warp_n_name(plan), plan.global.scales.warp_n)
      .near("lane", 16);
  text.line("const char* from_scales = {};", from.str());
  text.line("const unsigned to_scales = shared + kScales + warp * {} + lane * 16;",
            plan.stripe().scales.unit);
}

void copy_scales(const Plan& plan, Text& text) {
  const std::string guard = plan.stripe().scales.chunks < 32
                                ? fmt::format("if (lane < {}) ", plan.stripe().scales.chunks)
                                : "";
  text.line("{}cp_async16(to_scales + stage, from_scales);", guard);
}

// From the end of one tile's column to the start of the next tile.
void next_tile(const Plan& plan, Text& text) {
  const bool rows_too = plan.stripe().work.striped && plan.tiles.m_tiles > 1;
  text.open("if (--fetch_left == 0) {{  // on to the next tile");
  text.line("fetch_left = {};", plan.tiles.k_tiles);
  text.line("from_packed -= {}ll;", plan.global.packed.column);
  text.line("from_activations -= {}ll;", plan.global.activations.column);
  if (plan.scales.grouped) text.line("from_scales -= {}ll;", plan.global.scales.column);
  if (rows_too) {
    text.line("from_activations += {}ll;", plan.global.activations.m_tile);
    text.open("if (++fetch_m_tile == {}) {{", plan.tiles.m_tiles);
    text.line("fetch_m_tile = 0;");
    text.line("from_activations -= {}ll;", plan.global.activations.m_tile_at(plan.tiles.m_tiles));
  }
  text.line("from_packed += {}ll;", plan.global.packed.n_tile);
  if (plan.scales.grouped) text.line("from_scales += {}ll;", plan.global.scales.n_tile);
  if (rows_too) {
    text.close();
    if (plan.tiles.guard_rows) {
      text.line("copy_rows = {} - static_cast<int>(copy_row);", rows_of(plan, "fetch_m_tile"));
    }
  }
  text.close();
}

}  // namespace

std::string emit_copy_addresses(const Plan& plan) {
  Text text(2);
  packed_addresses(plan, text);
  activation_addresses(plan, text);
  if (plan.scales.grouped) scale_addresses(plan, text);
  if (many_tiles(plan)) {
    text.line("int fetch_left = {}{};  // k tiles of the tile being fetched", plan.tiles.k_tiles,
              plan.stripe().work.striped ? " - first_k_tile" : "");
  }
  if (plan.stripe().work.striped) {
    text.line("int to_fetch = block_k_tiles;");
    if (plan.tiles.m_tiles > 1) text.line("int fetch_m_tile = m_tile;");
  }
  return text.str();
}

std::string emit_fetch(const Plan& plan) {
  Text text(4);
  for (int step = 0; step < plan.tiles.k_steps; ++step) {
    for (int block = 0; block < plan.stripe().warp.blocks64; ++block) {
      text.line("cp_async16({}, {});",
                plus("packed_at + stage", plan.stripe().packed.at(step, block)),
                plus("from_packed", plan.global.packed.at(step, block)));
    }
  }
  activation_copies(plan, plan.stripe()).emit(text, "to_activations + stage", "from_activations");
  if (plan.scales.grouped) copy_scales(plan, text);
  text.line("from_packed += {}ll;", plan.global.packed.k_tile);
  text.line("from_activations += {}ll;", plan.global.activations.k_tile);
  if (plan.scales.grouped) text.line("from_scales += {}ll;", plan.global.scales.k_tile);
  if (many_tiles(plan)) next_tile(plan, text);
  return text.str();
}

std::string emit_fill(const Plan& plan) {
  const int stages = plan.config.stages;
  Text text(2);
  for (int stage = 0; stage < stages; ++stage) {
    const std::string at = plus("kStages", plan.stripe().stage.at(stage));
    if (plan.stripe().work.striped) {
      text.line("if (to_fetch-- > 0) fetch({});", at);
    } else if (stage < plan.stripe().work.k_tiles) {
      text.line("fetch({});", at);
    }
    text.line("cp_async_commit();");
  }
  return text.str();
}

}  // namespace marlin
