// Calls of the decode family's device primitives -> their effect: dependent launches, barriers of
// several warps, sums that go through a cluster. Entry point: Block::primitives (primitives.cpp).
#include <fmt/format.h>

#include <cstring>
#include <set>
#include <stdexcept>

#include "tests/reference/model.h"
#include "tests/simulator/block.h"

namespace marlin::simulator {

// ---- Dependent launches.

void Block::require_done(const Buffer& buffer) const {
  if (!previous_done_ && (&buffer == arguments_.a || &buffer == arguments_.c)) {
    fail(buffer.name + " is touched before the previous kernel is done");
  }
}

Value Block::launch_dependents(const Node&) {
  require_all();
  return {};
}

Value Block::wait_for_previous(const Node&) {
  require_all();
  previous_done_ = true;
  return {};
}

// ---- Tokens through registers.

Value Block::load16(const Node& call) {
  const Value from = evaluate(call.kids[0]);
  Value bytes{Type::uint4, std::vector<std::int64_t>(4 * threads_)};
  for (int t = 0; t < threads_; ++t) {
    if (!active_[t]) continue;
    Buffer& buffer = buffer_at(from.slots[t]);
    require_done(buffer);
    std::uint32_t words[4];
    std::memcpy(words, buffer.read(from.slots[t], 16), 16);
    for (int i = 0; i < 4; ++i) bytes.slots[i * threads_ + t] = words[i];
  }
  return bytes;
}

Value Block::store16(const Node& call) {
  const Value to = evaluate(call.kids[0]), bytes = evaluate(call.kids[1]);
  count("store16", to.slots, 16);
  for (int t = 0; t < threads_; ++t) {
    for (std::uint32_t i = 0; active_[t] && i < 4; ++i) {
      shared_.store(t, static_cast<std::uint32_t>(to.slots[t]) + 4 * i,
                    static_cast<std::uint32_t>(bytes.slots[i * threads_ + t]));
    }
  }
  return {};
}

// A barrier of one group's warps; all threads go through statements together, so all of a group
// that come at all come now.
Value Block::meet(const Node& call) {
  const Value barrier = evaluate(call.kids[0]);
  const std::int64_t threads = uniform(evaluate(call.kids[1]));
  if (threads != 32 * launch_.group_warps) fail("a barrier of more or fewer than a group's warps");
  std::set<std::int64_t> numbers;
  for (int first = 0; first < threads_; first += static_cast<int>(threads)) {
    for (int t = first; t < first + threads; ++t) {
      if (active_[t] != active_[first]) fail("a barrier that not all of its warps reach");
      if (barrier.slots[t] != barrier.slots[first]) fail("warps of a group at two barriers");
    }
    if (!active_[first]) continue;
    const std::int64_t number = barrier.slots[first];
    if (number < 1 || number > 15) fail(fmt::format("barrier {} is none of 1..15", number));
    if (!numbers.insert(number).second) fail("two groups at one barrier");
    shared_.group_barrier(first / static_cast<int>(threads));
  }
  return {};
}

// ---- The cluster.

Value Block::expect_sums(const Node& call) {
  const Value barrier = evaluate(call.kids[0]), bytes = evaluate(call.kids[1]);
  const Value lane = evaluate(call.kids[2]);
  require_whole_warps();
  if (arrived_) fail("a barrier made after the block has arrived at the cluster");
  for (int t = 0; t < threads_; ++t) {
    if (!active_[t] || lane.slots[t] != 0) continue;
    if (expected_.bytes >= 0) fail("a barrier made twice");
    expected_ = {static_cast<std::uint32_t>(barrier.slots[t]), bytes.slots[t], 0};
    shared_.require_aligned(expected_.barrier, 8);
    for (const std::uint32_t word : {0U, 4U}) shared_.store(t, expected_.barrier + word, 0);
  }
  return {};
}

Value Block::arrive_at_cluster(const Node&) {
  require_all();
  if (arrived_) fail("the cluster is arrived at twice");
  arrived_ = true;
  return {};
}

Value Block::wait_for_cluster(const Node&) {
  require_all();
  for (const Block* peer : peers_) {
    if (!peer->arrived_) fail("a block of the cluster does not arrive");
  }
  joined_ = true;
  return {};
}

Value Block::send_sums(const Node& call) {
  const Value to = evaluate(call.kids[0]);
  const std::int64_t rank = uniform(evaluate(call.kids[1]));
  const Value barrier = evaluate(call.kids[2]);
  const Place sums = place(call.kids[3]);
  if (!joined_) fail("sums are sent before the cluster has met");
  if (rank < 0 || rank >= static_cast<std::int64_t>(peers_.size())) fail("no such rank");
  Block& peer = *peers_[rank];
  count("send_sums", to.slots, 16);
  for (int t = 0; t < threads_; ++t) {
    if (!active_[t]) continue;
    if (peer.expected_.bytes < 0 || peer.expected_.barrier != barrier.slots[t]) {
      fail("sums are sent to a barrier that is not there");
    }
    for (std::uint32_t i = 0; i < 4; ++i) {
      peer.shared_.receive(static_cast<std::uint32_t>(to.slots[t]) + 4 * i,
                           static_cast<std::uint32_t>(slot(sums, i, t)));
    }
    peer.expected_.arrived += 16;
  }
  return {};
}

// The blocks of a cluster come here one after the other once all have sent.
Value Block::wait_for_sums(const Node& call) {
  require_all();
  const std::int64_t barrier = uniform(evaluate(call.kids[0]));
  if (barrier != expected_.barrier) fail("a wait at a barrier that is not there");
  if (expected_.arrived != expected_.bytes) {
    fail(fmt::format("{} bytes of {} arrive", expected_.arrived, expected_.bytes));
  }
  shared_.land_received();
  return {};
}

// ---- Sums on their way out.

Value Block::keep_sums(const Node& call) {
  const Value to = evaluate(call.kids[0]);
  const Place sums = place(call.kids[1]);
  count("keep_sums", to.slots, 16);
  for (int t = 0; t < threads_; ++t) {
    for (std::uint32_t i = 0; active_[t] && i < 4; ++i) {
      shared_.store(t, static_cast<std::uint32_t>(to.slots[t]) + 4 * i,
                    static_cast<std::uint32_t>(slot(sums, i, t)));
    }
  }
  return {};
}

Value Block::load_pair(const Node& call) { return load_reals("load_pair", Type::float2, call); }
Value Block::add_pair(const Node& call) { return add_reals(Type::float2, call); }

// Lanes that differ in bit 3 give each other what the other keeps: an even column's lane its second
// token, an odd one's its first.
Value Block::trade(const Node& call) {
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
Value Block::channel_scale_of(const Node& call) {
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
