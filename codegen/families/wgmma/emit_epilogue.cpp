// Plan -> the way of a wgmma kernel's sums out: to the blocks that finish a tile, through shared
// memory, to C. Entry point: emit_wgmma_output.
#include "codegen/families/wgmma/emit.h"

namespace marlin {

namespace {

int n8_count(const Plan& plan) { return plan.wgmma().reduction.n8_tiles; }  // of a tile's tokens

// The array of the sums that become C, once the blocks of a tile have added up theirs.
std::string result(const Plan& plan) {
  return plan.wgmma().reduction.exchanges ? "kept" : wgmma_result(plan);
}

// Adds the accumulators that one stage brings.
void fixup_chunk(const Plan& plan, Text& text, int chunk) {
  const int accumulators = plan.wgmma().roles.m64_tiles * n8_count(plan),
            first = chunk * plan.wgmma().fixup.float4s;
  text.line("mbarrier_wait_parity(full + stage * 8, parity);");
  for (int i = 0; i < plan.wgmma().fixup.float4s && first + i < accumulators; ++i) {
    const int m = (first + i) / n8_count(plan), n8 = (first + i) % n8_count(plan);
    text.line("add_accumulators({}[{}], {}, {});", wgmma_result(plan), m, n8,
              plus(fmt::format("partials_at + stage * {}", plan.wgmma().stage.packed),
                   plan.wgmma().reduction.float4_at(0, i)));
  }
  // ld.shared of these may still be in flight when the stage is refilled by TMA (async proxy):
  // fence first.
  text.line("fence_proxy_async();");
  release_stage(plan, text, "", "stage");
  next_stage(plan, text);
}

// Stream-K fixup: a stripe that ends inside a tile stores its partial sums; the block with the
// tile's end adds them in the order of the blocks.
void fixup(const Plan& plan, Text& text) {
  const std::string sums = wgmma_result(plan);
  text.open("if (k_first + k_count < {}) {{  // The block with the tile's end adds these.",
            plan.tiles.k_tiles);
  text.line("char* to = {} + threadIdx.x * 16;", partials_of(plan, "blockIdx.x"));
  for (int m = 0; m < plan.wgmma().roles.m64_tiles; ++m) {
    text.line("fixup_store<{}>({}, {}[{}]);", plan.wgmma().reduction.float4_at(0, 1),
              plus("to", plan.wgmma().reduction.float4_at(m, 0)), sums, m);
  }
  text.line("fixup_signal({} + warpgroup * 4, warpgroup + 1, thread == 0);",
            flags_of(plan, "blockIdx.x"));
  text.line("continue;");
  text.close();
  text.line("const unsigned partials_at = shared + kPacked + threadIdx.x * 16;");
  open_fixup_peers(plan, text, "k_first > 0");
  for (int chunk = 0; chunk < plan.wgmma().fixup.chunks; ++chunk) fixup_chunk(plan, text, chunk);
  text.close();
}

// Reduce-scatter over the cluster through DSMEM: each n8 tile goes to the block that reduces it.
void cluster_reduce(const Plan& plan, Text& text) {
  const std::string sums = wgmma_result(plan);
  text.line("const unsigned accumulators = shared + kReceived + (warpgroup * 128 + thread) * 16;");
  text.line("const unsigned accumulators_to = accumulators + rank * {};",
            plan.wgmma().shared.received_split);
  text.line("cluster_wait();  // The mbarriers of all blocks are initialised.");
  for (int rank = 0; rank < plan.wgmma().reduction.cluster; ++rank) {
    for (int i = 0; i < plan.wgmma().reduction.reducers[rank].count; ++i) {
      for (int m = 0; m < plan.wgmma().roles.m64_tiles; ++m) {
        text.line("cluster_reduce_send({}, {}, reduce_barrier, {}[{}], {});",
                  plus("accumulators_to", plan.wgmma().received_at(0, i, m)), rank, sums, m,
                  (plan.wgmma().reduction.reducers[rank].first + i) * 4);
      }
    }
  }
  text.line("cluster_reduce_wait(reduce_barrier);");
  for (int i = 0; i < plan.wgmma().reduction.most; ++i) {
    for (int m = 0; m < plan.wgmma().roles.m64_tiles; ++m) {
      for (int split = 0; split < plan.wgmma().splits.count; ++split) {
        text.line("{}_accumulators({}[{}], {}, {});", split == 0 ? "load" : "add", sums, m, i,
                  plus("accumulators", plan.wgmma().received_at(split, i, m)));
      }
    }
  }
}

// Reduce-scatter over the blocks of a tile through L2: a block stores the sums that others reduce
// and, after the barrier of the tile, adds what they stored for it: its own first, then the next
// ranks' in their order.
void reduce_scatter(const Plan& plan, Text& text) {
  const int columns64 = plan.wgmma().roles.consumers * plan.wgmma().roles.m64_tiles;
  text.open("auto first_n8 = [](unsigned rank, unsigned block) {{  // that the rank reduces");
  text.line("return (rank * {}u / {} + {}u - block) / {};", plan.wgmma().reduction.boxes,
            plan.wgmma().splits.count, columns64 - 1, columns64);
  text.close("};");
  text.line(
      "const unsigned first = first_n8(rank, block), reduce_count = first_n8(rank + 1, block) - "
      "first;");
  text.line("float kept[{}][{}];", plan.wgmma().roles.m64_tiles, plan.wgmma().reduction.most * 4);
  text.line("char* mine = {} + threadIdx.x * 16;", partials_of(plan, "blockIdx.x"));
  for (int n8 = 0; n8 < n8_count(plan); ++n8) {
    for (int m = 0; m < plan.wgmma().roles.m64_tiles; ++m) {
      text.line("reduce_scatter_store(kept[{0}], {1}[{0}], {2}, first, reduce_count, {3});", m,
                wgmma_result(plan), n8, plus("mine", plan.wgmma().reduction.float4_at(m, n8)));
    }
  }
  text.line("char* counters = workspace + (tile * {} + warpgroup) * 8;",
            plan.wgmma().roles.consumers);
  text.line("tile_barrier_wait<{}>(counters, warpgroup + 1, thread == 0);",
            plan.wgmma().splits.count);
  text.line("#pragma unroll");
  text.open("for (unsigned i = 1; i < {}; ++i) {{", plan.wgmma().splits.count);
  text.line("const unsigned peer = rank + i < {0} ? rank + i : rank + i - {0};",
            plan.wgmma().splits.count);
  text.line("const char* from = {} + threadIdx.x * 16 + first * {};",
            partials_of(plan, fmt::format("(tile * {} + peer)", plan.wgmma().splits.count)),
            plan.wgmma().reduction.float4_at(0, 1));
  for (int i = 0; i < plan.wgmma().reduction.most; ++i) {
    const std::string guard =
        i < plan.wgmma().reduction.least ? "" : fmt::format("if ({} < reduce_count) ", i);
    for (int m = 0; m < plan.wgmma().roles.m64_tiles; ++m) {
      text.line("{}reduce_scatter_add(kept[{}], {}, {});", guard, m, i,
                plus("from", plan.wgmma().reduction.float4_at(m, i)));
    }
  }
  text.close();
  text.line("tile_barrier_reset<{}>(counters, thread == 0);", plan.wgmma().splits.count);
}

void channel_scales(const Plan& plan, Text& text) {
  const std::string sums = result(plan);
  text.line("const unsigned column = n_tile * {} + block * 64 + fragment * 16 + lane / 4;",
            plan.config.tile_n);
  for (int m = 0; m < plan.wgmma().roles.m64_tiles; ++m) {
    const std::string at = plus("column", m * 16);
    const auto scale = [&](int more) {
      const std::string of = fmt::format("channel_scale_of(scales, {})", plus(at, more));
      return plan.wgmma().tail.columns == 0
                 ? of
                 : fmt::format("column < {} ? {} : 0.f", plan.problem.shape.n - m * 16 - more, of);
    };
    text.line("scale_sums({}[{}], {}, {});", sums, m, scale(0), scale(8));
  }
}

void stage_n8(const Plan& plan, Text& text, int n8, int index) {
  const std::string sums = result(plan), to = plus("staged", plan.wgmma().staging.n8_at(index));
  if (plan.wgmma().roles.m64_tiles == 1) {
    text.line("stmatrix_trans({}, {}[0], {});", to, sums, n8);
    return;
  }
  for (int m = 0; m < plan.wgmma().roles.m64_tiles; m += 2) {
    text.line("stmatrix_trans({}, {}[{}], {}[{}], {});",
              m == 0 ? to : fmt::format("({}) ^ {}", to, 64), sums, m, sums, m + 1, n8);
  }
}

void store_boxes(const Plan& plan, Text& text, int first_token, std::string_view first_row) {
  for (int m = 0; m < plan.wgmma().roles.m64_tiles; ++m) {
    text.line("tma_store_2d(&output_map, {}, n_tile * {} + warpgroup * {}{}, m_tile * {}{});",
              plus("boxes", plan.wgmma().staging.box_at(m)), plan.config.tile_n,
              plan.wgmma().roles.m64_tiles * 64, m == 0 ? "" : fmt::format(" + {}", m * 64),
              plan.config.tile_m,
              (first_row.empty() ? "" : fmt::format(" + {}", first_row)) +
                  (first_token == 0 ? "" : fmt::format(" + {}", first_token)));
  }
}

void staging_addresses(const Plan& plan, Text& text) {
  text.line(
      "const unsigned boxes = shared + kStaging + warpgroup * {}{};", plan.wgmma().staging.consumer,
      plan.wgmma().staging.buffers > 1 ? fmt::format(" + buffer * {}", plan.wgmma().staging.buffer)
                                       : "");
  text.line("const unsigned staged = boxes + {}(lane & 7) * 128 +",
            plan.wgmma().roles.m64_tiles == 1
                ? ""
                : fmt::format("(block - warpgroup * {}) * {} + ", plan.wgmma().roles.m64_tiles,
                              plan.wgmma().staging.box));
  // In one expression: the order in which the parts are computed is the compiler's to choose.
  text.line("    (((fragment * 2 + lane / 8) ^ (lane & 7)) & 7) * 16;");
}

// A chunk of the tile's tokens by way of shared memory, which an earlier store must have left.
void chunk(const Plan& plan, Text& text, int first) {
  text.open("{{");
  staging_addresses(plan, text);
  text.line("if (thread == 0) tma_store_wait<{}>();", plan.wgmma().staging.buffers - 1);
  text.line("named_barrier_sync(warpgroup + 1, 128);");
  for (int n8 = 0; n8 < plan.wgmma().staging.rows / 8; ++n8) {
    stage_n8(plan, text, first / 8 + n8, n8);
  }
  text.line("fence_proxy_async();");
  text.line("named_barrier_sync(warpgroup + 1, 128);");
  text.open("if (thread == 0) {{");
  store_boxes(plan, text, first, "");
  text.line("tma_store_commit();");
  text.close();
  if (plan.wgmma().staging.buffers > 1) text.line("buffer ^= 1;");
  text.close();
}

// The rows that a block of a cluster reduces, eight at a time.
void store_reduced_rows(const Plan& plan, Text& text) {
  std::string first;
  for (int rank = 0; rank + 1 < plan.wgmma().reduction.cluster; ++rank) {
    first +=
        fmt::format("rank == {} ? {} : ", rank, plan.wgmma().reduction.reducers[rank].first * 8);
  }
  text.line("const unsigned first_token = {}{};", first,
            plan.wgmma().reduction.reducers.back().first * 8);
  staging_addresses(plan, text);
  for (int i = 0; i < plan.wgmma().reduction.most; ++i) stage_n8(plan, text, i, i);
  text.line("fence_proxy_async();");
  text.line("named_barrier_sync(warpgroup + 1, 128);");
  text.open("if (thread == 0) {{");
  text.open("for (unsigned i = 0; i < reduce_count; ++i) {{");
  for (int m = 0; m < plan.wgmma().roles.m64_tiles; ++m) {
    text.line(
        "tma_store_2d(&output_map, {} + i * {}, n_tile * {} + warpgroup * {}{}, m_tile * {} + "
        "first_token + i * 8);",
        plus("boxes", plan.wgmma().staging.box_at(m)), plan.wgmma().staging.n8_at(1),
        plan.config.tile_n, plan.wgmma().roles.m64_tiles * 64,
        m == 0 ? "" : fmt::format(" + {}", m * 64), plan.config.tile_m);
  }
  text.close();
  text.line("tma_store_commit();");
  text.close();
}

// The boxes that a block has after the reduce-scatter, by the columns of each.
void store_reduced_boxes(const Plan& plan, Text& text) {
  staging_addresses(plan, text);
  for (int i = 0; i < plan.wgmma().reduction.most; ++i) stage_n8(plan, text, i, i);
  text.line("fence_proxy_async();");
  text.line("named_barrier_sync(warpgroup + 1, 128);");
  text.open("if (thread == 0) {{");
  text.open("for (unsigned i = 0; i < {}; ++i) {{", plan.wgmma().roles.m64_tiles);
  text.line("const unsigned columns = warpgroup * {} + i;", plan.wgmma().roles.m64_tiles);
  text.line("const unsigned begin = first_n8(rank, columns);");
  text.line("const unsigned count = first_n8(rank + 1, columns) - begin;");
  text.open("for (unsigned j = 0; j < count; ++j) {{");
  text.line(
      "tma_store_2d(&output_map, boxes + i * {} + j * {}, n_tile * {} + columns * 64, m_tile * {} "
      "+ "
      "(begin + j) * 8);",
      plan.wgmma().staging.box, plan.wgmma().staging.n8_at(1), plan.config.tile_n,
      plan.config.tile_m);
  text.close();
  text.close();
  text.line("tma_store_commit();");
  text.close();
}

}  // namespace

std::string emit_wgmma_output(const Plan& plan) {
  Text text(6);
  if (plan.wgmma().work.striped_k_tiles > 0) fixup(plan, text);
  if (plan.wgmma().reduction.cluster > 1) cluster_reduce(plan, text);
  if (plan.wgmma().reduction.exchanges) reduce_scatter(plan, text);
  if (!plan.scales.grouped) channel_scales(plan, text);
  if (plan.wgmma().reduction.cluster > 1) {
    store_reduced_rows(plan, text);
  } else if (plan.wgmma().reduction.exchanges) {
    store_reduced_boxes(plan, text);
  } else {
    for (int first = 0; first < plan.config.tile_m; first += plan.wgmma().staging.rows) {
      chunk(plan, text, first);
    }
  }
  return text.str();
}

}  // namespace marlin
