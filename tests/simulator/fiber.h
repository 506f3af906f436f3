// Threads of a block that go through statements together, in the middle of running: their
// variables and which of them are active.
#pragma once

#include <bit>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "tests/simulator/block.h"
#include "tests/simulator/machine.h"
#include "tests/simulator/scheduler.h"

namespace marlin::simulator {

enum class Type {
  none,
  integer,
  unsigned_integer,
  long_integer,
  pointer,
  real,
  uint2,
  uint4,
  float2,
  float4,
  shared_tile,
  stripe
};
int slots_of(Type type);

// A value of every thread: slot s of thread t at slots[s * threads + t]. FP32 is kept as its bits.
struct Value {
  Type type = Type::none;
  std::vector<std::int64_t> slots;
};

struct Variable {
  Type type = Type::none;
  std::vector<std::int64_t> dimensions;
  std::vector<std::int64_t> slots;
  // Of each slot of all threads: the product group that has it in hand, and since how many fences
  // of the fiber something else has had it.
  std::vector<int> held, touched;
};

// FP32 <-> its bits in a slot.
inline float real(std::int64_t slot) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(slot));
}
inline std::int64_t bits(float value) { return std::bit_cast<std::uint32_t>(value); }

// (Part of) a variable.
struct Place {
  std::shared_ptr<Variable> variable;
  std::size_t first = 0;  // slot
  std::size_t depth = 0;  // dimensions indexed so far
  Type type = Type::none;
};

class Fiber {
 public:
  // Threads [first_thread, first_thread + threads) of the block.
  Fiber(const Kernel& kernel, const LaunchShape& launch, const Arguments& arguments, Block& block,
        Scheduler& scheduler, Clocks& clocks, BankCounts& banks, int first_thread, int threads);

  // To its end.
  void run();

 private:
  using Primitive = Value (Fiber::*)(const Node&);
  static const std::unordered_map<std::string, Primitive>& primitives();

  // fiber.cpp: statements, names and places.
  void execute(const Node& node);
  void declare(const Node& node);
  void branch(const Node& node);
  void loop(const Node& node);
  bool narrow(const std::vector<bool>& go_on);
  void leave(const Node& node);
  bool any_active() const;
  void finish();
  Value call_lambda(const Node& lambda, const Node& call);
  std::shared_ptr<Variable> new_variable(const std::string& name, Type type,
                                         std::vector<std::int64_t> dimensions);
  std::shared_ptr<Variable> find(const std::string& name);
  Place place(const Node& node);
  void assign(const Place& place, const Value& value);

  // evaluate.cpp: expressions.
  Value evaluate(const Node& node);
  Value load(const Place& place) const;
  Value number(const Node& node) const;
  Value index(const Node& node);
  Value field(const Node& node);
  Value unary(const Node& node);
  Value step(const Node& node, bool value_before);
  Value binary(const Node& node);
  Value arithmetic(const std::string& op, const Value& left, const Value& right);
  Value update(const Node& node);
  Value store_output(const Node& node);
  Value choice(const Node& node);
  Value call(const Node& node);
  Value cast(const Node& node);
  Value braces(const Node& node);
  Value constant(Type type, std::int64_t value) const;
  std::int64_t uniform(const Value& value) const;
  std::vector<bool> truth(const Value& value) const;

  // primitives.cpp: what templates/device/ does.
  Value shared_address(const Node& call);
  Value minimum(const Node& call);
  Value maximum(const Node& call);
  Value smaller(const Node& call, bool larger);
  Value cp_async16(const Node& call);
  Value cp_async_commit(const Node& call);
  Value cp_async_wait(const Node& call);
  Value sync_warp(const Node& call);
  Value sync_threads(const Node& call);
  Value ld_shared(const Node& call);
  Value ldmatrix(const Node& call);
  Value dequantise(const Node& call);
  Value scale_weights(const Node& call);
  Value spread_scales(const Node& call);
  Value mma(const Node& call);
  Value unpack_half2(const Node& call);
  Value add_scaled(const Node& call);
  Value clear(const Node& call);
  Value stage_sums(const Node& call);
  Value load_reals(const std::string& primitive, Type type, const Node& call);
  Value add_reals(Type type, const Node& call);
  Value load_float4(const Node& call);
  Value add_float4(const Node& call);
  Value scale_float4(const Node& call);
  Value store_half4(const Node& call);
  Value store_partial(const Node& call);
  void store_partial_at(std::int64_t to, const float (&values)[4], int thread);
  Value load_partial(const Node& call);
  Value channel_scales_of(const Node& call);
  Value is_last_arriver(const Node& call);

  // cluster_primitives.cpp: those of clusters and dependent launches.
  Value launch_dependents(const Node& call);
  Value wait_for_previous(const Node& call);
  Value ld_global_cg(const Node& call);
  Value st_shared(const Node& call);
  Value named_barrier_sync(const Node& call);
  void named_barrier_at(const Value& barrier, std::int64_t threads);
  Value cluster_reduce_expect(const Node& call);
  Value cluster_arrive_relaxed(const Node& call);
  Value cluster_wait(const Node& call);
  Value cluster_reduce_send(const Node& call);
  Value cluster_reduce_wait(const Node& call);
  Value stage_fragment(const Node& call);
  Value load_float2(const Node& call);
  Value add_float2(const Node& call);
  Value shuffle_half2(const Node& call);
  Value channel_scale_of(const Node& call);

  // copy_primitives.cpp: barriers in shared memory and the copies that signal them.
  Value mbarrier_init(const Node& call);
  Value fence_mbarrier_init(const Node& call);
  Value named_barrier_arrive(const Node& call);
  Value sync_with_arrival(const Node& call);
  Value mbarrier_arrive_expect_tx(const Node& call);
  Value mbarrier_arrive(const Node& call);
  Value mbarrier_arrive_cluster(const Node& call);
  Value mbarrier_wait_parity(const Node& call);
  Value cluster_sync(const Node& call);
  Value prefetch_tensormap(const Node& call);
  Value tma_load_2d(const Node& call);
  Value tma_load_2d_multicast(const Node& call);
  Value bulk_copy(const Node& call);
  Value fence_proxy_async(const Node& call);
  Value tma_store_2d(const Node& call);
  Value tma_store_commit(const Node& call);
  Value tma_store_wait(const Node& call);
  CopyBarrier& barrier_at(Block& block, std::int64_t address);
  void arrive_at(CopyBarrier& barrier, int thread);
  void end_phase(CopyBarrier& barrier);
  void wait_at(std::int64_t barrier, int parity);
  const TensorMap& map_of(const Node& node);
  std::vector<std::uint32_t> box_words(const TensorMap& map, std::int64_t x, std::int64_t y,
                                       int thread);
  void deliver(Block& to, std::int64_t address, const std::vector<std::uint32_t>& words,
               std::int64_t barrier, int thread, bool swizzled = false);
  Block& peer_of(std::int64_t rank) const;
  void add_barrier(std::int64_t address, std::int64_t arrivals);
  void store_chunk(const TensorMap& map, std::uint32_t from, std::int64_t x, std::int64_t y,
                   int thread);

  // fixup_primitives.cpp: partial sums from block to block through the workspace.
  Value fixup_signal(const Node& call);
  Value fixup_wait(const Node& call);
  Value fixup_store(const Node& call);
  Value reduce_scatter_store(const Node& call);
  Value tile_barrier_wait(const Node& call);
  Value tile_barrier_reset(const Node& call);
  Value reduce_scatter_add(const Node& call);
  void require_stored(std::int64_t address, int thread);

  // warpgroup_primitives.cpp: products of a warpgroup and what becomes of their sums.
  Value first_lane(const Node& call);
  Value set_registers(const Node& call);
  Value warpgroup_arrive(const Node& call);
  Value warpgroup_commit(const Node& call);
  Value warpgroup_wait(const Node& call);
  Value activation_descriptor(const Node& call);
  Value wgmma(const Node& call);
  Value scale_sums(const Node& call);
  Value stmatrix_trans(const Node& call);
  Value load_accumulators(const Node& call);
  Value add_accumulators(const Node& call);
  void accumulators_from(const Node& call, bool add);
  std::vector<float> read_activations(std::int64_t descriptor, int tokens);
  void hold(const Place& place, std::size_t slots);
  void require_settled(const Place& place, std::size_t slots, bool sums) const;

  std::int64_t& slot(const Place& place, std::size_t slot, int thread) const {
    touch(place, slot);
    return place.variable->slots[(place.first + slot) * threads_ + thread];
  }
  // Products that still run have neither their fragments nor their sums touched.
  void touch(const Place& place, std::size_t slot) const;
  std::size_t extent(const Place& place) const;  // slots
  int id(int thread) const { return first_thread_ + thread; }
  int agent(int thread) const { return block_.shared.agent(id(thread)); }
  Buffer& buffer_at(std::int64_t address) const;
  void count(const std::string& primitive, const std::vector<std::int64_t>& addresses, int width);
  void require_whole_warps() const;
  void require_all() const;
  // What the kernel before this one may still write or read is not touched before it is done.
  void require_done(const Buffer& buffer, int thread) const;
  [[noreturn]] void fail(const std::string& what) const;

  struct Copy {
    std::uint32_t to;
    const std::uint8_t* from;
  };

  const Kernel& kernel_;
  const LaunchShape launch_;
  const Arguments arguments_;
  Block& block_;
  Scheduler& scheduler_;
  Clocks& clocks_;
  BankCounts& banks_;
  int first_thread_, threads_;
  std::vector<bool> active_;
  std::vector<bool> left_;        // a loop's round or a lambda before its end
  std::vector<bool> broken_out_;  // of the innermost loop
  int line_ = 0;
  std::vector<std::unordered_map<std::string, std::shared_ptr<Variable>>> scopes_;
  std::unordered_map<std::string, const Node*> lambdas_;
  Value returned_;
  std::vector<std::deque<std::vector<Copy>>> stages_;  // of each thread; the last one is open
  bool arrived_ = false, joined_ = false;              // at the cluster, and past it
  int cluster_generation_ = 0;

  // Asynchronous work in groups, the last one open: what it reads of shared memory, and the
  // registers of products.
  struct Group {
    int number = 0;
    std::vector<std::uint32_t> words;
    std::vector<std::pair<std::shared_ptr<Variable>, std::size_t>> slots;
  };
  std::deque<Group> products_{1};
  std::vector<std::deque<Group>> stores_;  // of each thread
  int fences_ = 1;
};

}  // namespace marlin::simulator
