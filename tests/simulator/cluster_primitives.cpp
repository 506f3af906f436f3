// Calls of device primitives -> their effect: dependent launches, barriers of several warps, sums
// that go through a cluster, the decode family's output. Entry point: Fiber::primitives
// (primitives.cpp).
#include <fmt/format.h>

#include <cstring>
#include <stdexcept>

#include "tests/reference/model.h"
#include "tests/simulator/fiber.h"

namespace marlin::simulator {

// ---- Dependent launches.

void Fiber::require_done(const Buffer& buffer, int thread) const {
  if (&buffer != arguments_.a && &buffer != arguments_.c) return;
  if (!clocks_.knows(agent(thread), block_.grid.previous, 1)) {
    fail(buffer.name + " is touched before the previous kernel is done");
  }
}

Value Fiber::launch_dependents(const Node&) {
  require_all();
  return {};
}

Value Fiber::wait_for_previous(const Node&) {
  for (int t = 0; t < threads_; ++t) {
    if (active_[t]) clocks_.learn_from(agent(t), block_.grid.previous);
  }
  return {};
}

// ---- Tokens through registers.

Value Fiber::ld_global_cg(const Node& call) {
  const Value from = evaluate(call.kids[0]);
  Value bytes{Type::uint4, std::vector<std::int64_t>(4 * threads_)};
  for (int t = 0; t < threads_; ++t) {
    if (!active_[t]) continue;
    Buffer& buffer = buffer_at(from.slots[t]);
    require_done(buffer, t);
    std::uint32_t words[4];
    std::memcpy(words, buffer.read(from.slots[t], 16), 16);
    for (int i = 0; i < 4; ++i) bytes.slots[i * threads_ + t] = words[i];
  }
  return bytes;
}

Value Fiber::st_shared(const Node& call) {
  const Value to = evaluate(call.kids[0]), bytes = evaluate(call.kids[1]);
  count("st_shared", to.slots, 16);
  for (int t = 0; t < threads_; ++t) {
    for (std::uint32_t i = 0; active_[t] && i < 4; ++i) {
      block_.shared.store(id(t), static_cast<std::uint32_t>(to.slots[t]) + 4 * i,
                          static_cast<std::uint32_t>(bytes.slots[i * threads_ + t]));
    }
  }
  return {};
}

// A barrier of one group's warps; those of a fiber go through statements together, so all of a
// group that come at all come now.
Value Fiber::named_barrier_sync(const Node& call) {
  if (!call.numbers.empty()) return sync_with_arrival(call);
  named_barrier_at(evaluate(call.kids[0]), uniform(evaluate(call.kids[1])));
  return {};
}

void Fiber::named_barrier_at(const Value& barrier, std::int64_t threads) {
  if (threads != 32 * launch_.group_warps) fail("a barrier of more or fewer than a group's warps");
  for (int first = 0; first < threads_; first += static_cast<int>(threads)) {
    for (int t = first; t < first + threads; ++t) {
      if (active_[t] != active_[first]) fail("a barrier that not all of its warps reach");
      if (barrier.slots[t] != barrier.slots[first]) fail("warps of a group at two barriers");
    }
    if (!active_[first]) continue;
    const std::int64_t number = barrier.slots[first];
    if (number < 1 || number > 15) fail(fmt::format("barrier {} is none of 1..15", number));
    const int first_warp = id(first) / 32;
    if (block_.groups_at.emplace(number, first_warp).first->second != first_warp) {
      fail("two groups at one barrier");
    }
    block_.shared.meet(first_warp, static_cast<int>(threads) / 32);
  }
}

// ---- The cluster.

Value Fiber::cluster_reduce_expect(const Node& call) {
  const Value barrier = evaluate(call.kids[0]), bytes = evaluate(call.kids[1]);
  const Value lane = evaluate(call.kids[2]);
  require_whole_warps();
  if (arrived_) fail("a barrier made after the block has arrived at the cluster");
  for (int t = 0; t < threads_; ++t) {
    if (!active_[t] || lane.slots[t] != 0) continue;
    add_barrier(barrier.slots[t], 1);
    CopyBarrier& made = barrier_at(block_, barrier.slots[t]);
    made.bytes += bytes.slots[t];
    arrive_at(made, t);
  }
  return {};
}

Value Fiber::cluster_arrive_relaxed(const Node&) {
  require_all();
  if (arrived_) fail("the cluster is arrived at twice");
  arrived_ = true;
  cluster_generation_ = block_.cluster->arrive();
  return {};
}

Value Fiber::cluster_wait(const Node&) {
  require_all();
  if (!arrived_) fail("a wait for the cluster without an arrival");
  scheduler_.wait_until([&] { return block_.cluster->generation != cluster_generation_; },
                        [] { return "a block of the cluster does not arrive"; });
  joined_ = true;
  return {};
}

Value Fiber::cluster_reduce_send(const Node& call) {
  const Value to = evaluate(call.kids[0]);
  const std::int64_t rank = uniform(evaluate(call.kids[1]));
  const Value barrier = evaluate(call.kids[2]);
  const Place sums = place(call.kids[3]);
  const std::size_t first = call.kids.size() > 4 ? uniform(evaluate(call.kids[4])) : 0;
  if (!joined_) fail("sums are sent before the cluster has met");
  Block& peer = peer_of(rank);
  count("cluster_reduce_send", to.slots, 16);
  for (int t = 0; t < threads_; ++t) {
    if (!active_[t]) continue;
    std::vector<std::uint32_t> words;
    for (std::size_t i = first; i < first + 4; ++i) {
      words.push_back(static_cast<std::uint32_t>(slot(sums, i, t)));
    }
    deliver(peer, to.slots[t], words, barrier.slots[t], t);
  }
  return {};
}

Value Fiber::cluster_reduce_wait(const Node& call) {
  require_whole_warps();
  wait_at(uniform(evaluate(call.kids[0])), 0);
  return {};
}

// ---- Sums on their way out.

Value Fiber::stage_fragment(const Node& call) {
  const Value to = evaluate(call.kids[0]);
  const Place sums = place(call.kids[1]);
  count("stage_fragment", to.slots, 16);
  for (int t = 0; t < threads_; ++t) {
    for (std::uint32_t i = 0; active_[t] && i < 4; ++i) {
      block_.shared.store(id(t), static_cast<std::uint32_t>(to.slots[t]) + 4 * i,
                          static_cast<std::uint32_t>(slot(sums, i, t)));
    }
  }
  return {};
}

Value Fiber::load_float2(const Node& call) { return load_reals("load_float2", Type::float2, call); }
Value Fiber::add_float2(const Node& call) { return add_reals(Type::float2, call); }

// Lanes that differ in bit 3 give each other what the other keeps: an even column's lane its second
// token, an odd one's its first.
Value Fiber::shuffle_half2(const Node& call) {
  require_whole_warps();
  const Value sum = evaluate(call.kids[0]), odd = evaluate(call.kids[1]);
  Value both = constant(Type::unsigned_integer, 0);
  for (int t = 0; t < threads_; ++t) {
    if (!active_[t]) continue;
    const int other = t ^ 8;
    if ((odd.slots[t] != 0) == (odd.slots[other] != 0)) fail("two even or two odd columns trade");
    const std::int64_t token = odd.slots[t] != 0 ? 1 : 0;
    const std::int64_t mine = sum.slots[token * threads_ + t],
                       given = sum.slots[token * threads_ + other];
    const std::uint32_t low = reference::nearest_half(real(token == 0 ? mine : given)),
                        high = reference::nearest_half(real(token == 0 ? given : mine));
    both.slots[t] = high << 16 | low;
  }
  return both;
}

// Within 32 columns the published format keeps the scale of column x at
// 8 (x % 8 / 2) + 2 (x / 8) + x % 2.
Value Fiber::channel_scale_of(const Node& call) {
  const Value from = evaluate(call.kids[0]), column = evaluate(call.kids[1]);
  Value scale = constant(Type::real, 0);
  for (int t = 0; t < threads_; ++t) {
    if (!active_[t]) continue;
    const std::int64_t x = column.slots[t] % 32;
    const std::int64_t at = column.slots[t] - x + 8 * (x % 8 / 2) + 2 * (x / 8) + x % 2;
    std::uint16_t half = 0;
    std::memcpy(&half, buffer_at(from.slots[t]).read(from.slots[t] + 2 * at, 2), 2);
    scale.slots[t] = bits(static_cast<float>(reference::half_value(half)));
  }
  return scale;
}

}  // namespace marlin::simulator
