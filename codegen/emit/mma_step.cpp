// Plan -> the lines of one k16 step, which all families with mma.sync share: fragments out of
// shared memory, dequantisation, products, scales. Entry points: the functions of mma_step.h.
#include "codegen/emit/mma_step.h"

namespace marlin {

namespace {

constexpr char kComponents[] = "xyzw";

}  // namespace

void MmaStep::load(Text& text, int step, std::string_view packed_at,
                   std::string_view rows_at) const {
  const int buffer = step & 1;
  for (int block = 0; block < warp.blocks64; ++block) {
    text.line("ld_shared(packed[{}][{}], {});", buffer, block,
              plus(packed_at, packed.at(step, block)));
  }
  const int swizzle = activations.swizzle_of_step(step);
  const std::string at =
      swizzle == 0 ? std::string(rows_at) : fmt::format("({} ^ {})", rows_at, swizzle);
  for (int tile = 0; tile < warp.n8_tiles; tile += 2) {
    const int offset = activations.at(tile, step);
    if (tile + 1 < warp.n8_tiles) {
      text.line("ldmatrix(activations[{}][{}], activations[{}][{}], {});", buffer, tile, buffer,
                tile + 1, plus(at, offset));
    } else {
      text.line("ldmatrix(activations[{}][{}], {});", buffer, tile, plus(at, offset));
    }
  }
}

void MmaStep::multiply(Text& text, int step) const {
  const int buffer = step & 1;
  const bool first = scales_accumulators(plan) && step % plan.scales.steps == 0;
  for (int block = 0; block < warp.blocks64; ++block) {
    for (int j = 0; j < 4; ++j) {
      text.line("dequantise(weights, packed[{}][{}].{});", buffer, block, kComponents[j]);
      if (scales_weights(plan)) {
        text.line("scale_weights(weights, scale_low[{0}][{1}], scale_high[{0}][{1}]);", block, j);
      }
      for (int tile = 0; tile < warp.n8_tiles; ++tile) {
        text.line("{}({}[{}][{}][{}], weights, activations[{}][{}]);", first ? "mma_first" : "mma",
                  scales_accumulators(plan) ? "group_sums" : "sums", block, j, tile, buffer, tile);
      }
    }
  }
}

void MmaStep::load_scales(Text& text, std::string_view scales) const {
  for (int block = 0; block < warp.blocks64; ++block) {
    text.line("ld_shared(scale_pairs[{}], {});", block, plus(scales, block * kScaleBlockBytes));
  }
}

void MmaStep::add_group(Text& text) const {
  text.line("// The group's sums, scaled, join the running sums.");
  for (int block = 0; block < warp.blocks64; ++block) {
    for (int j = 0; j < 4; ++j) {
      for (int tile = 0; tile < warp.n8_tiles; ++tile) {
        text.line(
            "add_scaled(sums[{0}][{1}][{2}], group_sums[{0}][{1}][{2}], "
            "unpack_half2(scale_pairs[{0}].{3}));",
            block, j, tile, kComponents[j]);
      }
    }
  }
}

void MmaStep::declare_registers(Text& text) const {
  text.line("uint4 packed[2][{}];", warp.blocks64);
  text.line("unsigned activations[2][{}][2];", warp.n8_tiles);
  text.line("unsigned weights[4];");
  if (plan.scales.grouped) text.line("uint4 scale_pairs[{}];", warp.blocks64);
  if (scales_weights(plan)) {
    text.line("unsigned scale_low[{0}][4], scale_high[{0}][4];", warp.blocks64);
  }
  if (scales_accumulators(plan)) {
    text.line("float group_sums[{}][4][{}][4];", warp.blocks64, warp.n8_tiles);
  }
}

}  // namespace marlin
