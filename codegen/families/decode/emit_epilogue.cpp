// Plan -> the epilogue of a decode kernel: reduce-scatter of fragments over the cluster through
// DSMEM; the reducing block adds the splits in their order and stores. Entry point:
// emit_decode_output.
#include "codegen/families/decode/emit.h"
#include "codegen/formats/elements.h"

namespace marlin {

namespace {

constexpr int kFragmentPairs = kFragmentBytes / kPairBytes;

void send_all(const Plan& plan, Text& text) {
  const DecodePlan& reduce_count = plan.decode();
  for (int i = 0; i < reduce_count.reduction.fragments; ++i) {
    const auto [block64, columns16, n8_tile] = reduce_count.warp.fragment(i);
    const int rank = reduce_count.reduction.reducer_of(i);
    const std::string to =
        plus("sums_to",
             reduce_count.shared.fragment_at(i - reduce_count.reduction.reducers[rank].first));
    const std::string sums = fmt::format("sums[{}][{}][{}]", block64, columns16, n8_tile);
    if (plan.launch.cluster > 1) {
      text.line("cluster_reduce_send({}, {}, reduce_barrier, {}, 0);", to, rank, sums);
    } else {
      text.line("stage_fragment({}, {});", to, sums);
    }
  }
}

// The block's pairs from `first` on, one a thread: where its sums are and where they go.
void pair_index(const Plan& plan, Text& text, int first) {
  const int tiles = plan.decode().warp.n8_tiles;
  text.line("const unsigned pair = {};", plus("threadIdx.x", first));
  text.line("const unsigned fragment = pair / {}, source_lane = pair / 2 & 31, half = pair & 1;",
            kFragmentPairs);
  std::string index = "fragment";
  if (plan.config.warps_n > 1) {
    text.line("const unsigned column_warp = fragment / {0}, reduced_fragment = fragment % {0};",
              plan.decode().reduction.most);
    index = "reduced_fragment";
  }
  text.line("const unsigned index = {};",
            plan.launch.cluster > 1 ? "reduce_first + " + index : index);
  text.line("const unsigned out_column = {} + half * 8 + source_lane / 4;",
            Sum(fmt::format("{} * 16", tiles > 1 ? fmt::format("index / {}", tiles) : "index"))
                .near(decode_n_tile(plan), plan.config.tile_n)
                .near(plan.config.warps_n > 1 ? "column_warp" : "0", plan.decode().warp.columns)
                .str());
  text.line("const bool odd_column = out_column & 1;");
  text.line("const unsigned token = {}(source_lane & 3) * 2 + odd_column;",
            tiles > 1 ? fmt::format("index % {} * 8 + ", tiles) : "");
}

// Whether this block reduces a thread's pair: it may have fewer fragments than others.
std::string reduced(const Plan& plan) {
  return plan.config.warps_n > 1 ? "reduced_fragment < reduce_count" : "fragment < reduce_count";
}

// "if (...) ", or "" where every thread's pair is one of this block's and of the matrix.
std::string inside(const Plan& plan) {
  std::string all;
  const auto require = [&](const std::string& condition) {
    all += (all.empty() ? "" : " && ") + condition;
  };
  if (reduces_unevenly(plan)) require(reduced(plan));
  if (plan.tiles.guard_rows) {
    require("token < m");
  } else if (plan.tiles.rows % 8 != 0) {
    require(fmt::format("token < {}", plan.tiles.rows));
  }
  return all.empty() ? all : fmt::format("if ({}) ", all);
}

void store_pairs(const Plan& plan, Text& text, int first) {
  const DecodePlan& reduce_count = plan.decode();
  if (first + plan.launch.threads > plan.decode().reduction.pairs) {
    text.open("if (threadIdx.x < {}) {{  // whole warps", plan.decode().reduction.pairs - first);
  } else {
    text.open("{{");
  }
  pair_index(plan, text, first);
  text.line("float2 sum = load_float2({});",
            plus("pairs_at", reduce_count.shared.pair_at(0, first)));
  for (int split = 1; split < plan.decode().splits.count; ++split) {
    text.line("add_float2(sum, load_float2({}));",
              plus("pairs_at", reduce_count.shared.pair_at(split, first)));
  }
  if (!plan.scales.grouped) {
    const bool uneven = reduces_unevenly(plan);
    text.line("const float scale = {}channel_scale_of(scales, out_column){};",
              uneven ? reduced(plan) + " ? " : "", uneven ? " : 0" : "");
    text.line("sum.x *= scale;");
    text.line("sum.y *= scale;");
  }
  text.line("const unsigned both = shuffle_half2(sum, odd_column);");
  text.line("char* to = c + token * {}ll + (out_column & ~1u) * 2ll;", plan.global.output.row);
  text.line("{}*reinterpret_cast<unsigned*>(to) = both;", inside(plan));
  text.close();
}

}  // namespace

std::string emit_decode_output(const Plan& plan) {
  Text text(2);
  text.line("const unsigned sums_to = {};",
            Sum("shared")
                .named("kReceived")
                .near("split", plan.decode().shared.received_split)
                .near(plan.decode().private_rings ? "0" : "warp_n",
                      plan.decode().shared.fragment_at(plan.decode().reduction.most))
                .near("lane", 16)
                .str());
  if (plan.launch.cluster > 1)
    text.line("cluster_wait();  // The mbarriers of all blocks are initialised.");
  if (plan.decode().reduction.row_lanes < 4) {
    text.open("if ((lane & 3) < {}) {{", plan.decode().reduction.row_lanes);
    send_all(plan, text);
    text.close();
  } else {
    send_all(plan, text);
  }
  if (plan.launch.cluster > 1) {
    text.line("cluster_reduce_wait(reduce_barrier);");
    text.line("__syncwarp();");
  } else {
    text.line("__syncthreads();");
  }
  text.line("const unsigned pairs_at = shared + kReceived + threadIdx.x * 8;");
  for (int first = 0; first < plan.decode().reduction.pairs; first += plan.launch.threads)
    store_pairs(plan, text, first);
  return text.str();
}

}  // namespace marlin
