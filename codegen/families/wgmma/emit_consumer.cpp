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

bool whole_stage(const Plan& plan) { return plan.config.wgmma().whole_stage; }
bool two_sets(const Plan& plan) { return plan.config.wgmma().sum_sets == 2; }

// "sums" or, of a set of them, "sums[1]"; the same for their scales.
std::string of_set(const Plan& plan, std::string_view name, int set) {
  return two_sets(plan) ? fmt::format("{}[{}]", name, set) : std::string(name);
}

// The fragments of a step of a commit batch.
std::string fragments_of(const Plan& plan, int batch, int i, int m) {
  return fmt::format("fragments[{}][{}][{}]", whole_stage(plan) ? batch : batch & 1, i, m);
}

// The scales of a stage's groups, all at once.
void load_scales_of(const Plan& plan, Text& text, std::string_view stage, int set = 0) {
  for (int group = 0; group < plan.scales.rows; ++group) {
    text.line("ld_shared({}[{}], {});", of_set(plan, "scale_pairs", set), group,
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
      const std::string to = fragments_of(plan, batch, i, m);
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

void issue(const Plan& plan, Text& text, int batch, int set) {
  text.line("warpgroup_arrive();");
  for (int i = 0; i < plan.config.wgmma().k_steps_per_commit; ++i) {
    const int step = first_step(plan, batch) + i;

    for (int m = 0; m < plan.wgmma().roles.m64_tiles; ++m) {
      text.line(
          "wgmma({}[{}], {}, {}, {});", of_set(plan, "sums", set), m,
          fragments_of(plan, batch, i, m),
          plus(fmt::format("activation_tile + stage * {}", plan.wgmma().stage.descriptor_stage()),
               plan.wgmma().stage.descriptor_at(step)),
          adds(plan, step));
    }
  }
  text.line("warpgroup_commit();");
}

// A group's sums, which no product adds to any more, to those of all of K.
void add_group(const Plan& plan, Text& text, int group, int set) {
  for (int m = 0; m < plan.wgmma().roles.m64_tiles; ++m) {
    text.line("add_scaled(totals[{0}], {1}[{0}], unpack_half2({2}[{3}][{0}]));", m,
              of_set(plan, "sums", set), of_set(plan, "scale_pairs", set), group);
  }
}

// The batch of a stage after whose wait no product of the stage before runs.
int settled_batch(const Plan& plan) { return whole_stage(plan) && two_sets(plan) ? 1 : 0; }

// Waits until those products are done whose fragments the next lines make anew, and in the settled
// batch those of the stage before.
void wait_behind(const Plan& plan, Text& text, int batch) {
  const int last = plan.wgmma().roles.commits - 1;
  if (!whole_stage(plan) || (two_sets(plan) && batch == settled_batch(plan))) {
    text.line("warpgroup_wait<1>();");
  } else if (batch == (two_sets(plan) ? 0 : last)) {
    // The first of the stage before, which has not been waited for yet; or of this one.
    text.line("warpgroup_wait<{}>();", last);
  }
}

void load_next_stage(const Plan& plan, Text& text) {
  text.line("mbarrier_wait_parity(full + next * 8, next_parity);");
  load_stage(plan, text, "next");
}

// The fragments of the batch after this one; those of the stage's last one leave room for the next
// stage's packed weights.
void make_next_fragments(const Plan& plan, Text& text, int batch) {
  const int last = plan.wgmma().roles.commits - 1;
  const bool late = plan.config.wgmma().late_packed;
  if (batch < last) {
    make_fragments(plan, text, batch + 1);
  } else {
    text.open("if (more) {{");
    if (late) load_next_stage(plan, text);
    make_fragments(plan, text, 0);
    text.close();
  }
  if (batch == last - 1 && !late) {
    text.open("if (more) {{");
    load_next_stage(plan, text);
    text.close();
  }
}

// While a commit batch's products run, the fragments of the next one are made.
void one_commit_batch(const Plan& plan, Text& text, int batch, int set) {
  text.line("// Commit batch {} of {}.", batch + 1, plan.wgmma().roles.commits);
  if (batch == 0 && scales_accumulators(plan)) load_scales_of(plan, text, "stage", set);
  issue(plan, text, batch, set);
  wait_behind(plan, text, batch);
  const bool settled = batch == settled_batch(plan);
  if (settled && !two_sets(plan)) release_stage(plan, text, "left < k_count && ", "previous");
  make_next_fragments(plan, text, batch);
  if (two_sets(plan)) {
    if (!settled) return;
    // Its scales are read by now, too, so that the stage can be filled again.
    add_group(plan, text, 0, set ^ 1);
    return release_stage(plan, text, "left < k_count && ", "previous");
  }
  const int done = first_step(plan, batch + 1);
  if (!scales_accumulators(plan) || done % plan.scales.steps != 0) return;
  text.line("warpgroup_wait<0>();");
  add_group(plan, text, done / plan.scales.steps - 1, set);
}

// The products of one stage.
void one_stage(const Plan& plan, Text& text, int set) {
  text.line("const bool more = left > 1;");
  text.line("const unsigned next = stage == {} ? 0 : stage + 1;", plan.config.stages - 1);
  text.line("const unsigned next_parity = next == 0 ? parity ^ 1 : parity;");
  for (int batch = 0; batch < plan.wgmma().roles.commits; ++batch) {
    one_commit_batch(plan, text, batch, set);
  }
  text.line("previous = stage, stage = next, parity = next_parity;");
}

// Two stages, each with sums of its own. Those of the second are complete at the loop's end: across
// it ptxas would run the products one by one.
void two_stages(const Plan& plan, Text& text) {
  text.open("{{");
  one_stage(plan, text, 0);
  text.close();
  text.open("if (--left == 0) {{");
  text.line("warpgroup_wait<0>();");
  add_group(plan, text, 0, 0);
  text.line("break;");
  text.close();
  one_stage(plan, text, 1);
  text.line("warpgroup_wait<0>();");
}

void begin_segment(const Plan& plan, Text& text) {
  text.line("mbarrier_wait_parity(full + stage * 8, parity);");
  load_stage(plan, text, "stage");
  make_fragments(plan, text, 0);
  if (scales_accumulators(plan)) {
    for (int m = 0; m < plan.wgmma().roles.m64_tiles; ++m) text.line("clear(totals[{}]);", m);
  }
  if (two_sets(plan)) {
    text.line("// The first stage has none before it, whose sums are added beside its products.");
    for (int m = 0; m < plan.wgmma().roles.m64_tiles; ++m) {
      text.line("clear(sums[1][{}]);", m);
      text.line("scale_pairs[1][0][{}] = 0;", m);
    }
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
  const int blocks = plan.wgmma().stage.packed_blocks();
  const std::string block = plan.wgmma().stage.packed_boxes == 1
                                ? std::string("block * 512")
                                : fmt::format("block / {0} * {1} + block % {0} * 512", blocks,
                                              plan.wgmma().stage.packed_box);
  text.line("const unsigned packed_at = shared + kPacked + {} + lane * 16 + fragment * 4;", block);
  if (plan.scales.grouped) {
    text.line(
        "const unsigned scales_at = shared + kScales + block * 128 + lane / 4 * 16 + fragment * "
        "4;");
  }
  text.line(
      "const unsigned long long activation_tile = activation_descriptor(shared + kActivations);");
  const std::string sets = two_sets(plan) ? "[2]" : "";
  text.line("float sums{}[{}][{}];  // {}[m64 tile][fragment of 8 tokens x 4]", sets, tiles,
            plan.wgmma().roles.accumulators, two_sets(plan) ? "[stage & 1]" : "");
  if (scales_accumulators(plan))
    text.line("float totals[{}][{}];", tiles, plan.wgmma().roles.accumulators);
  text.line("unsigned fragments[{}][{}][{}][4], packed[{}][{}];",
            whole_stage(plan) ? plan.tiles.k_steps : 2, plan.config.wgmma().k_steps_per_commit,
            tiles, plan.tiles.k_steps, tiles);
  if (plan.scales.grouped) {
    text.line("unsigned scale_pairs{}[{}][{}];", sets, plan.scales.rows, tiles);
  }
  if (scales_weights(plan)) text.line("unsigned low[{0}], high[{0}];", tiles);
  text.line("unsigned stage = 0, parity = 0;");
  return text.str();
}

std::string emit_wgmma_consume(const Plan& plan) {
  Text text(6);
  begin_segment(plan, text);
  text.line("#pragma unroll 1");
  text.open("for (int left = k_count; left > 0; --left) {{");
  if (two_sets(plan)) {
    two_stages(plan, text);
  } else {
    one_stage(plan, text, 0);
  }
  text.close();
  if (two_sets(plan)) {
    text.line("// The last stage's, where it was a second one.");
    text.open("if (k_count % 2 == 0) {{");
    add_group(plan, text, 0, 1);
    text.close();
  }
  text.line("warpgroup_wait<0>();");
  release_stage(plan, text, "", "previous");
  return text.str();
}

}  // namespace marlin
