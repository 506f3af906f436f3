// Plan -> the way of a decode kernel's sums out: every warp sends each fragment to the block that
// owns it, which adds the parts in their order and stores. Entry point: emit_decode_output.
#include "codegen/emit.h"
#include "codegen/emit_decode.h"

namespace marlin {

namespace {

constexpr int kFragmentBytes = 512, kFragmentValues = 128;

int owner_of(const Plan& plan, int fragment) {
  int rank = 0;
  while (fragment >= plan.owners[rank].first + plan.owners[rank].count) ++rank;
  return rank;
}

void send_all(const Plan& plan, Text& text) {
  for (int fragment = 0; fragment < plan.fragments; ++fragment) {
    const int tile = fragment % plan.token_tiles, j = fragment / plan.token_tiles % 4,
              block = fragment / plan.token_tiles / 4;
    const int rank = owner_of(plan, fragment);
    const std::string to = plus("sums_to", (fragment - plan.owners[rank].first) * kFragmentBytes);
    const std::string sums = fmt::format("sums[{}][{}][{}]", block, j, tile);
    if (plan.cluster > 1) {
      text.line("send_sums({}, {}, received, {});", to, rank, sums);
    } else {
      text.line("keep_sums({}, {});", to, sums);
    }
  }
}

// What the thread of this value stores, if anything; `pass` values of a block's threads before it.
void store_values(const Plan& plan, Text& text, int pass) {
  const int values = plan.config.warps_n * plan.most_owned * kFragmentValues;
  text.open("{{");
  text.line("const unsigned value = {};", plus("threadIdx.x", pass * plan.threads));
  text.line("const unsigned fragment = value / {}, quad = value / 4 & 31, i = value & 3;",
            kFragmentValues);
  std::string inside;
  const auto require = [&](std::string_view condition) {
    inside += fmt::format("{}{}", inside.empty() ? "" : " && ", condition);
  };
  const bool many = plan.config.warps_n > 1;
  if (many) {
    text.line("const unsigned column_warp = fragment / {0}, own_fragment = fragment % {0};",
              plan.most_owned);
  }
  const std::string mine = many ? "own_fragment" : "fragment";
  if ((pass + 1) * plan.threads > values) require(fmt::format("value < {}", values));
  for (const Owner& owner : plan.owners) {
    if (owner.count < plan.most_owned) {
      require(fmt::format("{} < own", mine));
      break;
    }
  }
  text.line("const unsigned place = {};",
            plan.cluster > 1 ? fmt::format("first_own + {}", mine) : mine);
  const int tiles = plan.token_tiles;
  text.line("const unsigned token = {}(quad & 3) * 2 + (i & 1);",
            tiles > 1 ? fmt::format("place % {} * 8 + ", tiles) : "");
  const std::string sixteen = tiles > 1 ? fmt::format("place / {}", tiles) : "place";
  text.line("const unsigned out_column = {} + {} * 16 + quad / 4 + (i / 2) * 8;",
            Sum(fmt::format("{} * {}", decode_slice(plan), plan.config.tile_n))
                .near(many ? "column_warp" : "0", plan.warp_columns)
                .str(),
            sixteen);
  if (plan.guard_rows) {
    require("token < m");
  } else if (plan.rows % 8 != 0) {
    require(fmt::format("token < {}", plan.rows));
  }
  text.open("if ({}) {{", inside.empty() ? "true" : inside);
  text.line("float sum = load_sum({});", plus("values_at", pass * plan.threads * 4));
  for (int part = 1; part < plan.parts; ++part) {
    text.line("sum += load_sum({});",
              plus("values_at", part * plan.receive_part + pass * plan.threads * 4));
  }
  if (!plan.group_scales) text.line("sum *= channel_scale_of(scales, out_column);");
  text.line("store_value(c + token * {}ll + out_column * 2ll, sum);", plan.output_row);
  text.close();
  text.close();
}

}  // namespace

std::string emit_decode_output(const Plan& plan) {
  Text text(2);
  text.line("const unsigned sums_to = {};",
            Sum("shared")
                .constant(plan.receive_offset)
                .near("part", plan.receive_part)
                .near(plan.private_rings ? "0" : "warp_n", plan.most_owned * kFragmentBytes)
                .near("lane", 16)
                .str());
  if (plan.cluster > 1) text.line("wait_for_cluster();  // Its barriers are there.");
  if (plan.quad_lanes < 4) {
    text.open("if ((lane & 3) < {}) {{", plan.quad_lanes);
    send_all(plan, text);
    text.close();
  } else {
    send_all(plan, text);
  }
  text.line("{}", plan.cluster > 1 ? "wait_for_sums(received);" : "__syncthreads();");
  text.line("const unsigned values_at = shared + {} + threadIdx.x * 4;", plan.receive_offset);
  const int values = plan.config.warps_n * plan.most_owned * kFragmentValues;
  for (int pass = 0; pass * plan.threads < values; ++pass) store_values(plan, text, pass);
  return text.str();
}

}  // namespace marlin
