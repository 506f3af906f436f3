// Plan -> the lines that tell a block its tiles and a warp its place in them.
// Entry points: emit_warp_index, emit_work, emit_stripe_table.
#include "codegen/emit/text.h"
#include "codegen/families/stripe/emit.h"
#include "codegen/plan/stripes.h"

namespace marlin {

namespace {

std::string shared_tile_text(const Segment& segment) {
  return fmt::format("{{{}, {}, {}, {}}}", segment.contributors, segment.rank, segment.counter,
                     segment.slot);
}

void split_or_span(const Plan& plan, Text& text) {
  const Partition& partition = plan.config.partition;
  if (plan.tiles.m_tiles > 1) text.line("const unsigned m_tile = blockIdx.x;");
  if (partition.kind == Partition::Kind::span) {
    text.line("unsigned n_tile = blockIdx.y * {};  // and the {} after it", partition.count,
              partition.count - 1);
    return;
  }
  if (plan.tiles.n_tiles > 1) text.line("const unsigned n_tile = blockIdx.y;");
  if (partition.count > 1) {
    text.line("const unsigned first_k_tile = blockIdx.z * {};", plan.stripe().work.k_tiles);
  }
}

void stripes(const Plan& plan, Text& text) {
  text.line("const Stripe& stripe = kStripes[blockIdx.x];");
  if (plan.tiles.m_tiles > 1) text.line("unsigned m_tile = stripe.m_tile;");
  text.line("unsigned n_tile = stripe.n_tile;");
  text.line("const unsigned first_k_tile = stripe.k_tile;");
  text.line("const int block_k_tiles = stripe.k_tiles;");
}

}  // namespace

std::string m_tile_name(const Plan& plan) { return plan.tiles.m_tiles > 1 ? "m_tile" : "0"; }

std::string n_tile_name(const Plan& plan) {
  return plan.tiles.n_tiles > 1 || plan.stripe().work.striped ? "n_tile" : "0";
}

std::string first_k_tile_name(const Plan& plan) {
  const Partition& partition = plan.config.partition;
  const bool inside = partition.kind == Partition::Kind::split && partition.count > 1;
  return inside || plan.stripe().work.striped ? "first_k_tile" : "0";
}

std::string rows_of(const Plan& plan, std::string_view m_tile) {
  std::string m = plan.tiles.dynamic_m ? "m" : std::to_string(plan.problem.shape.m);
  if (plan.tiles.m_tiles == 1) return m;
  return fmt::format("min({} - static_cast<int>({}) * {}, {})", m, m_tile, plan.config.tile_m,
                     plan.tiles.rows);
}

std::string emit_stripe_table(const Plan& plan) {
  if (!plan.stripe().work.striped) return "";
  Text text(0);
  text.line(
      "// Where each block's stripe begins, how long it is, and with whom it shares its first");
  text.line("// and its last tile.");
  text.open("struct SharedTile {{");
  text.line("int contributors, rank, counter, slot;");
  text.close("};");
  text.open("struct Stripe {{");
  text.line("int m_tile, n_tile, k_tile, k_tiles;");
  text.line("SharedTile first, last;");
  text.close("};");
  const auto stripes = cut_stripes(plan.tiles.m_tiles * plan.tiles.n_tiles, plan.tiles.k_tiles,
                                   plan.config.partition.count);
  text.open("__constant__ Stripe kStripes[{}] = {{", stripes.size());
  for (const auto& stripe : stripes) {
    int k_tiles = 0;
    for (const Segment& segment : stripe) k_tiles += segment.k_tiles;
    const Segment& first = stripe.front();
    text.line("{{{}, {}, {}, {}, {}, {}}},", first.tile % plan.tiles.m_tiles,
              first.tile / plan.tiles.m_tiles, first.k_begin, k_tiles, shared_tile_text(first),
              shared_tile_text(stripe.back()));
  }
  text.close("};");
  return text.str() + "\n";
}

std::string emit_warp_index(const Plan& plan) {
  Text text(2);
  if (plan.stripe().private_rings) {
    text.line("const unsigned warp_k = warp;");
  } else {
    text.line("const unsigned warp_n = warp & {}, warp_k = warp / {};", plan.config.warps_n - 1,
              plan.config.warps_n);
  }
  return text.str();
}

std::string emit_work(const Plan& plan) {
  Text text(2);
  if (!plan.stripe().work.striped) {
    split_or_span(plan, text);
  } else {
    stripes(plan, text);
  }
  if (plan.tiles.guard_rows) {
    text.line("{}int rows = {};", plan.stripe().work.striped ? "" : "const ",
              rows_of(plan, "m_tile"));
  }
  return text.str();
}

}  // namespace marlin
