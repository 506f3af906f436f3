// Calls of device primitives -> their effect on registers and memories.
// Entry point: Block::primitives.
#include <fmt/format.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "tests/reference/model.h"
#include "tests/simulator/block.h"

namespace marlin::simulator {

namespace {

float half_value(std::uint32_t half) {
  static const std::vector<float> values = [] {
    std::vector<float> table;
    for (int i = 0; i < 65536; ++i) {
      table.push_back(static_cast<float>(reference::half_value(static_cast<std::uint16_t>(i))));
    }
    return table;
  }();
  return values[half & 0xffff];
}
float low_half(std::int64_t pair) { return half_value(static_cast<std::uint32_t>(pair)); }
float high_half(std::int64_t pair) { return half_value(static_cast<std::uint32_t>(pair) >> 16); }
std::int64_t pair_of(double low, double high) {
  return static_cast<std::uint32_t>(reference::nearest_half(high)) << 16 |
         reference::nearest_half(low);
}

}  // namespace

const std::unordered_map<std::string, Block::Primitive>& Block::primitives() {
  static const std::unordered_map<std::string, Primitive> table = {
      {"shared_address", &Block::shared_address},
      {"min", &Block::minimum},
      {"copy16", &Block::copy16},
      {"close_stage", &Block::close_stage},
      {"wait_for_stage", &Block::wait_for_stage},
      {"__syncwarp", &Block::sync_warp},
      {"__syncthreads", &Block::sync_threads},
      {"load_words", &Block::load_words},
      {"load_tokens", &Block::load_tokens},
      {"dequantise", &Block::dequantise},
      {"scale_weights", &Block::scale_weights},
      {"spread_scales", &Block::spread_scales},
      {"mma", &Block::multiply},
      {"mma_first", &Block::multiply},
      {"widen", &Block::widen},
      {"add_scaled", &Block::add_scaled},
      {"clear", &Block::clear},
      {"stage_sums", &Block::stage_sums},
      {"load_quad", &Block::load_quad},
      {"add_quad", &Block::add_quad},
      {"scale_quad", &Block::scale_quad},
      {"store_quad", &Block::store_quad},
      {"store_partial", &Block::store_partial},
      {"load_partial", &Block::load_partial},
      {"channel_scales_of", &Block::channel_scales_of},
      {"arrive_last", &Block::arrive_last},
      {"launch_dependents", &Block::launch_dependents},
      {"wait_for_previous", &Block::wait_for_previous},
      {"load16", &Block::load16},
      {"store16", &Block::store16},
      {"meet", &Block::meet},
      {"expect_sums", &Block::expect_sums},
      {"arrive_at_cluster", &Block::arrive_at_cluster},
      {"wait_for_cluster", &Block::wait_for_cluster},
      {"send_sums", &Block::send_sums},
      {"wait_for_sums", &Block::wait_for_sums},
      {"keep_sums", &Block::keep_sums},
      {"load_pair", &Block::load_pair},
      {"add_pair", &Block::add_pair},
      {"trade", &Block::trade},
      {"channel_scale_of", &Block::channel_scale_of},
  };
  return table;
}

// ---- What the primitives share.

Buffer& Block::buffer_at(std::int64_t address) const {
  for (Buffer* buffer :
       {arguments_.a, arguments_.b, arguments_.scales, arguments_.c, arguments_.workspace}) {
    if (buffer->holds(address)) return *buffer;
  }
  throw std::runtime_error("an address outside every array");
}

void Block::count(const std::string& primitive, const std::vector<std::int64_t>& addresses,
                  int width) {
  std::vector<std::uint32_t> lanes(32);
  std::vector<bool> active(32);
  for (int warp = 0; warp < threads_ / 32; ++warp) {
    for (int lane = 0; lane < 32; ++lane) {
      lanes[lane] = static_cast<std::uint32_t>(addresses[32 * warp + lane]);
      active[lane] = active_[32 * warp + lane];
      if (active[lane]) shared_.require_aligned(lanes[lane], static_cast<std::uint32_t>(width));
    }
    count_banks(banks_[primitive], lanes, active, width);
  }
}

void Block::require_whole_warps() const {
  for (int t = 0; t < threads_; ++t) {
    if (active_[t] != active_[t / 32 * 32]) fail("half a warp at a warp-wide instruction");
  }
}

void Block::require_all() const {
  for (int t = 0; t < threads_; ++t) {
    if (!active_[t]) fail("a block barrier that not all threads reach");
  }
}

Value Block::shared_address(const Node& call) {
  Value value = evaluate(call.kids[0]);
  for (std::int64_t& slot : value.slots) slot = static_cast<std::uint32_t>(slot);
  value.type = Type::unsigned_integer;
  return value;
}

Value Block::minimum(const Node& call) {
  Value left = evaluate(call.kids[0]);
  const Value right = evaluate(call.kids[1]);
  if (left.type != right.type) fail("min of two types");
  for (int t = 0; t < threads_; ++t) left.slots[t] = std::min(left.slots[t], right.slots[t]);
  return left;
}

// ---- Copies and barriers.

Value Block::copy16(const Node& call) {
  const Value to = evaluate(call.kids[0]), from = evaluate(call.kids[1]);
  count("copy16", to.slots, 16);
  for (int t = 0; t < threads_; ++t) {
    if (!active_[t]) continue;
    const auto address = static_cast<std::uint32_t>(to.slots[t]);
    shared_.start_copy(t, address);
    Buffer& buffer = buffer_at(from.slots[t]);
    require_done(buffer);
    stages_[t].back().push_back({address, buffer.read(from.slots[t], 16)});
  }
  return {};
}

Value Block::close_stage(const Node&) {
  for (int t = 0; t < threads_; ++t) {
    if (active_[t]) stages_[t].emplace_back();
  }
  return {};
}

Value Block::wait_for_stage(const Node& call) {
  const auto pending = static_cast<std::size_t>(call.numbers[0]);
  for (int t = 0; t < threads_; ++t) {
    if (!active_[t]) continue;
    if (!stages_[t].back().empty()) fail("a wait with copies in no closed stage");
    while (stages_[t].size() > pending + 1) {
      for (const Copy& copy : stages_[t].front()) shared_.land_copy(t, copy.to, copy.from);
      stages_[t].pop_front();
    }
  }
  return {};
}

Value Block::sync_warp(const Node&) {
  require_whole_warps();
  for (int warp = 0; warp < threads_ / 32; ++warp) {
    if (active_[32 * warp]) shared_.warp_barrier(warp);
  }
  return {};
}

Value Block::sync_threads(const Node&) {
  require_all();
  shared_.block_barrier();
  return {};
}

// ---- Fragments.

Value Block::load_words(const Node& call) {
  const Place words = place(call.kids[0]);
  const Value from = evaluate(call.kids[1]);
  count("load_words", from.slots, 16);
  for (int t = 0; t < threads_; ++t) {
    for (std::uint32_t i = 0; active_[t] && i < 4; ++i) {
      slot(words, i, t) = shared_.load(t, static_cast<std::uint32_t>(from.slots[t]) + 4 * i);
    }
  }
  return {};
}

// ldmatrix: matrix i takes its eight rows of sixteen bytes from lanes 8 i .. 8 i + 7, and lane l
// gets word l % 4 of row l / 4.
Value Block::load_tokens(const Node& call) {
  require_whole_warps();
  const std::size_t tiles = call.kids.size() - 1;
  const Value from = evaluate(call.kids.back());
  for (std::size_t matrix = 0; matrix < 2 * tiles; ++matrix) {
    const Place tile = place(call.kids[matrix / 2]);
    for (int warp = 0; warp < threads_ / 32; ++warp) {
      if (!active_[32 * warp]) continue;
      std::vector<std::uint32_t> rows(32);
      std::vector<bool> first_eight(32);
      for (std::size_t row = 0; row < 8; ++row) {
        rows[row] = static_cast<std::uint32_t>(from.slots[32 * warp + 8 * matrix + row]);
        first_eight[row] = true;
        shared_.require_aligned(rows[row], 16);
      }
      count_banks(banks_["load_tokens"], rows, first_eight, 16);
      for (int lane = 0; lane < 32; ++lane) {
        const int t = 32 * warp + lane;
        slot(tile, matrix % 2, t) = shared_.load(t, rows[lane / 4] + lane % 4 * 4);
      }
    }
  }
  return {};
}

// Nibbles 0, 4 | 2, 6 | 1, 5 | 3, 7 of the word as four pairs, minus 8.
Value Block::dequantise(const Node& call) {
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

Value Block::scale_weights(const Node& call) {
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

Value Block::spread_scales(const Node& call) {
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
Value Block::multiply(const Node& call) {
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

Value Block::widen(const Node& call) {
  const Value pair = evaluate(call.kids[0]);
  Value wide{Type::float2, std::vector<std::int64_t>(2 * threads_)};
  for (int t = 0; t < threads_; ++t) {
    wide.slots[t] = bits(low_half(pair.slots[t]));
    wide.slots[threads_ + t] = bits(high_half(pair.slots[t]));
  }
  return wide;
}

Value Block::add_scaled(const Node& call) {
  const Place sums = place(call.kids[0]), group = place(call.kids[1]);
  const Value scales = evaluate(call.kids[2]);
  for (int t = 0; t < threads_; ++t) {
    for (std::size_t i = 0; active_[t] && i < 4; ++i) {
      const float scale = real(scales.slots[i / 2 * threads_ + t]);
      slot(sums, i, t) = bits(std::fma(scale, real(slot(group, i, t)), real(slot(sums, i, t))));
    }
  }
  return {};
}

Value Block::clear(const Node& call) {
  Variable* variable = place(call.kids[0]).variable;
  for (std::size_t i = 0; i < variable->slots.size(); ++i) {
    if (active_[i % threads_]) variable->slots[i] = 0;
  }
  return {};
}

// ---- Sums on their way out.

Value Block::stage_sums(const Node& call) {
  const auto pitch = static_cast<std::uint32_t>(call.numbers[0]);
  const Value to = evaluate(call.kids[0]);
  const Place sums = place(call.kids[1]);
  for (std::uint32_t i = 0; i < 4; ++i) {
    Value address = to;
    for (std::int64_t& slot : address.slots) slot += i % 2 * pitch + i / 2 * 32;
    count("stage_sums", address.slots, 4);
    for (int t = 0; t < threads_; ++t) {
      if (!active_[t]) continue;
      shared_.store(t, static_cast<std::uint32_t>(address.slots[t]),
                    static_cast<std::uint32_t>(slot(sums, i, t)));
    }
  }
  return {};
}

Value Block::load_reals(const std::string& primitive, Type type, const Node& call) {
  const auto words = static_cast<std::uint32_t>(slots_of(type));
  const Value from = evaluate(call.kids[0]);
  count(primitive, from.slots, static_cast<int>(4 * words));
  Value reals{type, std::vector<std::int64_t>(words * threads_)};
  for (int t = 0; t < threads_; ++t) {
    for (std::uint32_t i = 0; active_[t] && i < words; ++i) {
      reals.slots[i * threads_ + t] =
          shared_.load(t, static_cast<std::uint32_t>(from.slots[t]) + 4 * i);
    }
  }
  return reals;
}

Value Block::add_reals(Type type, const Node& call) {
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

Value Block::load_quad(const Node& call) { return load_reals("load_quad", Type::float4, call); }
Value Block::add_quad(const Node& call) { return add_reals(Type::float4, call); }

Value Block::scale_quad(const Node& call) {
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

Value Block::store_quad(const Node& call) {
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

Value Block::store_partial(const Node& call) {
  const Value to = evaluate(call.kids[0]), quad = evaluate(call.kids[1]);
  for (int t = 0; t < threads_; ++t) {
    if (!active_[t]) continue;
    float values[4];
    for (int i = 0; i < 4; ++i) values[i] = real(quad.slots[i * threads_ + t]);
    if (!arguments_.workspace->holds(to.slots[t])) fail("a partial sum outside the workspace");
    std::memcpy(arguments_.workspace->write(to.slots[t], 16), values, 16);
  }
  return {};
}

Value Block::load_partial(const Node& call) {
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
Value Block::channel_scales_of(const Node& call) {
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

Value Block::arrive_last(const Node& call) {
  require_all();
  const std::int64_t counter = uniform(evaluate(call.kids[0]));
  const std::int64_t owners = uniform(evaluate(call.kids[1]));
  const auto ticket = static_cast<std::uint32_t>(uniform(evaluate(call.kids[2])));
  shared_.require_aligned(ticket, 4);
  shared_.block_barrier();
  std::uint32_t before = 0;
  std::uint8_t* at = arguments_.workspace->at(counter, 4);
  std::memcpy(&before, at, 4);
  const std::uint32_t after = before >= owners - 1 ? 0 : before + 1;
  std::memcpy(at, &after, 4);
  shared_.store(0, ticket, before);
  shared_.block_barrier();
  Value last = constant(Type::integer, before == owners - 1);
  for (int t = 0; t < threads_; ++t) shared_.load(t, ticket);
  return last;
}

}  // namespace marlin::simulator
