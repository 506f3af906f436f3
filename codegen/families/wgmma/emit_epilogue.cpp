// Plan -> the way of a wgmma kernel's sums out: to the blocks that finish a tile, through shared
// memory, to C. Entry point: emit_wgmma_output.
#include "codegen/families/wgmma/emit.h"

namespace marlin {

namespace {

int eights(const Plan& plan) { return plan.wgmma().reduction.n8_tiles; }  // of a tile's tokens

// The array of the sums that become C, once the blocks of a tile have added up theirs.
std::string result(const Plan& plan) {
  return plan.wgmma().reduction.exchanges ? "kept" : wgmma_result(plan);
}

// As many of a thread's quads as a stage brings.
void take_chunk(const Plan& plan, Text& text, int chunk) {
  const int quads = plan.wgmma().roles.m64_tiles * eights(plan),
            first = chunk * plan.wgmma().fixup.float4s;
  text.line("wait_for_phase(full + stage * 8, parity);");
  for (int i = 0; i < plan.wgmma().fixup.float4s && first + i < quads; ++i) {
    const int m = (first + i) / eights(plan), eight = (first + i) % eights(plan);
    text.line("add_quad_at({}[{}], {}, {});", wgmma_result(plan), m, eight,
              plus(fmt::format("quads_at + stage * {}", plan.wgmma().stage.packed),
                   plan.wgmma().reduction.float4_at(0, i)));
  }
  // Unlike words, which products have used by then, these may still be on their way to registers.
  text.line("show_to_copies();");
  release_stage(plan, text, "", "stage");
  next_stage(plan, text);
}

// A stripe that ends inside a tile gives its sums away; one that begins inside takes others', in
// the order of the blocks.
void hand_over(const Plan& plan, Text& text) {
  const std::string sums = wgmma_result(plan);
  text.open("if (k_first + k_count < {}) {{  // Whoever has the tile's end adds these.",
            plan.tiles.k_tiles);
  text.line("char* to = {} + threadIdx.x * 16;", partials_of(plan, "blockIdx.x"));
  for (int m = 0; m < plan.wgmma().roles.m64_tiles; ++m) {
    text.line("give_sums<{}>({}, {}[{}]);", plan.wgmma().reduction.float4_at(0, 1),
              plus("to", plan.wgmma().reduction.float4_at(m, 0)), sums, m);
  }
  text.line("raise_flag({} + warpgroup * 4, warpgroup + 1, thread == 0);",
            flags_of(plan, "blockIdx.x"));
  text.line("continue;");
  text.close();
  text.line("const unsigned quads_at = shared + {} + threadIdx.x * 16;",
            plan.wgmma().shared.packed);
  open_givers(plan, text, "k_first > 0");
  for (int chunk = 0; chunk < plan.wgmma().fixup.chunks; ++chunk) take_chunk(plan, text, chunk);
  text.close();
}

// Every block of a cluster sends each eight of tokens to the one that owns it.
void gather(const Plan& plan, Text& text) {
  const std::string sums = wgmma_result(plan);
  text.line("const unsigned quads = shared + {} + (warpgroup * 128 + thread) * 16;",
            plan.wgmma().shared.received);
  text.line("const unsigned quads_to = quads + rank * {};", plan.wgmma().shared.received_split);
  text.line("wait_for_cluster();  // Its barriers are there.");
  for (int rank = 0; rank < plan.wgmma().reduction.cluster; ++rank) {
    for (int i = 0; i < plan.wgmma().reduction.reducers[rank].count; ++i) {
      for (int m = 0; m < plan.wgmma().roles.m64_tiles; ++m) {
        text.line("send_sums({}, {}, received, {}[{}], {});",
                  plus("quads_to", plan.wgmma().received_at(0, i, m)), rank, sums, m,
                  (plan.wgmma().reduction.reducers[rank].first + i) * 4);
      }
    }
  }
  text.line("wait_for_sums(received);");
  for (int i = 0; i < plan.wgmma().reduction.most; ++i) {
    for (int m = 0; m < plan.wgmma().roles.m64_tiles; ++m) {
      for (int part = 0; part < plan.wgmma().splits.count; ++part) {
        text.line("{}_quad_at({}[{}], {}, {});", part == 0 ? "take" : "add", sums, m, i,
                  plus("quads", plan.wgmma().received_at(part, i, m)));
      }
    }
  }
}

// Every block of a tile gives what others own to the workspace and, when all have, adds what they
// gave it: first its own, then that of the next ranks in their order.
void exchange(const Plan& plan, Text& text) {
  const int columns64 = plan.wgmma().roles.consumers * plan.wgmma().roles.m64_tiles;
  text.open("auto first_eight = [](unsigned rank, unsigned block) {{  // that the rank owns");
  text.line("return (rank * {}u / {} + {}u - block) / {};", plan.wgmma().reduction.boxes,
            plan.wgmma().splits.count, columns64 - 1, columns64);
  text.close("};");
  text.line(
      "const unsigned first = first_eight(rank, block), own = first_eight(rank + 1, block) - "
      "first;");
  text.line("float kept[{}][{}];", plan.wgmma().roles.m64_tiles, plan.wgmma().reduction.most * 4);
  text.line("char* mine = {} + threadIdx.x * 16;", partials_of(plan, "blockIdx.x"));
  for (int eight = 0; eight < eights(plan); ++eight) {
    for (int m = 0; m < plan.wgmma().roles.m64_tiles; ++m) {
      text.line("keep_or_give(kept[{0}], {1}[{0}], {2}, first, own, {3});", m, wgmma_result(plan),
                eight, plus("mine", plan.wgmma().reduction.float4_at(m, eight)));
    }
  }
  text.line("char* counters = workspace + (tile * {} + warpgroup) * 8;",
            plan.wgmma().roles.consumers);
  text.line("meet_blocks<{}>(counters, warpgroup + 1, thread == 0);", plan.wgmma().splits.count);
  text.line("#pragma unroll");
  text.open("for (unsigned i = 1; i < {}; ++i) {{", plan.wgmma().splits.count);
  text.line("const unsigned peer = rank + i < {0} ? rank + i : rank + i - {0};",
            plan.wgmma().splits.count);
  text.line("const char* from = {} + threadIdx.x * 16 + first * {};",
            partials_of(plan, fmt::format("(tile * {} + peer)", plan.wgmma().splits.count)),
            plan.wgmma().reduction.float4_at(0, 1));
  for (int i = 0; i < plan.wgmma().reduction.most; ++i) {
    const std::string guard =
        i < plan.wgmma().reduction.least ? "" : fmt::format("if ({} < own) ", i);
    for (int m = 0; m < plan.wgmma().roles.m64_tiles; ++m) {
      text.line("{}add_given(kept[{}], {}, {});", guard, m, i,
                plus("from", plan.wgmma().reduction.float4_at(m, i)));
    }
  }
  text.close();
  text.line("leave_blocks<{}>(counters, thread == 0);", plan.wgmma().splits.count);
}

void channel_scales(const Plan& plan, Text& text) {
  const std::string sums = result(plan);
  text.line("const unsigned column = slice * {} + block * 64 + fragment * 16 + lane / 4;",
            plan.config.tile_n);
  for (int m = 0; m < plan.wgmma().roles.m64_tiles; ++m) {
    const std::string at = plus("column", m * 16);
    const auto scale = [&](int more) {
      const std::string of = fmt::format("channel_scale_of(scales, {})", plus(at, more));
      return plan.wgmma().tail.columns == 0
                 ? of
                 : fmt::format("column < {} ? {} : 0.f", plan.shape.n - m * 16 - more, of);
    };
    text.line("scale_sums({}[{}], {}, {});", sums, m, scale(0), scale(8));
  }
}

void stage_eight(const Plan& plan, Text& text, int eight, int place) {
  const std::string sums = result(plan), to = plus("staged", plan.wgmma().staging.n8_at(place));
  if (plan.wgmma().roles.m64_tiles == 1) {
    text.line("stage_tokens({}, {}[0], {});", to, sums, eight);
    return;
  }
  for (int m = 0; m < plan.wgmma().roles.m64_tiles; m += 2) {
    text.line("stage_tokens({}, {}[{}], {}[{}], {});",
              m == 0 ? to : fmt::format("({}) ^ {}", to, 64), sums, m, sums, m + 1, eight);
  }
}

void store_boxes(const Plan& plan, Text& text, int first_token, std::string_view owned) {
  for (int m = 0; m < plan.wgmma().roles.m64_tiles; ++m) {
    text.line("store_box(&output_map, {}, slice * {} + warpgroup * {}{}, m_tile * {}{});",
              plus("boxes", plan.wgmma().staging.box_at(m)), plan.config.tile_n,
              plan.wgmma().roles.m64_tiles * 64, m == 0 ? "" : fmt::format(" + {}", m * 64),
              plan.config.tile_m,
              (owned.empty() ? "" : fmt::format(" + {}", owned)) +
                  (first_token == 0 ? "" : fmt::format(" + {}", first_token)));
  }
}

void staging_addresses(const Plan& plan, Text& text) {
  text.line("const unsigned boxes = shared + {} + warpgroup * {}{};", plan.wgmma().shared.staging,
            plan.wgmma().staging.consumer,
            plan.wgmma().staging.buffers > 1
                ? fmt::format(" + buffer * {}", plan.wgmma().staging.buffer)
                : "");
  text.line(
      "const unsigned staged = boxes + {}(lane & 7) * 128 + ((fragment * 2 + lane / 8 ^ lane & 7) "
      "& 7) * 16;",
      plan.wgmma().roles.m64_tiles == 1
          ? ""
          : fmt::format("(block - warpgroup * {}) * {} + ", plan.wgmma().roles.m64_tiles,
                        plan.wgmma().staging.box));
}

// A chunk of the tile's tokens by way of shared memory, which an earlier store must have left.
void chunk(const Plan& plan, Text& text, int first) {
  text.open("{{");
  staging_addresses(plan, text);
  text.line("if (thread == 0) wait_for_stores<{}>();", plan.wgmma().staging.buffers - 1);
  text.line("meet(warpgroup + 1, 128);");
  for (int eight = 0; eight < plan.wgmma().staging.rows / 8; ++eight) {
    stage_eight(plan, text, first / 8 + eight, eight);
  }
  text.line("show_to_copies();");
  text.line("meet(warpgroup + 1, 128);");
  text.open("if (thread == 0) {{");
  store_boxes(plan, text, first, "");
  text.line("close_stores();");
  text.close();
  if (plan.wgmma().staging.buffers > 1) text.line("buffer ^= 1;");
  text.close();
}

// What a block of a cluster owns, eight tokens at a time.
void owned_tokens(const Plan& plan, Text& text) {
  std::string first;
  for (int rank = 0; rank + 1 < plan.wgmma().reduction.cluster; ++rank) {
    first +=
        fmt::format("rank == {} ? {} : ", rank, plan.wgmma().reduction.reducers[rank].first * 8);
  }
  text.line("const unsigned first_token = {}{};", first,
            plan.wgmma().reduction.reducers.back().first * 8);
  staging_addresses(plan, text);
  for (int i = 0; i < plan.wgmma().reduction.most; ++i) stage_eight(plan, text, i, i);
  text.line("show_to_copies();");
  text.line("meet(warpgroup + 1, 128);");
  text.open("if (thread == 0) {{");
  text.open("for (unsigned i = 0; i < own; ++i) {{");
  for (int m = 0; m < plan.wgmma().roles.m64_tiles; ++m) {
    text.line(
        "store_box(&output_map, {} + i * {}, slice * {} + warpgroup * {}{}, m_tile * {} + "
        "first_token + i * 8);",
        plus("boxes", plan.wgmma().staging.box_at(m)), plan.wgmma().staging.n8_at(1),
        plan.config.tile_n, plan.wgmma().roles.m64_tiles * 64,
        m == 0 ? "" : fmt::format(" + {}", m * 64), plan.config.tile_m);
  }
  text.close();
  text.line("close_stores();");
  text.close();
}

// The boxes that a block owns after an exchange, by the columns of each.
void owned_boxes(const Plan& plan, Text& text) {
  staging_addresses(plan, text);
  for (int i = 0; i < plan.wgmma().reduction.most; ++i) stage_eight(plan, text, i, i);
  text.line("show_to_copies();");
  text.line("meet(warpgroup + 1, 128);");
  text.open("if (thread == 0) {{");
  text.open("for (unsigned i = 0; i < {}; ++i) {{", plan.wgmma().roles.m64_tiles);
  text.line("const unsigned columns = warpgroup * {} + i;", plan.wgmma().roles.m64_tiles);
  text.line("const unsigned begin = first_eight(rank, columns);");
  text.line("const unsigned count = first_eight(rank + 1, columns) - begin;");
  text.open("for (unsigned j = 0; j < count; ++j) {{");
  text.line(
      "store_box(&output_map, boxes + i * {} + j * {}, slice * {} + columns * 64, m_tile * {} + "
      "(begin + j) * 8);",
      plan.wgmma().staging.box, plan.wgmma().staging.n8_at(1), plan.config.tile_n,
      plan.config.tile_m);
  text.close();
  text.close();
  text.line("close_stores();");
  text.close();
}

}  // namespace

std::string emit_wgmma_output(const Plan& plan) {
  Text text(6);
  if (plan.wgmma().work.striped_k_tiles > 0) hand_over(plan, text);
  if (plan.wgmma().reduction.cluster > 1) gather(plan, text);
  if (plan.wgmma().reduction.exchanges) exchange(plan, text);
  if (!plan.scales.grouped) channel_scales(plan, text);
  if (plan.wgmma().reduction.cluster > 1) {
    owned_tokens(plan, text);
  } else if (plan.wgmma().reduction.exchanges) {
    owned_boxes(plan, text);
  } else {
    for (int first = 0; first < plan.config.tile_m; first += plan.wgmma().staging.rows) {
      chunk(plan, text, first);
    }
  }
  return text.str();
}

}  // namespace marlin
