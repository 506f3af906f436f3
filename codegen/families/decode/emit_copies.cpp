// Plan -> what a block and a warp of a decode kernel work on, and the copies that bring it.
// Entry points: emit_decode_work, emit_decode_copies, emit_decode_fill.
#include "codegen/emit/text.h"
#include "codegen/families/decode/emit.h"

namespace marlin {

namespace {

std::string warp_n_name(const Plan& plan) { return plan.decode().private_rings ? "0" : "warp_n"; }

std::string n_tile_column(const Plan& plan) {
  const std::string n_tile = decode_n_tile(plan);
  return n_tile == "0" ? n_tile : fmt::format("{} * {}", n_tile, plan.config.tile_n);
}

void packed_lambda(const Plan& plan, Text& text) {
  const DecodePlan& reduce_count = plan.decode();
  text.open("auto copy_packed = [&](unsigned stage, unsigned unit) {{");
  text.line("const unsigned to = packed_at + stage * {};", plan.decode().shared.packed_stage);
  for (int step = 0; step < plan.tiles.k_steps; ++step) {
    for (int block = 0; block < plan.decode().warp.blocks64; ++block) {
      text.line("cp_async16({}, {});", plus("to", reduce_count.packed.at(step, block)),
                plus("from_packed", plan.global.packed.at(step, block)));
    }
  }
  text.line("from_packed += {}ll;", reduce_count.step.packed);
  if (plan.scales.grouped) {
    text.line("const char* row = first_scales + {} * {}ll;", first_scale_row(plan, "unit"),
              plan.global.scales.row);
    for (int row = 0; row < plan.scales.rows; ++row) {
      text.line("if (lane < {}) cp_async16({}, {});", reduce_count.scales.chunks,
                plus("to", reduce_count.scales.offset + reduce_count.scales.row_at(row)),
                plus("row", plan.global.scales.row_at(row)));
    }
  }
  text.close("};");
}

void activations_lambda(const Plan& plan, Text& text) {
  text.open("auto copy_activations = [&](unsigned stage) {{");
  text.line("const unsigned to = activations_to + stage * {};", plan.decode().activations.unit);
  activation_copies(plan, plan.decode()).emit(text, "to", "from_activations");
  text.line("from_activations += {};", plan.decode().step.activations);
  text.close("};");
}

// The activations of the first stages, through registers.
void fill_activations(const Plan& plan, Text& text) {
  const int stages = plan.config.stages;
  text.line(
      "// Through registers: cp.async groups complete in order, so the activations would wait for");
  text.line("// the packed weights of all stages already in flight.");
  text.line("uint4 first_activations[{}][{}];", stages, plan.decode().copies.passes);
  for (int stage = 0; stage < stages; ++stage) {
    const std::string from = plus("from_activations", plan.decode().step.activations_at(stage));
    int pass = 0;
    for (const ActivationCopy& copy : activation_copies(plan, plan.decode()).all("", from)) {
      text.line("{}first_activations[{}][{}] = ld_global_cg({});", copy.guard, stage, pass++,
                copy.from);
    }
  }
  for (int stage = 0; stage < stages; ++stage) {
    int pass = 0;
    const std::string to = plus("activations_to", stage * plan.decode().activations.unit);
    for (const ActivationCopy& copy : activation_copies(plan, plan.decode()).all(to, "")) {
      text.line("{}st_shared({}, first_activations[{}][{}]);", copy.guard, copy.to, stage, pass++);
    }
  }
  text.line("from_activations += {};", plan.decode().step.activations_at(stages));
}

// Which fragments of each warp this block reduces, and the mbarrier by which they arrive.
void cluster_reduce_expect(const Plan& plan, Text& text) {
  std::string first, reduce_count;
  for (int rank = 0; rank + 1 < plan.launch.cluster; ++rank) {
    first += fmt::format("rank == {} ? {} : ", rank, plan.decode().reduction.reducers[rank].first);
    reduce_count +=
        fmt::format("rank == {} ? {} : ", rank, plan.decode().reduction.reducers[rank].count);
  }
  const int bytes = plan.decode().reduction.fragment_bytes;
  text.line("// The fragments of each warp that this block adds up, from the first on.");
  text.line("const unsigned reduce_first = {}{};", first,
            plan.decode().reduction.reducers.back().first);
  if (reduces_unevenly(plan)) {
    text.line("const unsigned reduce_count = {}{};", reduce_count,
              plan.decode().reduction.reducers.back().count);
  } else {
    text.line("constexpr unsigned reduce_count = {};", plan.decode().reduction.most);
  }
  text.line("const unsigned reduce_barrier = shared + kReduceBarrier;");
  text.line("if (warp == 0) cluster_reduce_expect(reduce_barrier, reduce_count * {}, lane);",
            bytes);
  text.line("cluster_arrive_relaxed();");
}

}  // namespace

std::string decode_rank(const Plan& plan) { return plan.launch.cluster > 1 ? "rank" : "0"; }
std::string decode_n_tile(const Plan& plan) { return plan.tiles.n_tiles > 1 ? "n_tile" : "0"; }
bool reduces_unevenly(const Plan& plan) { return !plan.decode().reduction.even(); }

std::string emit_decode_work(const Plan& plan) {
  const Config& config = plan.config;
  Text text(2);
  if (plan.tiles.n_tiles > 1) text.line("const unsigned n_tile = blockIdx.y;");
  if (plan.launch.cluster > 1) text.line("const unsigned rank = blockIdx.x;  // in the cluster");
  if (plan.decode().private_rings) {
    text.line("const unsigned warp_k = warp;");
  } else {
    text.line("const unsigned warp_n = warp & {}, warp_k = warp / {};", config.warps_n - 1,
              config.warps_n);
  }
  text.line("const unsigned split = {};  // of {}: takes the units split, split + {}, ...",
            Sum("warp_k").near(decode_rank(plan), config.warps_k).str(), plan.decode().splits.count,
            plan.decode().splits.count);
  if (plan.decode().splits.longer > 0) {
    text.line("const int units = {} + (split < {} ? 1 : 0);", plan.decode().splits.k_tiles,
              plan.decode().splits.longer);
  } else {
    text.line("constexpr int units = {};", plan.decode().splits.k_tiles);
  }
  return text.str();
}

std::string emit_decode_copies(const Plan& plan) {
  Text text(2);
  text.line("const unsigned column = {};",
            Sum(n_tile_column(plan)).near(warp_n_name(plan), plan.decode().warp.columns).str());
  text.line("const char* from_packed = b + column * 8ll + split * {}ll + lane * 16;",
            plan.global.packed.unit);
  if (plan.scales.grouped) {
    text.line("const char* first_scales = scales + column * 2ll + lane * 16;");
  }
  text.line("const unsigned packed_ring = shared + kPacked + warp * {};",
            plan.decode().shared.packed_ring);
  text.line("const unsigned packed_at = packed_ring + lane * 16;");
  text.line("const unsigned copier = {};", Sum("lane").near(warp_n_name(plan), 32).str());
  text.line("const unsigned copy_row = copier / {}, copy_chunk = copier & {};",
            plan.decode().copies.row_chunks, plan.decode().copies.row_chunks - 1);
  if (plan.tiles.guard_rows) {
    text.line("const int copy_rows = m - static_cast<int>(copy_row);  // from copy_row on");
  }
  text.line("const char* from_activations = a + copy_row * {}ll + split * {} + copy_chunk * 16;",
            plan.global.activations.row, plan.global.activations.warp_k);
  text.line("const unsigned activations_ring = shared + kActivations + warp_k * {};",
            plan.decode().shared.activations_ring);
  Sum offset("activations_ring + copy_row * 128 + ((copy_chunk ^ copy_row) & 7) * 16");
  if (plan.decode().copies.row_chunks > 8)
    offset.near("(copy_chunk / 8)", plan.decode().activations.line);
  text.line("const unsigned activations_to = {};", offset.str());
  packed_lambda(plan, text);
  activations_lambda(plan, text);
  return text.str();
}

std::string emit_decode_fill(const Plan& plan) {
  const bool early = plan.config.decode().early_weights;
  Text text(2);
  const auto fill_stages = [&] {
    for (int stage = 0; stage < plan.config.stages; ++stage) {
      text.line("copy_packed({}, {});", stage, plus("split", stage * plan.decode().splits.count));
      if (!early) text.line("copy_activations({});", stage);
      text.line("cp_async_commit();");
    }
    if (plan.launch.cluster > 1) cluster_reduce_expect(plan, text);
  };
  if (early) fill_stages();
  text.line("launch_dependents();");
  text.line("wait_for_previous();");
  if (early) {
    fill_activations(plan, text);
  } else {
    fill_stages();
  }
  return text.str();
}

}  // namespace marlin
