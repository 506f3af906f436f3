// Plan -> the segments of tiles that a block of a wgmma kernel computes, and its barriers.
// Entry points: emit_wgmma_work, emit_wgmma_barriers.
#include "codegen/families/wgmma/emit.h"

namespace marlin {

bool one_segment(const Plan& plan) { return plan.wgmma().splits.count > 1; }

namespace {

// Where in the matrix the tile of this number lies. Tiles go through `raster` rows of tiles at a
// time, so that blocks at work together share activations and packed weights in L2.
void tile_coordinates(const Plan& plan, Text& text) {
  const int raster = plan.config.wgmma().raster;
  const int n_tiles = plan.tiles.n_tiles / plan.config.wgmma().multicast;
  if (plan.tiles.m_tiles == 1) {
    text.line("n_tile = tile, m_tile = 0;");
  } else if (raster == 1) {
    text.line("n_tile = tile % {0}, m_tile = tile / {0};", n_tiles);
  } else if (raster >= plan.tiles.m_tiles) {
    text.line("n_tile = tile / {0}, m_tile = tile % {0};", plan.tiles.m_tiles);
  } else {
    const int last_rows = plan.tiles.m_tiles % raster;
    text.line("const unsigned rows = tile / {0}, index = tile % {0};", raster * n_tiles);
    if (last_rows == 0) {
      text.line("n_tile = index / {0}, m_tile = rows * {0} + index % {0};", raster);
    } else {
      text.line("const bool last = rows == {};", plan.tiles.m_tiles / raster);
      text.line("n_tile = last ? index / {} : index / {};", last_rows, raster);
      text.line("m_tile = rows * {} + (last ? index % {} : index % {});", raster, last_rows,
                raster);
    }
  }
  if (plan.config.wgmma().multicast > 1)
    text.line("n_tile = n_tile * {} + rank;", plan.config.wgmma().multicast);
}

// Rows of tiles beyond the true m; blocks with one tile may as well multiply zeros.
bool skips_tiles(const Plan& plan) {
  return plan.tiles.dynamic_m && plan.tiles.m_tiles > 1 && !one_segment(plan);
}

// One split of a tile's K, by the block's rank among those of the tile.
void split_of_tile(const Plan& plan, Text& text) {
  text.line("const unsigned tile = blockIdx.x / {0}, rank = blockIdx.x % {0};",
            plan.wgmma().splits.count);
  text.line("unsigned n_tile, m_tile;");
  tile_coordinates(plan, text);
  if (plan.wgmma().splits.longer == 0) {
    text.line("const int k_first = rank * {0}, k_count = {0};", plan.wgmma().splits.k_tiles);
  } else {
    text.line(
        "const int k_first = rank * {0} + min(rank, {1}), k_count = {0} + (rank < {1} ? 1 : 0);",
        plan.wgmma().splits.k_tiles, plan.wgmma().splits.longer);
  }
}

// The name of this block's number among those that do different work.
std::string worker(const Plan& plan, Text& text) {
  if (plan.config.wgmma().multicast == 1) return "blockIdx.x";
  text.line("const unsigned worker = blockIdx.x / {0}, rank = blockIdx.x % {0};  // in the cluster",
            plan.config.wgmma().multicast);
  return "worker";
}

void whole_tiles(const Plan& plan, Text& text) {
  const std::string me = worker(plan, text);
  text.line("unsigned n_tile, m_tile;");
  text.line("constexpr int k_first = 0, k_count = {};", plan.tiles.k_tiles);
  text.open("auto find_segment = [&](unsigned segment) {{");
  text.line("const unsigned tile = {} + segment * {};", me, plan.wgmma().work.workers);
  text.line("if (tile >= {}) return false;", plan.wgmma().work.tiles);
  tile_coordinates(plan, text);
  text.line("return true;");
  text.close("};");
}

// The last tiles, laid end to end along K, are cut into equal stripes, one a block, after its whole
// tiles: those come first, as blocks that start together share activations and DRAM pages. A block
// walks its stripe backwards: the tile it must hand over comes first, and a block only ever waits
// for lower-numbered blocks, so there is no deadlock.
void stripes(const Plan& plan, Text& text) {
  const std::string me = worker(plan, text);
  const int whole = plan.wgmma().work.whole_tiles / plan.wgmma().work.workers;  // of every block
  const std::string cut = whole == 0 ? "segment" : fmt::format("(segment - {})", whole);
  text.line("auto stripe_begin = [](unsigned worker) {{ return int(worker * {}u / {}); }};",
            plan.wgmma().work.striped_k_tiles, plan.wgmma().work.workers);
  text.line("unsigned n_tile, m_tile;");
  text.line("int tile_begin, k_first, k_count;  // in k tiles");
  text.open("auto find_segment = [&](unsigned segment) {{");
  text.line("const int begin = stripe_begin({0}), end = stripe_begin({0} + 1);", me);
  text.line("const int last_tile = (end - 1) / {0}, striped = last_tile - begin / {0} + 1;",
            plan.tiles.k_tiles);
  text.line("if (segment >= {}striped) return false;",
            whole == 0 ? "" : fmt::format("{} + ", whole));
  text.line("tile_begin = int(last_tile - {}) * {};", cut, plan.tiles.k_tiles);
  if (whole == 0) {
    text.line("const unsigned tile = last_tile - segment;");
    text.line("k_first = max(begin - tile_begin, 0);");
    text.line("k_count = min(end - tile_begin, {}) - k_first;", plan.tiles.k_tiles);
  } else {
    text.line("const bool in_stripe = segment >= {};", whole);
    text.line("const unsigned tile = in_stripe ? {} + last_tile - {} : {} + segment * {};",
              plan.wgmma().work.whole_tiles, cut, me, plan.wgmma().work.workers);
    text.line("k_first = in_stripe ? max(begin - tile_begin, 0) : 0;");
    text.line("k_count = (in_stripe ? min(end - tile_begin, {0}) : {0}) - k_first;",
              plan.tiles.k_tiles);
  }
  tile_coordinates(plan, text);
  text.line("return true;");
  text.close("};");
}

}  // namespace

void open_segment(const Plan& plan, Text& text) {
  text.open("{}", one_segment(plan)
                      ? "{"
                      : "for (unsigned segment = 0; find_segment(segment); ++segment) {");
  if (skips_tiles(plan)) {
    text.line("if (m_tile * {} >= m) continue;", plan.config.tile_m);
  }
}

void next_stage(const Plan& plan, Text& text) {
  text.line("stage = stage == {} ? 0 : stage + 1;", plan.config.stages - 1);
  text.line("parity ^= stage == 0 ? 1 : 0;");
}

std::string fixup_peer_block(const Plan& plan) {
  return plan.config.wgmma().multicast == 1
             ? "peer"
             : fmt::format("(peer * {} + rank)", plan.config.wgmma().multicast);
}

std::string partials_of(const Plan& plan, std::string_view block) {
  return fmt::format("workspace + {} + {} * {}ll", plan.workspace.partials_offset, block,
                     plan.workspace.partial_tile);
}

std::string flags_of(const Plan& plan, std::string_view block) {
  return fmt::format("workspace + {} * {}", block, plan.wgmma().roles.consumers * 4);
}

void open_fixup_peers(const Plan& plan, Text& text, std::string_view condition) {
  text.line("// Partial sums of lower-numbered blocks, nearest first.");
  text.open("for (unsigned peer = {}; {} && tile_begin < stripe_begin(peer);) {{",
            plan.config.wgmma().multicast == 1 ? "blockIdx.x" : "worker", condition);
  text.line("--peer;");
}

std::string emit_wgmma_work(const Plan& plan) {
  Text text(2);
  if (plan.wgmma().splits.count > 1) {
    split_of_tile(plan, text);
  } else if (plan.wgmma().work.striped_k_tiles > 0) {
    stripes(plan, text);
  } else {
    whole_tiles(plan, text);
  }
  return text.str();
}

int mbarrier_threads(const Plan& plan) { return plan.config.threads() + 32; }

std::string emit_wgmma_barriers(const Plan& plan) {
  const int stages = plan.config.stages;
  Text text(2);
  text.line("const unsigned full = shared + kFull, empty = shared + kEmpty;");
  // By the producer's first warp, which does not wait: its first copies need no other warp.
  text.open("if (threadIdx.x / 32 == {}) {{", 4 * plan.wgmma().roles.consumers);
  text.open("if (lane == 0) {{");
  for (std::string_view map : {"activation_map", "packed_map", "output_map"}) {
    text.line("prefetch_tensormap(&{});", map);
  }
  text.open("for (unsigned stage = 0; stage < {}; ++stage) {{", stages);
  text.line("mbarrier_init(full + stage * 8, 1);");
  text.line("mbarrier_init(empty + stage * 8, {});  // warps",
            4 * plan.wgmma().roles.consumers * plan.config.wgmma().multicast);
  text.close();
  text.line("fence_mbarrier_init();");
  text.close();
  text.line("__syncwarp();");
  if (plan.config.wgmma().multicast == 1)
    text.line("named_barrier_arrive<15, {}>();", mbarrier_threads(plan));
  text.close();
  if (plan.wgmma().reduction.cluster > 1) {
    // An n8 tile is four accumulators for each m64 tile and thread of a consumer.
    const int bytes = plan.wgmma().received_n8_bytes();
    std::string reduce_count;
    for (int rank = 0; rank + 1 < plan.wgmma().reduction.cluster; ++rank) {
      reduce_count +=
          fmt::format("rank == {} ? {} : ", rank, plan.wgmma().reduction.reducers[rank].count);
    }
    const bool equal = plan.wgmma().reduction.even();
    text.line("// The n8 tiles that this block adds up.");
    text.line("const unsigned reduce_count = {}{};", equal ? "" : reduce_count,
              plan.wgmma().reduction.reducers.back().count);
    text.line("const unsigned reduce_barrier = shared + kReduceBarrier;");
    text.line(
        "if (threadIdx.x / 32 == 0) cluster_reduce_expect(reduce_barrier, reduce_count * {}, "
        "lane);",
        bytes);
    text.line("cluster_arrive_relaxed();");
  }
  if (plan.config.wgmma().multicast > 1) text.line("cluster_sync();");
  text.line("launch_dependents();");
  return text.str();
}

}  // namespace marlin
