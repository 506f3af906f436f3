// Plan -> the lines of one k16 step, which all families with mma.sync share: fragments out of
// shared memory, dequantisation, products, scales. Entry points: the functions of mma_step.h.
#include "codegen/emit/mma_step.h"

namespace marlin {

namespace {

constexpr char kComponents[] = "xyzw";

}  // namespace

void load_step(const Plan& plan, Text& text, int step, std::string_view words,
               std::string_view tokens) {
  const int buffer = step & 1;
  for (int block = 0; block < plan.blocks64; ++block) {
    text.line("load_words(words[{}][{}], {});", buffer, block,
              plus(words, step * plan.weights_unit_row + block * 512));
  }
  const int twist = step * 32 & 127, line = step * 32 / 128 * plan.tokens_line;
  const std::string at = twist == 0 ? std::string(tokens) : fmt::format("({} ^ {})", tokens, twist);
  for (int tile = 0; tile < plan.token_tiles; tile += 2) {
    const int offset = tile * 8 * plan.tokens_pitch + line;
    if (tile + 1 < plan.token_tiles) {
      text.line("load_tokens(tokens[{}][{}], tokens[{}][{}], {});", buffer, tile, buffer, tile + 1,
                plus(at, offset));
    } else {
      text.line("load_tokens(tokens[{}][{}], {});", buffer, tile, plus(at, offset));
    }
  }
}

void multiply_step(const Plan& plan, Text& text, int step, int group_steps) {
  const int buffer = step & 1;
  const bool first = scales_accumulators(plan) && step % group_steps == 0;
  for (int block = 0; block < plan.blocks64; ++block) {
    for (int j = 0; j < 4; ++j) {
      text.line("dequantise(weights, words[{}][{}].{});", buffer, block, kComponents[j]);
      if (scales_weights(plan)) {
        text.line("scale_weights(weights, scale_low[{0}][{1}], scale_high[{0}][{1}]);", block, j);
      }
      for (int tile = 0; tile < plan.token_tiles; ++tile) {
        text.line("{}({}[{}][{}][{}], weights, tokens[{}][{}]);", first ? "mma_first" : "mma",
                  scales_accumulators(plan) ? "group_sums" : "sums", block, j, tile, buffer, tile);
      }
    }
  }
}

void load_scales(const Plan& plan, Text& text, std::string_view scales) {
  for (int block = 0; block < plan.blocks64; ++block) {
    text.line("load_words(scale_pairs[{}], {});", block, plus(scales, block * 128));
  }
}

void add_group(const Plan& plan, Text& text) {
  text.line("// The group's sums, scaled, join the running sums.");
  for (int block = 0; block < plan.blocks64; ++block) {
    for (int j = 0; j < 4; ++j) {
      for (int tile = 0; tile < plan.token_tiles; ++tile) {
        text.line(
            "add_scaled(sums[{0}][{1}][{2}], group_sums[{0}][{1}][{2}], "
            "widen(scale_pairs[{0}].{3}));",
            block, j, tile, kComponents[j]);
      }
    }
  }
}

void declare_registers(const Plan& plan, Text& text) {
  text.line("uint4 words[2][{}];", plan.blocks64);
  text.line("unsigned tokens[2][{}][2];", plan.token_tiles);
  text.line("unsigned weights[4];");
  if (plan.group_scales) text.line("uint4 scale_pairs[{}];", plan.blocks64);
  if (scales_weights(plan)) {
    text.line("unsigned scale_low[{0}][4], scale_high[{0}][4];", plan.blocks64);
  }
  if (scales_accumulators(plan)) {
    text.line("float group_sums[{}][4][{}][4];", plan.blocks64, plan.token_tiles);
  }
}

}  // namespace marlin
