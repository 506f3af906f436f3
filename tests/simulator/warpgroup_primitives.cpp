// Calls of device primitives -> their effect: asynchronous products of a warpgroup, and what
// becomes of their sums. Entry point: Fiber::primitives (primitives.cpp).
#include <fmt/format.h>

#include <array>
#include <stdexcept>

#include "tests/reference/model.h"
#include "tests/simulator/fiber.h"
#include "tests/simulator/halves.h"

namespace marlin::simulator {

namespace {

constexpr int kWarpgroup = 128;
constexpr int kDepth = 16;  // k of a product

}  // namespace

// ---- Roles.

Value Fiber::first_lane(const Node& call) {
  require_whole_warps();
  Value value = evaluate(call.kids[1]);
  if (uniform(evaluate(call.kids[2])) != 0) fail("no model of a shuffle from another lane");
  for (int t = 0; t < threads_; ++t) value.slots[t] = value.slots[t / 32 * 32];
  return value;
}

Value Fiber::set_registers(const Node& call) {
  require_all();
  const std::int64_t count = call.numbers[0];
  if (count % 8 != 0 || count < 24 || count > 256) fail("a number of registers that cannot be set");
  return {};
}

// ---- Products.

Value Fiber::warpgroup_arrive(const Node&) {
  require_all();
  ++fences_;
  return {};
}

Value Fiber::warpgroup_commit(const Node&) {
  require_all();
  const int number = products_.back().number;
  products_.push_back({number + 1, {}, {}});
  return {};
}

Value Fiber::warpgroup_wait(const Node& call) {
  require_all();
  const auto pending = static_cast<std::size_t>(call.numbers[0]);
  while (products_.size() > pending + 1) {
    const Group& done = products_.front();
    for (const std::uint32_t word : done.words) {
      // All four warps read the tokens.
      for (int t = 0; t < threads_; t += 32) block_.shared.let_go(id(t), word);
    }
    for (const auto& [variable, slot] : done.slots) {
      if (variable->held[slot] == done.number + 1) variable->held[slot] = 0;
    }
    products_.pop_front();
  }
  return {};
}

Value Fiber::activation_descriptor(const Node& call) {
  Value value = evaluate(call.kids[0]);
  value.type = Type::long_integer;
  for (std::int64_t& slot : value.slots) {
    slot = std::int64_t{1} << 62 | std::int64_t{64} << 32 | std::int64_t{1} << 16 | slot >> 4;
  }
  return value;
}

// Eight lines of 128 bytes, swizzled, are 1024 bytes apart from the next eight; a product takes 32
// bytes of each.
std::vector<float> Fiber::read_activations(std::int64_t descriptor, int tokens) {
  constexpr std::int64_t kForm = std::int64_t{1} << 62 | std::int64_t{64} << 32 | 1 << 16;
  if ((descriptor & ~std::int64_t{0x3fff}) != kForm) fail("not a descriptor of tokens");
  const auto from = static_cast<std::uint32_t>(descriptor & 0x3fff) << 4;
  block_.shared.require_aligned(from & ~127U, 1024);
  block_.shared.require_aligned(from, 32);
  std::vector<float> values;
  for (int token = 0; token < tokens; ++token) {
    for (std::uint32_t byte = 0; byte < 2 * kDepth; byte += 4) {
      const std::uint32_t line = from + static_cast<std::uint32_t>(token) * 128 + byte;
      const std::uint32_t place = swizzle(line);
      std::uint32_t pair = 0;
      for (int t = 0; t < threads_; t += 32) {
        pair = block_.shared.hold(id(t), place, false);
      }
      products_.back().words.push_back(place);
      values.push_back(low_half(pair));
      values.push_back(high_half(pair));
    }
  }
  return values;
}

// Registers that a product reads or has written by another product, or that stand still since the
// last fence.
void Fiber::require_settled(const Place& place, std::size_t slots, bool sums) const {
  for (std::size_t i = place.first; i < place.first + slots; ++i) {
    const bool running = place.variable->held[i] != 0;
    if (running && !sums) fail("registers of a product that still runs");
    if (!running && place.variable->touched[i] >= fences_) {
      fail("registers changed without a fence before the product");
    }
  }
}

void Fiber::hold(const Place& place, std::size_t slots) {
  for (std::size_t i = place.first; i < place.first + slots; ++i) {
    place.variable->held[i] = products_.back().number + 1;
    products_.back().slots.emplace_back(place.variable, i);
  }
}

// wgmma.m64nNk16: warp w of the four holds rows 16 w .. 16 w + 15 of A, as in mma.m16n8k16, and
// lane 4 g + t of D rows g and g + 8 at columns 8 j + 2 t + {0, 1} in registers 4 j .. 4 j + 3.
Value Fiber::wgmma(const Node& call) {
  require_all();
  if (threads_ != kWarpgroup) fail("a product by more or less than a warpgroup");
  const Place sums = place(call.kids[0]), weights = place(call.kids[1]);
  const std::size_t count = extent(sums);
  const int tokens = static_cast<int>(2 * count);
  const std::int64_t descriptor = uniform(evaluate(call.kids[2]));
  const bool add = uniform(evaluate(call.kids[3])) != 0;
  if (tokens < 8 || tokens > 256 || tokens % 8 != 0) fail("no product of so many tokens");
  require_settled(weights, 4, false);
  require_settled(sums, count, true);
  const std::vector<float> columns = read_activations(descriptor, tokens);
  const auto& registers = weights.variable->slots;
  std::array<std::array<float, kDepth>, 64> rows{};
  for (int t = 0; t < threads_; ++t) {
    const int row = t / 32 * 16 + t % 32 / 4, k = t % 4 * 2;
    for (int i = 0; i < 4; ++i) {
      const std::int64_t pair = registers[(weights.first + i) * threads_ + t];
      rows[row + i % 2 * 8][k + i / 2 * 8] = low_half(pair);
      rows[row + i % 2 * 8][k + i / 2 * 8 + 1] = high_half(pair);
    }
  }
  for (std::size_t i = 0; i < count; ++i) {
    for (int t = 0; t < threads_; ++t) {
      std::int64_t& sum = sums.variable->slots[(sums.first + i) * threads_ + t];
      const auto& row = rows[t / 32 * 16 + t % 32 / 4 + i / 2 % 2 * 8];
      const float* column = &columns[(i / 4 * 8 + t % 4 * 2 + i % 2) * kDepth];
      float total = 0;
      for (int k = 0; k < kDepth; ++k) total += row[k] * column[k];
      sum = bits(add ? real(sum) + total : total);
    }
  }
  hold(weights, 4);
  hold(sums, count);
  return {};
}

// ---- Sums on their way out.

Value Fiber::scale_sums(const Node& call) {
  const Place sums = place(call.kids[0]);
  const Value low = evaluate(call.kids[1]), high = evaluate(call.kids[2]);
  for (std::size_t i = 0; i < extent(sums); ++i) {
    for (int t = 0; t < threads_; ++t) {
      if (!active_[t]) continue;
      const Value& scale = i / 2 % 2 == 0 ? low : high;
      slot(sums, i, t) = bits(real(slot(sums, i, t)) * real(scale.slots[t]));
    }
  }
  return {};
}

// stmatrix.trans: matrix i goes to the eight rows of sixteen bytes of lanes 8 i .. 8 i + 7; lane l
// has elements l / 4 of rows 2 (l % 4) and the next.
Value Fiber::stmatrix_trans(const Node& call) {
  require_whole_warps();
  const Value to = evaluate(call.kids[0]);
  const std::size_t fragments = call.kids.size() - 2;
  const auto tile = static_cast<std::size_t>(uniform(evaluate(call.kids.back())));
  for (std::size_t matrix = 0; matrix < 2 * fragments; ++matrix) {
    const Place sums = place(call.kids[1 + matrix / 2]);
    for (int warp = 0; warp < threads_; warp += 32) {
      if (!active_[warp]) continue;
      std::uint16_t halves[8][8];
      for (int lane = 0; lane < 32; ++lane) {
        for (std::size_t i = 0; i < 2; ++i) {
          const std::int64_t sum = slot(sums, 4 * tile + matrix % 2 * 2 + i, warp + lane);
          halves[lane % 4 * 2 + i][lane / 4] = reference::nearest_half(real(sum));
        }
      }
      std::vector<std::uint32_t> rows(32);
      std::vector<bool> first_n8(32);
      for (std::size_t row = 0; row < 8; ++row) {
        rows[row] = static_cast<std::uint32_t>(to.slots[warp + 8 * matrix + row]);
        first_n8[row] = true;
        block_.shared.require_aligned(rows[row], 16);
        for (std::uint32_t i = 0; i < 8; i += 2) {
          const std::uint32_t pair = halves[row][i + 1] << 16 | halves[row][i];
          block_.shared.store(id(warp), rows[row] + 2 * i, pair);
        }
      }
      count_banks(banks_["stmatrix_trans"], rows, first_n8, 16);
    }
  }
  return {};
}

void Fiber::accumulators_from(const Node& call, bool add) {
  const Place sums = place(call.kids[0]);
  const auto first = static_cast<std::size_t>(4 * uniform(evaluate(call.kids[1])));
  const Value from = evaluate(call.kids[2]);
  count(call.text, from.slots, 16);
  for (int t = 0; t < threads_; ++t) {
    for (std::uint32_t i = 0; active_[t] && i < 4; ++i) {
      const auto address = static_cast<std::uint32_t>(from.slots[t]) + 4 * i;
      const float part = real(block_.shared.start_load(id(t), address));
      std::int64_t& sum = slot(sums, first + i, t);
      sum = bits(add ? real(sum) + part : part);
    }
  }
}

Value Fiber::load_accumulators(const Node& call) {
  accumulators_from(call, false);
  return {};
}

Value Fiber::add_accumulators(const Node& call) {
  accumulators_from(call, true);
  return {};
}

}  // namespace marlin::simulator
