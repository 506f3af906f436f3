// Calls of device primitives -> their effect: partial sums of wgmma kernels from block to block
// through the workspace. Entry point: Fiber::primitives (primitives.cpp).
#include <fmt/format.h>

#include <cstring>

#include "tests/simulator/fiber.h"

namespace marlin::simulator {

// ---- By stripes.

namespace {

constexpr std::uint32_t kRaised = 1;

std::uint32_t flag_at(Buffer& workspace, std::int64_t address) {
  std::uint32_t flag = 0;
  std::memcpy(&flag, workspace.at(address, 4), 4);
  return flag;
}

// One more at this counter; how many there were.
std::uint32_t count_one(Buffer& workspace, std::int64_t counter) {
  const std::uint32_t before = flag_at(workspace, counter), after = before + 1;
  std::memcpy(workspace.at(counter, 4), &after, 4);
  return before;
}

}  // namespace

// A partial sum that a copy of this thread reads.
void Fiber::require_stored(std::int64_t address, int thread) {
  const Buffer& workspace = *arguments_.workspace;
  const Access& given = workspace.writers[(address - workspace.base) / workspace.grain];
  if (given.agent < 0) fail("a partial sum that nobody wrote");
  if (!clocks_.knows(agent(thread), given.agent, given.time)) {
    fail("a partial sum is read before its flag is up");
  }
}

Value Fiber::fixup_signal(const Node& call) {
  const Value flag = evaluate(call.kids[0]), first_thread = evaluate(call.kids[2]);
  const std::int64_t number = uniform(evaluate(call.kids[1]));
  require_all();
  named_barrier_at(constant(Type::integer, number), threads_);
  Buffer& workspace = *arguments_.workspace;
  for (int t = 0; t < threads_; ++t) {
    if (first_thread.slots[t] == 0) continue;
    if (flag_at(workspace, flag.slots[t]) != 0) fail("a flag raised twice");
    std::memcpy(workspace.at(flag.slots[t], 4), &kRaised, 4);
    clocks_.publish(agent(t), block_.grid.flags[flag.slots[t]]);
  }
  return {};
}

Value Fiber::fixup_wait(const Node& call) {
  const std::int64_t first = uniform(evaluate(call.kids[0]));
  Buffer& workspace = *arguments_.workspace;
  for (std::int64_t flag = first; flag < first + 4 * call.numbers[0]; flag += 4) {
    scheduler_.wait_until([&] { return flag_at(workspace, flag) == kRaised; },
                          [&] {
                            return fmt::format("line {}, block {}: the flag at {} is not raised",
                                               line_, block_.index[0], flag - workspace.base);
                          });
    for (int t = 0; t < threads_; ++t) {
      if (active_[t]) clocks_.learn(agent(t), block_.grid.flags[flag]);
    }
    std::memset(workspace.at(flag, 4), 0, 4);
  }
  return {};
}

Value Fiber::fixup_store(const Node& call) {
  const Value to = evaluate(call.kids[0]);
  const Place sums = place(call.kids[1]);
  for (int t = 0; t < threads_; ++t) {
    if (!active_[t]) continue;
    for (std::size_t quad = 0; quad < extent(sums) / 4; ++quad) {
      float values[4];
      for (std::size_t i = 0; i < 4; ++i) values[i] = real(slot(sums, 4 * quad + i, t));
      store_partial_at(to.slots[t] + static_cast<std::int64_t>(quad) * call.numbers[0], values, t);
    }
  }
  return {};
}

// ---- Among all blocks of a tile.

Value Fiber::reduce_scatter_store(const Node& call) {
  const Place kept = place(call.kids[0]), sums = place(call.kids[1]);
  const auto n8 = static_cast<std::uint32_t>(uniform(evaluate(call.kids[2])));
  const Value first = evaluate(call.kids[3]), reduce_count = evaluate(call.kids[4]);
  const Value to = evaluate(call.kids[5]);
  for (int t = 0; t < threads_; ++t) {
    if (!active_[t]) continue;
    const std::uint32_t at = n8 - static_cast<std::uint32_t>(first.slots[t]);
    const bool keep = at < static_cast<std::uint32_t>(reduce_count.slots[t]);
    if (keep && 4 * at + 4 > extent(kept)) fail("more is kept than there is room for");
    float values[4];
    for (std::size_t i = 0; i < 4; ++i) {
      const std::int64_t sum = slot(sums, 4 * n8 + i, t);
      values[i] = real(sum);
      if (keep) slot(kept, 4 * at + i, t) = sum;
    }
    if (!keep) store_partial_at(to.slots[t], values, t);
  }
  return {};
}

Value Fiber::tile_barrier_wait(const Node& call) {
  const std::int64_t counter = uniform(evaluate(call.kids[0]));
  const Value barrier = constant(Type::integer, uniform(evaluate(call.kids[1])));
  const Value first_thread = evaluate(call.kids[2]);
  require_all();
  named_barrier_at(barrier, threads_);
  Buffer& workspace = *arguments_.workspace;
  for (int t = 0; t < threads_; ++t) {
    if (first_thread.slots[t] == 0) continue;
    count_one(workspace, counter);
    clocks_.publish(agent(t), block_.grid.flags[counter]);
    scheduler_.wait_until([&] { return flag_at(workspace, counter) == call.numbers[0]; },
                          [&] {
                            return fmt::format("line {}, block {}: not all blocks of the tile come",
                                               line_, block_.index[0]);
                          });
    clocks_.learn(agent(t), block_.grid.flags[counter]);
  }
  named_barrier_at(barrier, threads_);
  return {};
}

Value Fiber::tile_barrier_reset(const Node& call) {
  const std::int64_t counters = uniform(evaluate(call.kids[0]));
  const Value first_thread = evaluate(call.kids[1]);
  Buffer& workspace = *arguments_.workspace;
  for (int t = 0; t < threads_; ++t) {
    if (!active_[t] || first_thread.slots[t] == 0) continue;
    if (count_one(workspace, counters + 4) + 1 == call.numbers[0]) {
      std::memset(workspace.at(counters, 8), 0, 8);
    }
  }
  return {};
}

Value Fiber::reduce_scatter_add(const Node& call) {
  const Place kept = place(call.kids[0]);
  const auto first = static_cast<std::size_t>(4 * uniform(evaluate(call.kids[1])));
  const Value from = evaluate(call.kids[2]);
  for (int t = 0; t < threads_; ++t) {
    if (!active_[t]) continue;
    require_stored(from.slots[t], t);
    float values[4];
    std::memcpy(values, arguments_.workspace->read(from.slots[t], 16), 16);
    for (std::size_t i = 0; i < 4; ++i) {
      std::int64_t& sum = slot(kept, first + i, t);
      sum = bits(real(sum) + values[i]);
    }
  }
  return {};
}

}  // namespace marlin::simulator
