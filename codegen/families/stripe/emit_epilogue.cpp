// Plan -> the way of the sums out: over the warps that share columns in shared memory, over the
// blocks that share a tile through the workspace, to C. Entry points: emit_output_addresses,
// emit_finish.
#include <algorithm>

#include "codegen/emit/text.h"
#include "codegen/families/stripe/emit.h"
#include "codegen/formats/elements.h"

namespace marlin {

namespace {

// One round over the tile: the block's rows [row, row + round_rows) of a pass.
struct Round {
  int token;          // of the tile, that the block's row 0 handles
  std::string guard;  // "" when every row of the round is inside the matrix
};

std::vector<Round> rounds(const Plan& plan, int first_token, int tokens) {
  std::vector<Round> found;
  const int end = std::min(first_token + tokens, plan.tiles.rows);
  for (int token = first_token; token < end; token += plan.stripe().reduction.round_rows) {
    const int inside = end - token;
    std::string guard;
    if (inside < plan.stripe().reduction.round_rows) guard = fmt::format("row < {}", inside);
    if (plan.tiles.guard_rows) {
      if (!guard.empty()) guard += " && ";
      guard += token == 0 ? "row < rows" : fmt::format("row + {} < rows", token);
    }
    found.push_back({token, std::move(guard)});
  }
  return found;
}

void stage_pass(const Plan& plan, Text& text, int pass) {
  const StripePlan::Reduction& reduction = plan.stripe().reduction;
  const int first = reduction.first_n8_tile(pass);
  const int end = std::min(reduction.first_n8_tile(pass + 1), plan.stripe().warp.n8_tiles);
  for (int block = 0; block < plan.stripe().warp.blocks64; ++block) {
    for (int j = 0; j < 4; ++j) {
      for (int tile = first; tile < end; ++tile) {
        text.line("stage_sums<{}>({}, sums[{}][{}][{}]);", reduction.pitch,
                  plus("sums_to", reduction.at(tile - first, block, j)), block, j, tile);
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
  if (!plan.scales.grouped) text.line("scale_float4(sum, channel_scales);");
  text.line("store_half4({}, sum);", plus("output", plan.global.output.row_at(token)));
}

// Sums one pass over the warps and hands it on: to C, or to the workspace.
void sum_pass(const Plan& plan, Text& text, int pass, bool to_workspace) {
  const StripePlan::Reduction& reduction = plan.stripe().reduction;
  const int first = reduction.first_row(pass);
  for (const Round& round : rounds(plan, first, reduction.pass_rows)) {
    const int row = round.token - first;
    open_round(text, round);
    text.line("float4 sum = load_float4({});", plus("float4_at", reduction.row_at(row, 0)));
    for (int warp_k = 1; warp_k < plan.config.warps_k; ++warp_k) {
      text.line("add_float4(sum, load_float4(float4_at + {}));", reduction.row_at(row, warp_k));
    }
    if (to_workspace) {
      text.line("store_partial({}, sum);", plus("partial", plan.workspace.at(0, round.token)));
    } else {
      store_output(plan, text, round.token);
    }
    text.close();
  }
}

void all_passes(const Plan& plan, Text& text, bool to_workspace) {
  for (int pass = 0; pass < plan.stripe().reduction.passes; ++pass) {
    const StripePlan& own = plan.stripe();
    const int end = std::min(own.reduction.first_row(pass + 1), own.warp.n8_tiles * 8);
    text.line("// Tokens {}..{} of the tile.", own.reduction.first_row(pass), end - 1);
    text.line("__syncthreads();  // Nobody reads this memory any more.");
    stage_pass(plan, text, pass);
    text.line("__syncthreads();");
    sum_pass(plan, text, pass, to_workspace);
  }
}

// The block that comes last adds the partial tiles in the order of their k.
void add_partials(const Plan& plan, Text& text) {
  const Partition& partition = plan.config.partition;
  const bool stripes = plan.stripe().work.striped;
  const std::string contributors =
      stripes ? "shared_tile.contributors" : std::to_string(partition.count);
  text.open(
      "if (is_last_arriver(workspace + counter * 4, {}, reinterpret_cast<unsigned*>("
      "shared_memory + kArrival))) {{",
      contributors);
  for (const Round& round : rounds(plan, 0, plan.tiles.rows)) {
    const std::int64_t at = plan.workspace.at(0, round.token);
    open_round(text, round);
    text.line("float4 sum = load_partial({});", plus("partials", at));
    if (stripes) {
      text.open(
          "for (int contributor = 1; contributor < shared_tile.contributors; ++contributor) {{");
      text.line("add_float4(sum, load_partial({}));",
                Sum("partials").far("contributor", plan.workspace.partial_tile).constant(at).str());
      text.close();
    } else {
      for (int contributor = 1; contributor < partition.count; ++contributor) {
        text.line("add_float4(sum, load_partial(partials + {}));",
                  plan.workspace.at(contributor, round.token));
      }
    }
    store_output(plan, text, round.token);
    text.close();
  }
  text.close();
}

void finish_shared(const Plan& plan, Text& text) {
  const bool stripes = plan.stripe().work.striped;
  if (stripes) {
    text.line(
        "const unsigned counter = shared_tile.counter, slot = shared_tile.slot, rank = "
        "shared_tile.rank;");
  } else {
    Sum counter(plan.tiles.m_tiles > 1 ? "m_tile" : n_tile_name(plan));
    if (plan.tiles.m_tiles > 1) counter.near(n_tile_name(plan), plan.tiles.m_tiles);
    text.line("const unsigned counter = {};", counter.str());
    text.line("const unsigned slot = counter * {}, rank = blockIdx.z;",
              plan.config.partition.count);
  }
  Sum from(fmt::format("workspace + {}", plan.workspace.partials_offset));
  from.far("slot", plan.workspace.partial_tile)
      .near("row", plan.workspace.partial_row)
      .near("column_float4", 16);
  text.line("char* partials = {};", from.str());
  text.line("char* partial = partials + rank * {}ll;", plan.workspace.partial_tile);
  all_passes(plan, text, true);
  add_partials(plan, text);
}

}  // namespace

std::string emit_output_addresses(const Plan& plan) {
  Text text(2);
  Sum to("shared");
  to.named("kSums")
      .near("warp_k", plan.stripe().reduction.warp_k)
      .near(plan.stripe().private_rings ? "0" : "warp_n", plan.stripe().warp.columns * kFloatBytes)
      .near("(lane & 3)", 2 * plan.stripe().reduction.pitch)
      .near("(lane / 4)", 4);
  text.line("const unsigned sums_to = {};", to.str());
  text.line("const int row = threadIdx.x / {}, column_float4 = threadIdx.x & {};",
            plan.stripe().reduction.float4s, plan.stripe().reduction.float4s - 1);
  Sum address("shared");
  address.named("kSums").near("row", plan.stripe().reduction.pitch).near("column_float4", 16);
  text.line("const unsigned float4_at = {};", address.str());
  if (plan.stripe().work.striped) text.line("SharedTile shared_tile = stripe.first;");
  if (!plan.scales.grouped) {
    text.line("uint2 channel_scales;");
    text.open("auto load_channel_scales = [&]() {{");
    text.line("channel_scales = channel_scales_of({}, column_float4);",
              Sum("scales").far(n_tile_name(plan), plan.global.scales.n_tile).str());
    text.close("};");
    text.line("load_channel_scales();");
  }
  return text.str();
}

std::string emit_finish(const Plan& plan) {
  Text text(4);
  Sum to("c");
  to.far(m_tile_name(plan), plan.global.output.m_tile)
      .far(n_tile_name(plan), plan.global.output.n_tile)
      .far("row", plan.global.output.row)
      .near("column_float4", 8);
  text.line("char* output = {};", to.str());
  const bool stripes = plan.stripe().work.striped;
  if (!plan.workspace.shared) {
    all_passes(plan, text, false);
  } else if (stripes) {
    text.open("if (shared_tile.contributors == 1) {{");
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
