// Plan -> the consumers of a wgmma kernel: packed weights to fragments, products, scales.
// Entry points: emit_wgmma_primitive, emit_wgmma_addresses, emit_wgmma_consume.
#include "codegen/families/wgmma/emit.h"

namespace marlin {

namespace {

// "%4, %5, %6", so many operands of an instruction to a line.
std::string operands(int first, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    text += fmt::format("{}%{}", i == 0 ? "" : i % 16 == 0 ? ", \"\n      \"" : ", ", first + i);
  }
  return text;
}

int first_step(const Plan& plan, int batch) {
  return batch * plan.config.wgmma().k_steps_per_commit;
}

// The scales of a stage's groups, all at once.
void load_scales_of(const Plan& plan, Text& text, std::string_view stage) {
  for (int group = 0; group < plan.scales.rows; ++group) {
    text.line("ld_shared(scale_pairs[{}], {});", group,
              plus(fmt::format("scales_at + {} * {}", stage, plan.wgmma().stage.scales),
                   plan.wgmma().stage.scales_at(group)));
  }
}

void load_stage(const Plan& plan, Text& text, std::string_view stage) {
  for (int row = 0; row < plan.tiles.k_steps; ++row) {
    text.line("ld_shared(packed[{}], {});", row,
              plus(fmt::format("packed_at + {} * {}", stage, plan.wgmma().stage.packed),
                   plan.wgmma().stage.packed_at(row)));
  }
  if (scales_weights(plan)) load_scales_of(plan, text, stage);
}

void spread(const Plan& plan, Text& text, int group) {
  for (int m = 0; m < plan.wgmma().roles.m64_tiles; ++m) {
    text.line("spread_scales(low[{0}], high[{0}], scale_pairs[{1}][{0}]);", m, group);
  }
}

// The fragments of a stage's commit batch, out of packed weights already in registers.
void make_fragments(const Plan& plan, Text& text, int batch) {
  for (int i = 0; i < plan.config.wgmma().k_steps_per_commit; ++i) {
    const int step = first_step(plan, batch) + i;
    if (scales_weights(plan) && step % plan.scales.steps == 0) {
      spread(plan, text, step / plan.scales.steps);
    }
    for (int m = 0; m < plan.wgmma().roles.m64_tiles; ++m) {
      const std::string to = fmt::format("fragments[{}][{}][{}]", batch & 1, i, m);
      text.line("dequantise({}, packed[{}][{}]);", to, step, m);
      if (scales_weights(plan)) text.line("scale_weights({0}, low[{1}], high[{1}]);", to, m);
    }
  }
}

// Whether sums begin anew with this k16 step of a stage: "0", "1" or, for the first step of all,
// an expression.
std::string adds(const Plan& plan, int step) {
  if (scales_accumulators(plan)) return step % plan.scales.steps == 0 ? "0" : "1";
  return step == 0 ? "left < k_count" : "1";
}

void issue(const Plan& plan, Text& text, int batch) {
  text.line("warpgroup_arrive();");
  for (int i = 0; i < plan.config.wgmma().k_steps_per_commit; ++i) {
    const int step = first_step(plan, batch) + i;

    for (int m = 0; m < plan.wgmma().roles.m64_tiles; ++m) {
      text.line(
          "wgmma(sums[{}], fragments[{}][{}][{}], {}, {});", m, batch & 1, i, m,
          plus(fmt::format("activation_tile + stage * {}", plan.wgmma().stage.descriptor_stage()),
               plan.wgmma().stage.descriptor_at(step)),
          adds(plan, step));
    }
  }
  text.line("warpgroup_commit();");
}

// While a commit batch's products run, the fragments of the next one are made; those of the stage's
// last one leave room for the next stage's packed weights.
void one_commit_batch(const Plan& plan, Text& text, int batch) {
  const int last = plan.wgmma().roles.commits - 1;
  text.line("// Commit batch {} of {}.", batch + 1, plan.wgmma().roles.commits);
  if (batch == 0 && scales_accumulators(plan)) load_scales_of(plan, text, "stage");
  issue(plan, text, batch);
  text.line("warpgroup_wait<1>();");
  if (batch == 0) release_stage(plan, text, "left < k_count && ", "previous");
  if (batch < last) {
    make_fragments(plan, text, batch + 1);
  } else {
    text.open("if (more) {{");
    make_fragments(plan, text, 0);
    text.close();
  }
  if (batch == last - 1) {
    text.open("if (more) {{");
    text.line("mbarrier_wait_parity(full + next * 8, next_parity);");
    load_stage(plan, text, "next");
    text.close();
  }
  const int done = first_step(plan, batch + 1);
  if (!scales_accumulators(plan) || done % plan.scales.steps != 0) return;
  text.line("warpgroup_wait<0>();");
  for (int m = 0; m < plan.wgmma().roles.m64_tiles; ++m) {
    text.line("add_scaled(totals[{0}], sums[{0}], unpack_half2(scale_pairs[{1}][{0}]));", m,
              done / plan.scales.steps - 1);
  }
}

void begin_segment(const Plan& plan, Text& text) {
  text.line("mbarrier_wait_parity(full + stage * 8, parity);");
  load_stage(plan, text, "stage");
  make_fragments(plan, text, 0);
  if (scales_accumulators(plan)) {
    for (int m = 0; m < plan.wgmma().roles.m64_tiles; ++m) text.line("clear(totals[{}]);", m);
  }
  text.line("unsigned previous = stage;");
}

}  // namespace

void release_stage(const Plan& plan, Text& text, std::string_view condition,
                   std::string_view stage) {
  text.line("__syncwarp();");
  if (plan.config.wgmma().multicast == 1) {
    text.line("if ({}lane == 0) mbarrier_arrive(empty + {} * 8);", condition, stage);
  } else {
    text.line("if ({}lane < {}) mbarrier_arrive_cluster(empty + {} * 8, lane);", condition,
              plan.config.wgmma().multicast, stage);
  }
}

std::string wgmma_result(const Plan& plan) { return scales_accumulators(plan) ? "totals" : "sums"; }

std::string emit_wgmma_primitive(const Plan& plan) {
  const int sums = plan.wgmma().roles.accumulators;
  Text text(0);
  text.line(
      "// sums[column, token] = weights[column, k] * activations[k, token] + sums, for 64 columns, "
      "{}",
      plan.config.tile_m);
  text.line("// tokens and k = 16; without the last term where `add` is 0.");
  text.line("__device__ __forceinline__ void wgmma(float (&d)[{}], const unsigned (&weights)[4],",
            sums);
  text.line("                                         unsigned long long activations, int add) {{");
  text.line("  asm volatile(");
  text.line("      \"{{.reg .pred p; setp.ne.b32 p, %{}, 0;\\n\\t\"", sums + 5);
  text.line("      \"wgmma.mma_async.sync.aligned.m64n{}k16.f32.f16.f16 \"", plan.config.tile_m);
  text.line("      \"{{{}}}, \"", operands(0, sums));
  text.line("      \"{{{}}}, %{}, p, 1, 1, 0;}}\"", operands(sums, 4), sums + 4);
  std::string outputs;
  for (int i = 0; i < sums; ++i) {
    outputs += fmt::format("{}\"+f\"(d[{}])", i == 0 ? "" : i % 8 == 0 ? ",\n        " : ", ", i);
  }
  text.line("      : {}", outputs);
  text.line("      : \"r\"(weights[0]), \"r\"(weights[1]), \"r\"(weights[2]), \"r\"(weights[3]),");
  text.line("        \"l\"(activations), \"r\"(add));");
  text.line("}}");
  return text.str();
}

std::string emit_wgmma_addresses(const Plan& plan) {
  const int tiles = plan.wgmma().roles.m64_tiles;
  Text text(4);
  text.line(
      "// This warp's columns: 16 of each m64 tile, all in one block of 64 and neighbours there.");
  switch (tiles) {
    case 1: text.line("const unsigned block = warpgroup, fragment = warp;"); break;
    case 2:
      text.line("const unsigned block = warpgroup * 2 + warp / 2, fragment = warp % 2 * 2;");
      break;
    default: text.line("const unsigned block = warpgroup * 4 + warp, fragment = 0;");
  }
  text.line(
      "const unsigned packed_at = shared + kPacked + block * 512 + lane * 16 + fragment * 4;");
  if (plan.scales.grouped) {
    text.line(
        "const unsigned scales_at = shared + kScales + block * 128 + lane / 4 * 16 + fragment * "
        "4;");
  }
  text.line(
      "const unsigned long long activation_tile = activation_descriptor(shared + kActivations);");
  text.line("float sums[{}][{}];  // [m64 tile][fragment of 8 tokens x 4]", tiles,
            plan.wgmma().roles.accumulators);
  if (scales_accumulators(plan))
    text.line("float totals[{}][{}];", tiles, plan.wgmma().roles.accumulators);
  text.line("unsigned fragments[2][{}][{}][4], packed[{}][{}];",
            plan.config.wgmma().k_steps_per_commit, tiles, plan.tiles.k_steps, tiles);
  if (plan.scales.grouped) text.line("unsigned scale_pairs[{}][{}];", plan.scales.rows, tiles);
  if (scales_weights(plan)) text.line("unsigned low[{0}], high[{0}];", tiles);
  text.line("unsigned stage = 0, parity = 0;");
  return text.str();
}

std::string emit_wgmma_consume(const Plan& plan) {
  Text text(6);
  begin_segment(plan, text);
  text.line("#pragma unroll 1");
  text.open("for (int left = k_count; left > 0; --left) {{");
  text.line("const bool more = left > 1;");
  text.line("const unsigned next = stage == {} ? 0 : stage + 1;", plan.config.stages - 1);
  text.line("const unsigned next_parity = next == 0 ? parity ^ 1 : parity;");
  for (int batch = 0; batch < plan.wgmma().roles.commits; ++batch)
    one_commit_batch(plan, text, batch);
  text.line("previous = stage, stage = next, parity = next_parity;");
  text.close();
  text.line("warpgroup_wait<0>();");
  release_stage(plan, text, "", "previous");
  return text.str();
}

}  // namespace marlin
