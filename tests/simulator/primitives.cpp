// Calls of device primitives -> their effect on registers and memories.
// Entry point: Fiber::primitives.
#include <fmt/format.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "tests/reference/model.h"
#include "tests/simulator/fiber.h"
#include "tests/simulator/halves.h"

namespace marlin::simulator {

const std::unordered_map<std::string, Fiber::Primitive>& Fiber::primitives() {
  static const std::unordered_map<std::string, Primitive> table = {
      {"shared_address", &Fiber::shared_address},
      {"min", &Fiber::minimum},
      {"max", &Fiber::maximum},
      {"cp_async16", &Fiber::cp_async16},
      {"cp_async_commit", &Fiber::cp_async_commit},
      {"cp_async_wait", &Fiber::cp_async_wait},
      {"__syncwarp", &Fiber::sync_warp},
      {"__syncthreads", &Fiber::sync_threads},
      {"ld_shared", &Fiber::ld_shared},
      {"ldmatrix", &Fiber::ldmatrix},
      {"dequantise", &Fiber::dequantise},
      {"scale_weights", &Fiber::scale_weights},
      {"spread_scales", &Fiber::spread_scales},
      {"mma", &Fiber::mma},
      {"mma_first", &Fiber::mma},
      {"unpack_half2", &Fiber::unpack_half2},
      {"add_scaled", &Fiber::add_scaled},
      {"clear", &Fiber::clear},
      {"stage_sums", &Fiber::stage_sums},
      {"load_float4", &Fiber::load_float4},
      {"add_float4", &Fiber::add_float4},
      {"scale_float4", &Fiber::scale_float4},
      {"store_half4", &Fiber::store_half4},
      {"store_partial", &Fiber::store_partial},
      {"load_partial", &Fiber::load_partial},
      {"channel_scales_of", &Fiber::channel_scales_of},
      {"is_last_arriver", &Fiber::is_last_arriver},
      {"launch_dependents", &Fiber::launch_dependents},
      {"wait_for_previous", &Fiber::wait_for_previous},
      {"ld_global_cg", &Fiber::ld_global_cg},
      {"st_shared", &Fiber::st_shared},
      {"named_barrier_sync", &Fiber::named_barrier_sync},
      {"cluster_reduce_expect", &Fiber::cluster_reduce_expect},
      {"cluster_arrive_relaxed", &Fiber::cluster_arrive_relaxed},
      {"cluster_wait", &Fiber::cluster_wait},
      {"cluster_reduce_send", &Fiber::cluster_reduce_send},
      {"cluster_reduce_wait", &Fiber::cluster_reduce_wait},
      {"stage_fragment", &Fiber::stage_fragment},
      {"load_float2", &Fiber::load_float2},
      {"add_float2", &Fiber::add_float2},
      {"shuffle_half2", &Fiber::shuffle_half2},
      {"channel_scale_of", &Fiber::channel_scale_of},
      {"mbarrier_init", &Fiber::mbarrier_init},
      {"fence_mbarrier_init", &Fiber::fence_mbarrier_init},
      {"named_barrier_arrive", &Fiber::named_barrier_arrive},
      {"mbarrier_arrive_expect_tx", &Fiber::mbarrier_arrive_expect_tx},
      {"mbarrier_arrive", &Fiber::mbarrier_arrive},
      {"mbarrier_arrive_cluster", &Fiber::mbarrier_arrive_cluster},
      {"mbarrier_wait_parity", &Fiber::mbarrier_wait_parity},
      {"cluster_sync", &Fiber::cluster_sync},
      {"prefetch_tensormap", &Fiber::prefetch_tensormap},
      {"tma_load_2d", &Fiber::tma_load_2d},
      {"tma_load_2d_multicast", &Fiber::tma_load_2d_multicast},
      {"bulk_copy", &Fiber::bulk_copy},
      {"fence_proxy_async", &Fiber::fence_proxy_async},
      {"tma_store_2d", &Fiber::tma_store_2d},
      {"tma_store_commit", &Fiber::tma_store_commit},
      {"tma_store_wait", &Fiber::tma_store_wait},
      {"fixup_signal", &Fiber::fixup_signal},
      {"fixup_wait", &Fiber::fixup_wait},
      {"__shfl_sync", &Fiber::first_lane},
      {"warpgroup_reg_alloc", &Fiber::set_registers},
      {"warpgroup_reg_dealloc", &Fiber::set_registers},
      {"warpgroup_arrive", &Fiber::warpgroup_arrive},
      {"warpgroup_commit", &Fiber::warpgroup_commit},
      {"warpgroup_wait", &Fiber::warpgroup_wait},
      {"activation_descriptor", &Fiber::activation_descriptor},
      {"wgmma", &Fiber::wgmma},
      {"scale_sums", &Fiber::scale_sums},
      {"stmatrix_trans", &Fiber::stmatrix_trans},
      {"load_accumulators", &Fiber::load_accumulators},
      {"add_accumulators", &Fiber::add_accumulators},
      {"fixup_store", &Fiber::fixup_store},
      {"reduce_scatter_store", &Fiber::reduce_scatter_store},
      {"tile_barrier_wait", &Fiber::tile_barrier_wait},
      {"tile_barrier_reset", &Fiber::tile_barrier_reset},
      {"reduce_scatter_add", &Fiber::reduce_scatter_add},
  };
  return table;
}

// ---- What the primitives share.

Buffer& Fiber::buffer_at(std::int64_t address) const {
  for (Buffer* buffer :
       {arguments_.a, arguments_.b, arguments_.scales, arguments_.c, arguments_.workspace}) {
    if (buffer->holds(address)) return *buffer;
  }
  throw std::runtime_error("an address outside every array");
}

void Fiber::count(const std::string& primitive, const std::vector<std::int64_t>& addresses,
                  int width) {
  std::vector<std::uint32_t> lanes(32);
  std::vector<bool> active(32);
  for (int warp = 0; warp < threads_ / 32; ++warp) {
    for (int lane = 0; lane < 32; ++lane) {
      lanes[lane] = static_cast<std::uint32_t>(addresses[32 * warp + lane]);
      active[lane] = active_[32 * warp + lane];
      if (active[lane])
        block_.shared.require_aligned(lanes[lane], static_cast<std::uint32_t>(width));
    }
    count_banks(banks_[primitive], lanes, active, width);
  }
}

void Fiber::require_whole_warps() const {
  for (int t = 0; t < threads_; ++t) {
    if (active_[t] != active_[t / 32 * 32]) fail("half a warp at a warp-wide instruction");
  }
}

void Fiber::require_all() const {
  for (int t = 0; t < threads_; ++t) {
    if (!active_[t]) fail("a block barrier that not all threads reach");
  }
}

Value Fiber::shared_address(const Node& call) {
  Value value = evaluate(call.kids[0]);
  for (std::int64_t& slot : value.slots) slot = static_cast<std::uint32_t>(slot);
  value.type = Type::unsigned_integer;
  return value;
}

Value Fiber::smaller(const Node& call, bool larger) {
  const Value left = evaluate(call.kids[0]), right = evaluate(call.kids[1]);
  const Value is_less = arithmetic("<", left, right);
  Value result = arithmetic("+", left, constant(right.type, 0));  // of the type of both
  for (int t = 0; t < threads_; ++t) {
    if ((is_less.slots[t] != 0) == larger) result.slots[t] = right.slots[t];
  }
  return result;
}
Value Fiber::minimum(const Node& call) { return smaller(call, false); }
Value Fiber::maximum(const Node& call) { return smaller(call, true); }

// ---- Copies and barriers.

Value Fiber::cp_async16(const Node& call) {
  const Value to = evaluate(call.kids[0]), from = evaluate(call.kids[1]);
  count("cp_async16", to.slots, 16);
  for (int t = 0; t < threads_; ++t) {
    if (!active_[t]) continue;
    const auto address = static_cast<std::uint32_t>(to.slots[t]);
    block_.shared.start_copy(id(t), address);
    Buffer& buffer = buffer_at(from.slots[t]);
    require_done(buffer, t);
    stages_[t].back().push_back({address, buffer.read(from.slots[t], 16)});
  }
  return {};
}

Value Fiber::cp_async_commit(const Node&) {
  for (int t = 0; t < threads_; ++t) {
    if (active_[t]) stages_[t].emplace_back();
  }
  return {};
}

Value Fiber::cp_async_wait(const Node& call) {
  const auto pending = static_cast<std::size_t>(call.numbers[0]);
  for (int t = 0; t < threads_; ++t) {
    if (!active_[t]) continue;
    if (!stages_[t].back().empty()) fail("a wait with copies in no closed stage");
    while (stages_[t].size() > pending + 1) {
      for (const Copy& copy : stages_[t].front())
        block_.shared.land_copy(id(t), copy.to, copy.from);
      stages_[t].pop_front();
    }
  }
  return {};
}

Value Fiber::sync_warp(const Node&) {
  require_whole_warps();
  for (int warp = 0; warp < threads_ / 32; ++warp) {
    if (active_[32 * warp]) block_.shared.warp_barrier(first_thread_ / 32 + warp);
  }
  return {};
}

Value Fiber::sync_threads(const Node&) {
  require_all();
  Meeting& whole = block_.whole;
  const int mine = whole.arrive();
  if (whole.generation != mine) block_.shared.meet(0, launch_.threads / 32);
  scheduler_.wait_until([&] { return whole.generation != mine; },
                        [] { return "a block barrier that not all threads reach"; });
  return {};
}

// ---- Fragments.

Value Fiber::ld_shared(const Node& call) {
  const Place words = place(call.kids[0]);
  const Value from = evaluate(call.kids[1]);
  const auto width = static_cast<std::uint32_t>(extent(words));
  count(fmt::format("ld_shared of {}", width), from.slots, static_cast<int>(4 * width));
  for (int t = 0; t < threads_; ++t) {
    for (std::uint32_t i = 0; active_[t] && i < width; ++i) {
      slot(words, i, t) =
          block_.shared.load(id(t), static_cast<std::uint32_t>(from.slots[t]) + 4 * i);
    }
  }
  return {};
}

// ldmatrix: matrix i takes its eight rows of sixteen bytes from lanes 8 i .. 8 i + 7, and lane l
// gets word l % 4 of row l / 4.
Value Fiber::ldmatrix(const Node& call) {
  require_whole_warps();
  const std::size_t tiles = call.kids.size() - 1;
  const Value from = evaluate(call.kids.back());
  for (std::size_t matrix = 0; matrix < 2 * tiles; ++matrix) {
    const Place tile = place(call.kids[matrix / 2]);
    for (int warp = 0; warp < threads_ / 32; ++warp) {
      if (!active_[32 * warp]) continue;
      std::vector<std::uint32_t> rows(32);
      std::vector<bool> first_n8(32);
      for (std::size_t row = 0; row < 8; ++row) {
        rows[row] = static_cast<std::uint32_t>(from.slots[32 * warp + 8 * matrix + row]);
        first_n8[row] = true;
        block_.shared.require_aligned(rows[row], 16);
      }
      count_banks(banks_["ldmatrix"], rows, first_n8, 16);
      for (int lane = 0; lane < 32; ++lane) {
        const int t = 32 * warp + lane;
        slot(tile, matrix % 2, t) = block_.shared.load(id(t), rows[lane / 4] + lane % 4 * 4);
      }
    }
  }
  return {};
}

// Nibbles 0, 4 | 2, 6 | 1, 5 | 3, 7 of the word as four pairs, minus 8.
Value Fiber::dequantise(const Node& call) {
  const Place weights = place(call.kids[0]);
  const Value word = evaluate(call.kids[1]);
  static constexpr std::array kLow = {0, 2, 1, 3};
  for (int t = 0; t < threads_; ++t) {
    for (std::size_t i = 0; active_[t] && i < kLow.size(); ++i) {
      const auto code = [&](int nibble) { return double(word.slots[t] >> (4 * nibble) & 15) - 8; };
      slot(weights, i, t) = pair_of(code(kLow[i]), code(kLow[i] + 4));
    }
  }
  return {};
}

Value Fiber::scale_weights(const Node& call) {
  const Place weights = place(call.kids[0]);
  const Value scales[2] = {evaluate(call.kids[1]), evaluate(call.kids[2])};
  for (int t = 0; t < threads_; ++t) {
    for (std::size_t i = 0; active_[t] && i < 4; ++i) {
      std::int64_t& pair = slot(weights, i, t);
      const std::int64_t scale = scales[i % 2].slots[t];
      pair = pair_of(double(low_half(pair)) * low_half(scale),
                     double(high_half(pair)) * high_half(scale));
    }
  }
  return {};
}

Value Fiber::spread_scales(const Node& call) {
  const Place low = place(call.kids[0]), high = place(call.kids[1]);
  const Value pair = evaluate(call.kids[2]);
  for (int t = 0; t < threads_; ++t) {
    if (!active_[t]) continue;
    slot(low, 0, t) = (pair.slots[t] & 0xffff) * 0x10001;
    slot(high, 0, t) = (pair.slots[t] >> 16) * 0x10001;
  }
  return {};
}

// mma.m16n8k16, "row.col": lane 4 g + t holds A rows g, g + 8 at k = 2 t + {0, 1}, then both at k +
// 8; B column g at k = 2 t + {0, 1}, then k + 8; D rows g, then g + 8 at columns 2 t + {0, 1}.
Value Fiber::mma(const Node& call) {
  require_whole_warps();
  const Place d = place(call.kids[0]), a = place(call.kids[1]), b = place(call.kids[2]);
  const bool first = call.text == "mma_first";
  for (int warp = 0; warp < threads_ / 32; ++warp) {
    if (!active_[32 * warp]) continue;
    float rows[16][16], columns[8][16];
    for (int lane = 0; lane < 32; ++lane) {
      const int thread = 32 * warp + lane, g = lane / 4, k = lane % 4 * 2;
      for (int i = 0; i < 4; ++i) {
        rows[g + i % 2 * 8][k + i / 2 * 8] = low_half(slot(a, i, thread));
        rows[g + i % 2 * 8][k + i / 2 * 8 + 1] = high_half(slot(a, i, thread));
      }
      for (int i = 0; i < 2; ++i) {
        columns[g][k + i * 8] = low_half(slot(b, i, thread));
        columns[g][k + i * 8 + 1] = high_half(slot(b, i, thread));
      }
    }
    for (int lane = 0; lane < 32; ++lane) {
      for (int i = 0; i < 4; ++i) {
        std::int64_t& sum = slot(d, i, 32 * warp + lane);
        double total = first ? 0.0 : double(real(sum));
        const float *row = rows[lane / 4 + i / 2 * 8], *column = columns[lane % 4 * 2 + i % 2];
        for (int k = 0; k < 16; ++k) total += double(row[k]) * double(column[k]);
        sum = bits(static_cast<float>(total));
      }
    }
  }
  return {};
}

Value Fiber::unpack_half2(const Node& call) {
  const Value pair = evaluate(call.kids[0]);
  Value wide{Type::float2, std::vector<std::int64_t>(2 * threads_)};
  for (int t = 0; t < threads_; ++t) {
    wide.slots[t] = bits(low_half(pair.slots[t]));
    wide.slots[threads_ + t] = bits(high_half(pair.slots[t]));
  }
  return wide;
}

Value Fiber::add_scaled(const Node& call) {
  const Place sums = place(call.kids[0]), group = place(call.kids[1]);
  const Value scales = evaluate(call.kids[2]);
  for (int t = 0; t < threads_; ++t) {
    for (std::size_t i = 0; active_[t] && i < extent(sums); ++i) {
      const float scale = real(scales.slots[i / 2 % 2 * threads_ + t]);
      slot(sums, i, t) = bits(std::fma(scale, real(slot(group, i, t)), real(slot(sums, i, t))));
    }
  }
  return {};
}

Value Fiber::clear(const Node& call) {
  const Place cleared = place(call.kids[0]);
  for (std::size_t i = 0; i < extent(cleared); ++i) {
    for (int t = 0; t < threads_; ++t) {
      if (active_[t]) slot(cleared, i, t) = 0;
    }
  }
  return {};
}

// ---- Sums on their way out.

Value Fiber::stage_sums(const Node& call) {
  const auto pitch = static_cast<std::uint32_t>(call.numbers[0]);
  const Value to = evaluate(call.kids[0]);
  const Place sums = place(call.kids[1]);
  for (std::uint32_t i = 0; i < 4; ++i) {
    Value address = to;
    for (std::int64_t& slot : address.slots) slot += i % 2 * pitch + i / 2 * 32;
    count("stage_sums", address.slots, 4);
    for (int t = 0; t < threads_; ++t) {
      if (!active_[t]) continue;
      block_.shared.store(id(t), static_cast<std::uint32_t>(address.slots[t]),
                          static_cast<std::uint32_t>(slot(sums, i, t)));
    }
  }
  return {};
}

Value Fiber::load_reals(const std::string& primitive, Type type, const Node& call) {
  const auto words = static_cast<std::uint32_t>(slots_of(type));
  const Value from = evaluate(call.kids[0]);
  count(primitive, from.slots, static_cast<int>(4 * words));
  Value reals{type, std::vector<std::int64_t>(words * threads_)};
  for (int t = 0; t < threads_; ++t) {
    for (std::uint32_t i = 0; active_[t] && i < words; ++i) {
      reals.slots[i * threads_ + t] =
          block_.shared.load(id(t), static_cast<std::uint32_t>(from.slots[t]) + 4 * i);
    }
  }
  return reals;
}

Value Fiber::add_reals(Type type, const Node& call) {
  const auto words = static_cast<std::size_t>(slots_of(type));
  const Value other = evaluate(call.kids[1]);
  const Place sum = place(call.kids[0]);
  for (int t = 0; t < threads_; ++t) {
    for (std::size_t i = 0; active_[t] && i < words; ++i) {
      slot(sum, i, t) = bits(real(slot(sum, i, t)) + real(other.slots[i * threads_ + t]));
    }
  }
  return {};
}

Value Fiber::load_float4(const Node& call) { return load_reals("load_float4", Type::float4, call); }
Value Fiber::add_float4(const Node& call) { return add_reals(Type::float4, call); }

Value Fiber::scale_float4(const Node& call) {
  const Place quad = place(call.kids[0]);
  const Value scales = evaluate(call.kids[1]);
  for (int t = 0; t < threads_; ++t) {
    for (std::size_t i = 0; active_[t] && i < 4; ++i) {
      const std::int64_t pair = scales.slots[i / 2 * threads_ + t];
      const float scale = i % 2 == 0 ? low_half(pair) : high_half(pair);
      slot(quad, i, t) = bits(real(slot(quad, i, t)) * scale);
    }
  }
  return {};
}

Value Fiber::store_half4(const Node& call) {
  const Value to = evaluate(call.kids[0]), quad = evaluate(call.kids[1]);
  for (int t = 0; t < threads_; ++t) {
    if (!active_[t]) continue;
    std::uint16_t halves[4];
    for (int i = 0; i < 4; ++i)
      halves[i] = reference::nearest_half(real(quad.slots[i * threads_ + t]));
    if (!arguments_.c->holds(to.slots[t])) fail("an output outside C");
    std::memcpy(arguments_.c->write(to.slots[t], 8), halves, 8);
  }
  return {};
}

void Fiber::store_partial_at(std::int64_t to, const float (&values)[4], int thread) {
  Buffer& workspace = *arguments_.workspace;
  if (!workspace.holds(to)) fail("a partial sum outside the workspace");
  std::memcpy(workspace.write(to, 16), values, 16);
  workspace.writers[(to - workspace.base) / workspace.grain] = {
      agent(thread), clocks_.time(agent(thread)), id(thread), 0};
}

Value Fiber::store_partial(const Node& call) {
  const Value to = evaluate(call.kids[0]), quad = evaluate(call.kids[1]);
  for (int t = 0; t < threads_; ++t) {
    if (!active_[t]) continue;
    float values[4];
    for (int i = 0; i < 4; ++i) values[i] = real(quad.slots[i * threads_ + t]);
    store_partial_at(to.slots[t], values, t);
  }
  return {};
}

Value Fiber::load_partial(const Node& call) {
  const Value from = evaluate(call.kids[0]);
  Value quad{Type::float4, std::vector<std::int64_t>(4 * threads_)};
  for (int t = 0; t < threads_; ++t) {
    if (!active_[t]) continue;
    float values[4];
    Buffer& workspace = *arguments_.workspace;
    std::memcpy(values, workspace.read(from.slots[t], 16), 16);
    if (workspace.writes[(from.slots[t] - workspace.base) / workspace.grain] == 0) {
      fail("a partial sum that nobody wrote");
    }
    for (int i = 0; i < 4; ++i) quad.slots[i * threads_ + t] = bits(values[i]);
  }
  return quad;
}

// Within 32 columns the published format keeps the scale of column x at
// 8 (x % 8 / 2) + 2 (x / 8) + x % 2.
Value Fiber::channel_scales_of(const Node& call) {
  const Value from = evaluate(call.kids[0]), quad = evaluate(call.kids[1]);
  Value pairs{Type::uint2, std::vector<std::int64_t>(2 * threads_)};
  for (int t = 0; t < threads_; ++t) {
    for (int i = 0; active_[t] && i < 2; ++i) {
      const std::int64_t column = 4 * quad.slots[t] + 2 * i, x = column % 32;
      const std::int64_t at = column - x + 8 * (x % 8 / 2) + 2 * (x / 8);
      std::uint32_t pair = 0;
      std::memcpy(&pair, buffer_at(from.slots[t]).read(from.slots[t] + 2 * at, 4), 4);
      pairs.slots[i * threads_ + t] = pair;
    }
  }
  return pairs;
}

Value Fiber::is_last_arriver(const Node& call) {
  require_all();
  const std::int64_t counter = uniform(evaluate(call.kids[0]));
  const std::int64_t contributors = uniform(evaluate(call.kids[1]));
  const auto arrival = static_cast<std::uint32_t>(uniform(evaluate(call.kids[2])));
  block_.shared.require_aligned(arrival, 4);
  block_.shared.meet(0, launch_.threads / 32);
  std::uint32_t before = 0;
  std::uint8_t* at = arguments_.workspace->at(counter, 4);
  std::memcpy(&before, at, 4);
  const std::uint32_t after = before >= contributors - 1 ? 0 : before + 1;
  std::memcpy(at, &after, 4);
  block_.shared.store(0, arrival, before);
  block_.shared.meet(0, launch_.threads / 32);
  Value last = constant(Type::integer, before == contributors - 1);
  for (int t = 0; t < threads_; ++t) block_.shared.load(id(t), arrival);
  return last;
}

}  // namespace marlin::simulator
