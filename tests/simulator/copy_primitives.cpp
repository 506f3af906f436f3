// Calls of device primitives -> their effect: barriers in shared memory, the asynchronous copies
// that signal them, stores by such copies, sums that go from block to block through L2.
// Entry point: Fiber::primitives (primitives.cpp).
#include <fmt/format.h>

#include <cstring>
#include <stdexcept>

#include "tests/simulator/fiber.h"

namespace marlin::simulator {

// ---- Barriers in shared memory.

Value Fiber::mbarrier_init(const Node& call) {
  const Value barrier = evaluate(call.kids[0]), arrivals = evaluate(call.kids[1]);
  for (int t = 0; t < threads_; ++t) {
    if (active_[t]) add_barrier(barrier.slots[t], arrivals.slots[t]);
  }
  return {};
}

void Fiber::add_barrier(std::int64_t address, std::int64_t arrivals) {
  const auto at = static_cast<std::uint32_t>(address);
  block_.shared.require_aligned(at, 8);
  CopyBarrier barrier;
  barrier.arrivals = barrier.pending = static_cast<int>(arrivals);
  barrier.copies = clocks_.add_agents(1);
  if (!block_.barriers.emplace(at, barrier).second) fail("a barrier made twice");
}

Value Fiber::fence_mbarrier_init(const Node&) { return {}; }

Value Fiber::named_barrier_arrive(const Node& call) {
  require_whole_warps();
  if (block_.told != 0) fail("barriers made twice");
  block_.told = call.numbers[1];
  return {};
}

// By all warps that use them but the one that has made them.
Value Fiber::sync_with_arrival(const Node& call) {
  require_all();
  scheduler_.wait_until([&] { return block_.told != 0; },
                        [] { return "barriers that no warp says are made"; });
  if (block_.told != call.numbers[1] || block_.told != launch_.threads - threads_ + 32) {
    fail("more or fewer threads than use the barriers");
  }
  return {};
}

CopyBarrier& Fiber::barrier_at(Block& block, std::int64_t address) {
  const auto found = block.barriers.find(static_cast<std::uint32_t>(address));
  if (found == block.barriers.end()) fail("a barrier that is not there");
  return found->second;
}

Block& Fiber::peer_of(std::int64_t rank) const {
  if (rank < 0 || rank >= static_cast<std::int64_t>(block_.peers.size())) fail("no such rank");
  if (block_.peers[rank]->running == 0) fail("that block of the cluster has ended");
  return *block_.peers[rank];
}

void Fiber::arrive_at(CopyBarrier& barrier, int thread) {
  if (--barrier.pending < 0) fail("more arrivals at a barrier than its phase has");
  clocks_.publish(agent(thread), barrier.gathered);
  end_phase(barrier);
}

void Fiber::end_phase(CopyBarrier& barrier) {
  if (barrier.pending > 0 || barrier.bytes != 0) return;
  ++barrier.phase;
  barrier.pending = barrier.arrivals;
  clocks_.publish(barrier.copies, barrier.gathered);
  barrier.released = barrier.gathered;
}

Value Fiber::mbarrier_arrive_expect_tx(const Node& call) {
  const Value barrier = evaluate(call.kids[0]), bytes = evaluate(call.kids[1]);
  for (int t = 0; t < threads_; ++t) {
    if (!active_[t]) continue;
    CopyBarrier& at = barrier_at(block_, barrier.slots[t]);
    at.bytes += bytes.slots[t];
    arrive_at(at, t);
  }
  return {};
}

Value Fiber::mbarrier_arrive(const Node& call) {
  const Value barrier = evaluate(call.kids[0]);
  for (int t = 0; t < threads_; ++t) {
    if (active_[t]) arrive_at(barrier_at(block_, barrier.slots[t]), t);
  }
  return {};
}

Value Fiber::mbarrier_arrive_cluster(const Node& call) {
  const Value barrier = evaluate(call.kids[0]), rank = evaluate(call.kids[1]);
  for (int t = 0; t < threads_; ++t) {
    if (active_[t]) arrive_at(barrier_at(peer_of(rank.slots[t]), barrier.slots[t]), t);
  }
  return {};
}

Value Fiber::mbarrier_wait_parity(const Node& call) {
  const std::int64_t barrier = uniform(evaluate(call.kids[0]));
  wait_at(barrier, static_cast<int>(uniform(evaluate(call.kids[1]))));
  return {};
}

// A barrier's parity is that of the phase under way; the one before has ended.
void Fiber::wait_at(std::int64_t barrier, int parity) {
  const CopyBarrier& at = barrier_at(block_, barrier);
  if (parity != 0 && parity != 1) fail("a parity that is neither 0 nor 1");
  scheduler_.wait_until([&] { return (at.phase & 1) != parity; },
                        [&] {
                          return fmt::format(
                              "line {}, block {}: {} arrivals and {} bytes are missing", line_,
                              block_.index[0], at.pending, at.bytes);
                        });
  for (int t = 0; t < threads_; ++t) {
    if (active_[t]) clocks_.learn(agent(t), at.released);
  }
}

// Unlike the relaxed arrival of cluster_primitives.cpp, this one tells of what was done before.
Value Fiber::cluster_sync(const Node&) {
  require_all();
  Meeting& cluster = *block_.cluster;
  for (int t = 0; t < threads_; t += 32) clocks_.publish(agent(t), cluster.gathered);
  const int mine = cluster.arrive();
  scheduler_.wait_until([&] { return cluster.generation != mine; },
                        [] { return "a block of the cluster does not arrive"; });
  for (int t = 0; t < threads_; t += 32) clocks_.learn(agent(t), cluster.gathered);
  for (int t = 0; t < threads_; t += 32) block_.shared.warp_barrier(id(t) / 32);
  return {};
}

// ---- Copies to shared memory.

const TensorMap& Fiber::map_of(const Node& node) {
  const bool address = node.kind == Node::Kind::unary && node.text == "&";
  const auto found = arguments_.maps.find(address ? node.kids[0].text : "");
  if (found == arguments_.maps.end()) fail("no such tensor map");
  return found->second;
}

Value Fiber::prefetch_tensormap(const Node& call) {
  map_of(call.kids[0]);
  return {};
}

// What a copy brings of the box that begins at column x of row y; zeros from outside the matrix.
std::vector<std::uint32_t> Fiber::box_words(const TensorMap& map, std::int64_t x, std::int64_t y,
                                            int thread) {
  require_done(*map.matrix, thread);
  const TensorBox& box = map.box;
  const int step = 16 / box.element_bytes();  // of 16 bytes
  if (x % step != 0 || box.box_columns % step != 0) fail("a box of parts of 16 bytes");
  std::vector<std::uint32_t> words;
  for (std::int64_t row = y; row < y + box.box_rows; ++row) {
    for (std::int64_t column = x; column < x + box.box_columns; column += step) {
      std::uint32_t chunk[4] = {0, 0, 0, 0};
      if (row >= 0 && row < map.rows && column >= 0 && column < box.columns) {
        const std::int64_t at = row * box.row_bytes + column * box.element_bytes();
        std::memcpy(chunk, map.matrix->read(map.matrix->base + at, 16), 16);
      }
      words.insert(words.end(), chunk, chunk + 4);
    }
  }
  return words;
}

void Fiber::deliver(Block& to, std::int64_t address, const std::vector<std::uint32_t>& words,
                    std::int64_t barrier, int thread, bool swizzled) {
  CopyBarrier& at = barrier_at(to, barrier);
  auto place = static_cast<std::uint32_t>(address);
  to.shared.require_aligned(place, swizzled ? 128 : 16);
  for (const std::uint32_t word : words) {
    to.shared.receive(agent(thread), at.copies, clocks_.time(at.copies),
                      swizzled ? swizzle(place) : place, word);
    place += 4;
  }
  clocks_.publish(agent(thread), at.gathered);  // they arrive after the copy was asked for
  at.bytes -= static_cast<std::int64_t>(4 * words.size());
  end_phase(at);
}

Value Fiber::tma_load_2d(const Node& call) {
  const Value to = evaluate(call.kids[0]);
  const TensorMap& map = map_of(call.kids[1]);
  const Value x = evaluate(call.kids[2]), y = evaluate(call.kids[3]);
  const Value barrier = evaluate(call.kids[4]);
  for (int t = 0; t < threads_; ++t) {
    if (!active_[t]) continue;
    deliver(block_, to.slots[t], box_words(map, x.slots[t], y.slots[t], t), barrier.slots[t], t,
            map.box.swizzled);
  }
  return {};
}

Value Fiber::tma_load_2d_multicast(const Node& call) {
  const Value to = evaluate(call.kids[0]);
  const TensorMap& map = map_of(call.kids[1]);
  const Value x = evaluate(call.kids[2]), y = evaluate(call.kids[3]);
  const Value barrier = evaluate(call.kids[4]), blocks = evaluate(call.kids[5]);
  for (int t = 0; t < threads_; ++t) {
    if (!active_[t]) continue;
    const std::vector<std::uint32_t> words = box_words(map, x.slots[t], y.slots[t], t);
    for (int rank = 0; blocks.slots[t] >> rank != 0; ++rank) {
      if ((blocks.slots[t] >> rank & 1) == 0) continue;
      deliver(peer_of(rank), to.slots[t], words, barrier.slots[t], t, map.box.swizzled);
    }
  }
  return {};
}

Value Fiber::bulk_copy(const Node& call) {
  const Value to = evaluate(call.kids[0]), from = evaluate(call.kids[1]);
  const Value bytes = evaluate(call.kids[2]), barrier = evaluate(call.kids[3]);
  for (int t = 0; t < threads_; ++t) {
    if (!active_[t]) continue;
    if (bytes.slots[t] % 16 != 0) fail("a copy of parts of 16 bytes");
    Buffer& buffer = buffer_at(from.slots[t]);
    require_done(buffer, t);
    std::vector<std::uint32_t> words(static_cast<std::size_t>(bytes.slots[t] / 4));
    for (std::int64_t i = 0; i < bytes.slots[t]; i += 16) {
      std::memcpy(words.data() + i / 4, buffer.read(from.slots[t] + i, 16), 16);
      if (&buffer == arguments_.workspace) require_stored(from.slots[t] + i, t);
    }
    deliver(block_, to.slots[t], words, barrier.slots[t], t);
  }
  return {};
}

// ---- Stores by copies.

Value Fiber::fence_proxy_async(const Node&) {
  require_whole_warps();
  for (int t = 0; t < threads_; t += 32) {
    if (active_[t]) block_.shared.fence_proxy_async(id(t) / 32);
  }
  return {};
}

Value Fiber::tma_store_2d(const Node& call) {
  const TensorMap& map = map_of(call.kids[0]);
  const Value from = evaluate(call.kids[1]);
  const Value x = evaluate(call.kids[2]), y = evaluate(call.kids[3]);
  for (int t = 0; t < threads_; ++t) {
    if (!active_[t]) continue;
    require_done(*map.matrix, t);
    auto place = static_cast<std::uint32_t>(from.slots[t]);
    block_.shared.require_aligned(place, 128);
    for (int row = 0; row < map.box.box_rows; ++row) {
      for (int column = 0; column < map.box.box_columns; column += 8, place += 16) {
        store_chunk(map, place, x.slots[t] + column, y.slots[t] + row, t);
      }
    }
  }
  return {};
}

// Eight elements of C, unless they lie outside it.
void Fiber::store_chunk(const TensorMap& map, std::uint32_t from, std::int64_t x, std::int64_t y,
                        int thread) {
  const std::uint32_t place = map.box.swizzled ? swizzle(from) : from;
  std::uint32_t words[4];
  for (std::uint32_t i = 0; i < 4; ++i) {
    words[i] = block_.shared.hold(id(thread), place + 4 * i, true);
    stores_[thread].back().words.push_back(place + 4 * i);
  }
  if (y < 0 || y >= map.rows || x < 0 || x >= map.box.columns) return;
  const std::int64_t at = y * map.box.row_bytes + x * map.box.element_bytes();
  std::memcpy(map.matrix->write(map.matrix->base + at, 16), words, 16);
}

Value Fiber::tma_store_commit(const Node&) {
  for (int t = 0; t < threads_; ++t) {
    if (active_[t]) stores_[t].emplace_back();
  }
  return {};
}

Value Fiber::tma_store_wait(const Node& call) {
  const auto pending = static_cast<std::size_t>(call.numbers[0]);
  for (int t = 0; t < threads_; ++t) {
    if (!active_[t]) continue;
    while (stores_[t].size() > pending + 1) {
      for (const std::uint32_t word : stores_[t].front().words) {
        block_.shared.let_go(id(t), word);
      }
      stores_[t].pop_front();
    }
  }
  return {};
}

}  // namespace marlin::simulator
