// Plan -> what a block and a warp of a decode kernel work on, and the copies that bring it.
// Entry points: emit_decode_work, emit_decode_copies, emit_decode_fill.
#include "codegen/emit/text.h"
#include "codegen/families/decode/emit.h"

namespace marlin {

namespace {

std::string warp_n_name(const Plan& plan) { return plan.decode().private_rings ? "0" : "warp_n"; }

std::string slice_column(const Plan& plan) {
  const std::string slice = decode_slice(plan);
  return slice == "0" ? slice : fmt::format("{} * {}", slice, plan.config.tile_n);
}

void weights_lambda(const Plan& plan, Text& text) {
  const DecodePlan& own = plan.decode();
  text.open("auto copy_weights = [&](unsigned stage, unsigned unit) {{");
  text.line("const unsigned to = words_at + stage * {};", plan.decode().shared.packed_stage);
  for (int step = 0; step < plan.tiles.k_steps; ++step) {
    for (int block = 0; block < plan.decode().warp.blocks64; ++block) {
      text.line("copy16({}, {});", plus("to", own.packed.at(step, block)),
                plus("from_words", plan.global.packed.at(step, block)));
    }
  }
  text.line("from_words += {}ll;", own.step.packed);
  if (plan.scales.grouped) {
    text.line("const char* row = first_scales + {} * {}ll;", first_scale_row(plan, "unit"),
              plan.global.scales.row);
    for (int row = 0; row < plan.scales.rows; ++row) {
      text.line("if (lane < {}) copy16({}, {});", own.scales.chunks,
                plus("to", own.scales.offset + own.scales.row_at(row)),
                plus("row", plan.global.scales.row_at(row)));
    }
  }
  text.close("};");
}

void tokens_lambda(const Plan& plan, Text& text) {
  text.open("auto copy_tokens = [&](unsigned stage) {{");
  text.line("const unsigned to = tokens_to + stage * {};", plan.decode().activations.unit);
  token_copies(plan, plan.decode()).emit(text, "to", "from_tokens");
  text.line("from_tokens += {};", plan.decode().step.activations);
  text.close("};");
}

// The tokens of the first stages, through registers.
void fill_tokens(const Plan& plan, Text& text) {
  const int stages = plan.config.stages;
  text.line(
      "// Through registers: who awaits a copy awaits all before it, and these must not wait for");
  text.line("// the weights of every stage.");
  text.line("uint4 tokens_of[{}][{}];", stages, plan.decode().copies.passes);
  for (int stage = 0; stage < stages; ++stage) {
    const std::string from = plus("from_tokens", plan.decode().step.activations_at(stage));
    int pass = 0;
    for (const TokenCopy& copy : token_copies(plan, plan.decode()).all("", from)) {
      text.line("{}tokens_of[{}][{}] = load16({});", copy.guard, stage, pass++, copy.from);
    }
  }
  for (int stage = 0; stage < stages; ++stage) {
    int pass = 0;
    const std::string to = plus("tokens_to", stage * plan.decode().activations.unit);
    for (const TokenCopy& copy : token_copies(plan, plan.decode()).all(to, "")) {
      text.line("{}store16({}, tokens_of[{}][{}]);", copy.guard, copy.to, stage, pass++);
    }
  }
  text.line("from_tokens += {};", plan.decode().step.activations_at(stages));
}

// Which fragments of each warp this block adds up, and the barrier that tells when they are there.
void expect_sums(const Plan& plan, Text& text) {
  std::string first, own;
  for (int rank = 0; rank + 1 < plan.launch.cluster; ++rank) {
    first += fmt::format("rank == {} ? {} : ", rank, plan.decode().reduction.reducers[rank].first);
    own += fmt::format("rank == {} ? {} : ", rank, plan.decode().reduction.reducers[rank].count);
  }
  const int bytes = plan.decode().reduction.fragment_bytes;
  text.line("// The fragments of each warp that this block adds up, from the first on.");
  text.line("const unsigned first_own = {}{};", first,
            plan.decode().reduction.reducers.back().first);
  if (owns_unevenly(plan)) {
    text.line("const unsigned own = {}{};", own, plan.decode().reduction.reducers.back().count);
  } else {
    text.line("constexpr unsigned own = {};", plan.decode().reduction.most);
  }
  text.line("const unsigned received = shared + {};", plan.decode().shared.barrier);
  text.line("if (warp == 0) expect_sums(received, own * {}, lane);", bytes);
  text.line("arrive_at_cluster();");
}

}  // namespace

std::string decode_rank(const Plan& plan) { return plan.launch.cluster > 1 ? "rank" : "0"; }
std::string decode_slice(const Plan& plan) { return plan.tiles.n_tiles > 1 ? "slice" : "0"; }
bool owns_unevenly(const Plan& plan) { return !plan.decode().reduction.even(); }

std::string emit_decode_work(const Plan& plan) {
  const Config& config = plan.config;
  Text text(2);
  if (plan.tiles.n_tiles > 1) text.line("const unsigned slice = blockIdx.y;");
  if (plan.launch.cluster > 1) text.line("const unsigned rank = blockIdx.x;  // in the cluster");
  if (plan.decode().private_rings) {
    text.line("const unsigned warp_k = warp;");
  } else {
    text.line("const unsigned warp_n = warp & {}, warp_k = warp / {};", config.warps_n - 1,
              config.warps_n);
  }
  text.line("const unsigned part = {};  // of {}: takes the units part, part + {}, ...",
            Sum("warp_k").near(decode_rank(plan), config.warps_k).str(), plan.decode().splits.count,
            plan.decode().splits.count);
  if (plan.decode().splits.longer > 0) {
    text.line("const int units = {} + (part < {} ? 1 : 0);", plan.decode().splits.k_tiles,
              plan.decode().splits.longer);
  } else {
    text.line("constexpr int units = {};", plan.decode().splits.k_tiles);
  }
  return text.str();
}

std::string emit_decode_copies(const Plan& plan) {
  Text text(2);
  text.line("const unsigned column = {};",
            Sum(slice_column(plan)).near(warp_n_name(plan), plan.decode().warp.columns).str());
  text.line("const char* from_words = b + column * 8ll + part * {}ll + lane * 16;",
            plan.global.packed.unit);
  if (plan.scales.grouped) {
    text.line("const char* first_scales = scales + column * 2ll + lane * 16;");
  }
  text.line("const unsigned words_ring = shared + {} + warp * {};", plan.decode().shared.packed,
            plan.decode().shared.packed_ring);
  text.line("const unsigned words_at = words_ring + lane * 16;");
  text.line("const unsigned copier = {};", Sum("lane").near(warp_n_name(plan), 32).str());
  text.line("const unsigned copy_row = copier / {}, copy_chunk = copier & {};",
            plan.decode().copies.row_chunks, plan.decode().copies.row_chunks - 1);
  if (plan.tiles.guard_rows) {
    text.line("const int copy_rows = m - static_cast<int>(copy_row);  // from copy_row on");
  }
  text.line("const char* from_tokens = a + copy_row * {}ll + part * {} + copy_chunk * 16;",
            plan.global.activations.row, plan.global.activations.warp_k);
  text.line("const unsigned tokens_ring = shared + warp_k * {};",
            plan.decode().shared.activations_ring);
  Sum place("tokens_ring + copy_row * 128 + ((copy_chunk ^ copy_row) & 7) * 16");
  if (plan.decode().copies.row_chunks > 8)
    place.near("(copy_chunk / 8)", plan.decode().activations.line);
  text.line("const unsigned tokens_to = {};", place.str());
  weights_lambda(plan, text);
  tokens_lambda(plan, text);
  return text.str();
}

std::string emit_decode_fill(const Plan& plan) {
  const bool early = plan.config.decode().early_weights;
  Text text(2);
  const auto fill_stages = [&] {
    for (int stage = 0; stage < plan.config.stages; ++stage) {
      text.line("copy_weights({}, {});", stage, plus("part", stage * plan.decode().splits.count));
      if (!early) text.line("copy_tokens({});", stage);
      text.line("close_stage();");
    }
    if (plan.launch.cluster > 1) expect_sums(plan, text);
  };
  if (early) fill_stages();
  text.line("launch_dependents();");
  text.line("wait_for_previous();");
  if (early) {
    fill_tokens(plan, text);
  } else {
    fill_stages();
  }
  return text.str();
}

}  // namespace marlin
