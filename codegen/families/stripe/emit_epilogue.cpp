// Plan -> the way of the sums out: over the warps that share columns in shared memory, over the
// blocks that share a slice through the workspace, to C. Entry points: emit_output_addresses,
// emit_finish.
#include <algorithm>

#include "codegen/emit/text.h"
#include "codegen/families/stripe/emit.h"

namespace marlin {

namespace {

// One round over the tile: the block's rows [row, row + reduce_rows) of a pass.
struct Round {
  int token;          // of the tile, that the block's row 0 handles
  std::string guard;  // "" when every row of the round is inside the matrix
};

std::vector<Round> rounds(const Plan& plan, int first_token, int tokens) {
  std::vector<Round> found;
  const int end = std::min(first_token + tokens, plan.rows);
  for (int token = first_token; token < end; token += plan.reduce_rows) {
    const int inside = end - token;
    std::string guard;
    if (inside < plan.reduce_rows) guard = fmt::format("row < {}", inside);
    if (plan.guard_rows) {
      if (!guard.empty()) guard += " && ";
      guard += token == 0 ? "row < rows" : fmt::format("row + {} < rows", token);
    }
    found.push_back({token, std::move(guard)});
  }
  return found;
}

void stage_pass(const Plan& plan, Text& text, int pass) {
  const int tiles_a_pass = plan.reduce_tokens / 8;
  const int first = pass * tiles_a_pass, end = std::min(first + tiles_a_pass, plan.token_tiles);
  for (int block = 0; block < plan.blocks64; ++block) {
    for (int j = 0; j < 4; ++j) {
      for (int tile = first; tile < end; ++tile) {
        const int place = (tile - first) * 8 * plan.reduce_pitch + block * 256 + j * 64;
        text.line("stage_sums<{}>({}, sums[{}][{}][{}]);", plan.reduce_pitch,
                  plus("sums_to", place), block, j, tile);
      }
    }
  }
}

void open_round(Text& text, const Round& round) {
  if (round.guard.empty()) {
    text.open("{{");
  } else {
    text.open("if ({}) {{", round.guard);
  }
}

void store_output(const Plan& plan, Text& text, int token) {
  if (!plan.group_scales) text.line("scale_quad(quad, channel_scales);");
  text.line("store_quad({}, quad);", plus("output", token * plan.output_row));
}

// Sums one pass over the warps and hands it on: to C, or to the workspace.
void sum_pass(const Plan& plan, Text& text, int pass, bool to_workspace) {
  const int first = pass * plan.reduce_tokens;
  for (const Round& round : rounds(plan, first, plan.reduce_tokens)) {
    const int at = (round.token - first) * plan.reduce_pitch;
    open_round(text, round);
    text.line("float4 quad = load_quad({});", plus("quads_at", at));
    for (int warp_k = 1; warp_k < plan.config.warps_k; ++warp_k) {
      text.line("add_quad(quad, load_quad(quads_at + {}));", at + warp_k * plan.reduce_warp_k);
    }
    if (to_workspace) {
      text.line("store_partial({}, quad);", plus("partial", round.token * 4 * plan.config.tile_n));
    } else {
      store_output(plan, text, round.token);
    }
    text.close();
  }
}

void all_passes(const Plan& plan, Text& text, bool to_workspace) {
  for (int pass = 0; pass < plan.reduce_passes; ++pass) {
    text.line("// Tokens {}..{} of the tile.", pass * plan.reduce_tokens,
              std::min((pass + 1) * plan.reduce_tokens, plan.token_tiles * 8) - 1);
    text.line("__syncthreads();  // Nobody reads this memory any more.");
    stage_pass(plan, text, pass);
    text.line("__syncthreads();");
    sum_pass(plan, text, pass, to_workspace);
  }
}

// The block that comes last adds the partial tiles in the order of their k.
void add_partials(const Plan& plan, Text& text) {
  const Partition& partition = plan.config.partition;
  const bool stripes = plan.striped;
  const std::string owners = stripes ? "share.owners" : std::to_string(partition.count);
  text.open(
      "if (arrive_last(workspace + counter * 4, {}, reinterpret_cast<unsigned*>("
      "shared_memory + {}))) {{",
      owners, plan.ticket_offset);
  for (const Round& round : rounds(plan, 0, plan.rows)) {
    const int at = round.token * 4 * plan.config.tile_n;
    open_round(text, round);
    text.line("float4 quad = load_partial({});", plus("partials", at));
    if (stripes) {
      text.open("for (int owner = 1; owner < share.owners; ++owner) {{");
      text.line("add_quad(quad, load_partial({}));",
                Sum("partials").far("owner", plan.partial_tile).constant(at).str());
      text.close();
    } else {
      for (int owner = 1; owner < partition.count; ++owner) {
        text.line("add_quad(quad, load_partial(partials + {}));", owner * plan.partial_tile + at);
      }
    }
    store_output(plan, text, round.token);
    text.close();
  }
  text.close();
}

void finish_shared(const Plan& plan, Text& text) {
  const bool stripes = plan.striped;
  if (stripes) {
    text.line("const unsigned counter = share.counter, slot = share.slot, rank = share.rank;");
  } else {
    Sum counter(plan.m_tiles > 1 ? "m_tile" : slice_name(plan));
    if (plan.m_tiles > 1) counter.near(slice_name(plan), plan.m_tiles);
    text.line("const unsigned counter = {};", counter.str());
    text.line("const unsigned slot = counter * {}, rank = blockIdx.z;",
              plan.config.partition.count);
  }
  Sum from(fmt::format("workspace + {}", plan.partials_offset));
  from.far("slot", plan.partial_tile).near("row", 4 * plan.config.tile_n).near("column_quad", 16);
  text.line("char* partials = {};", from.str());
  text.line("char* partial = partials + rank * {}ll;", plan.partial_tile);
  all_passes(plan, text, true);
  add_partials(plan, text);
}

}  // namespace

std::string emit_output_addresses(const Plan& plan) {
  Text text(2);
  Sum to("shared");
  to.constant(plan.reduce_offset)
      .near("warp_k", plan.reduce_warp_k)
      .near(plan.private_rings ? "0" : "warp_n", plan.warp_columns * 4)
      .near("(lane & 3)", 2 * plan.reduce_pitch)
      .near("(lane / 4)", 4);
  text.line("const unsigned sums_to = {};", to.str());
  text.line("const int row = threadIdx.x / {}, column_quad = threadIdx.x & {};", plan.quads,
            plan.quads - 1);
  Sum quads("shared");
  quads.constant(plan.reduce_offset).near("row", plan.reduce_pitch).near("column_quad", 16);
  text.line("const unsigned quads_at = {};", quads.str());
  if (plan.striped) text.line("Share share = stripe.first;");
  if (!plan.group_scales) {
    text.line("uint2 channel_scales;");
    text.open("auto load_channel_scales = [&]() {{");
    text.line("channel_scales = channel_scales_of({}, column_quad);",
              Sum("scales").far(slice_name(plan), plan.scales_slice).str());
    text.close("};");
    text.line("load_channel_scales();");
  }
  return text.str();
}

std::string emit_finish(const Plan& plan) {
  Text text(4);
  Sum to("c");
  to.far(m_tile_name(plan), plan.output_m_tile)
      .far(slice_name(plan), plan.output_slice)
      .far("row", plan.output_row)
      .near("column_quad", 8);
  text.line("char* output = {};", to.str());
  const bool stripes = plan.striped;
  if (!plan.shares_slices) {
    all_passes(plan, text, false);
  } else if (stripes) {
    text.open("if (share.owners == 1) {{");
    all_passes(plan, text, false);
    text.otherwise();
    finish_shared(plan, text);
    text.close();
  } else {
    finish_shared(plan, text);
  }
  return text.str();
}

}  // namespace marlin
