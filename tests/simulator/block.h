// One thread block in the middle of running: its variables, memories and active threads.
#pragma once

#include <bit>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "tests/simulator/machine.h"

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
  share,
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
};

// FP32 <-> its bits in a slot.
inline float real(std::int64_t slot) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(slot));
}
inline std::int64_t bits(float value) { return std::bit_cast<std::uint32_t>(value); }

// (Part of) a variable.
struct Place {
  Variable* variable = nullptr;
  std::size_t first = 0;  // slot
  std::size_t depth = 0;  // dimensions indexed so far
  Type type = Type::none;
};

class Block {
 public:
  Block(const Kernel& kernel, const LaunchShape& launch, const Arguments& arguments, int number,
        BankCounts& banks);

  // The blocks of this one's cluster by their ranks, itself among them.
  void join(const std::vector<Block*>& peers) { peers_ = peers; }
  // Runs to the next place where it waits for the other blocks of its cluster, or to its end: true.
  bool advance();

 private:
  using Primitive = Value (Block::*)(const Node&);
  static const std::unordered_map<std::string, Primitive>& primitives();

  // block.cpp: statements, names and places.
  void execute(const Node& node);
  void declare(const Node& node);
  void branch(const Node& node);
  void loop(const Node& node);
  bool narrow(const std::vector<bool>& go_on);
  void finish();
  void call_lambda(const Node& lambda, const Node& call);
  Variable& new_variable(const std::string& name, Type type, std::vector<std::int64_t> dimensions);
  Variable* find(const std::string& name);
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
  Value copy16(const Node& call);
  Value close_stage(const Node& call);
  Value wait_for_stage(const Node& call);
  Value sync_warp(const Node& call);
  Value sync_threads(const Node& call);
  Value load_words(const Node& call);
  Value load_tokens(const Node& call);
  Value dequantise(const Node& call);
  Value scale_weights(const Node& call);
  Value spread_scales(const Node& call);
  Value multiply(const Node& call);
  Value widen(const Node& call);
  Value add_scaled(const Node& call);
  Value clear(const Node& call);
  Value stage_sums(const Node& call);
  Value load_reals(const std::string& primitive, Type type, const Node& call);
  Value add_reals(Type type, const Node& call);
  Value load_quad(const Node& call);
  Value add_quad(const Node& call);
  Value scale_quad(const Node& call);
  Value store_quad(const Node& call);
  Value store_partial(const Node& call);
  Value load_partial(const Node& call);
  Value channel_scales_of(const Node& call);
  Value arrive_last(const Node& call);

  // cluster_primitives.cpp: those that only the decode family uses.
  Value launch_dependents(const Node& call);
  Value wait_for_previous(const Node& call);
  Value load16(const Node& call);
  Value store16(const Node& call);
  Value meet(const Node& call);
  Value expect_sums(const Node& call);
  Value arrive_at_cluster(const Node& call);
  Value wait_for_cluster(const Node& call);
  Value send_sums(const Node& call);
  Value wait_for_sums(const Node& call);
  Value keep_sums(const Node& call);
  Value load_pair(const Node& call);
  Value add_pair(const Node& call);
  Value trade(const Node& call);
  Value channel_scale_of(const Node& call);

  std::int64_t& slot(const Place& place, std::size_t slot, int thread) const {
    return place.variable->slots[(place.first + slot) * threads_ + thread];
  }
  Buffer& buffer_at(std::int64_t address) const;
  void count(const std::string& primitive, const std::vector<std::int64_t>& addresses, int width);
  void require_whole_warps() const;
  void require_all() const;
  // What the kernel before this one may still write or read is not touched before it is done.
  void require_done(const Buffer& buffer) const;
  [[noreturn]] void fail(const std::string& what) const;

  struct Copy {
    std::uint32_t to;
    const std::uint8_t* from;
  };

  const Kernel& kernel_;
  const LaunchShape launch_;
  const Arguments arguments_;
  int threads_;
  int block_index_[3];
  SharedMemory shared_;
  BankCounts& banks_;
  std::vector<bool> active_;
  int line_ = 0;
  std::vector<std::unordered_map<std::string, std::unique_ptr<Variable>>> scopes_;
  std::unordered_map<std::string, const Node*> lambdas_;
  std::vector<std::deque<std::vector<Copy>>> stages_;  // of each thread; the last one is open

  std::size_t next_ = 0;  // statement of the body
  bool previous_done_;
  std::vector<Block*> peers_;
  // The barrier by which sums come from the cluster; bytes < 0: not made yet.
  struct Expected {
    std::uint32_t barrier = 0;
    std::int64_t bytes = -1, arrived = 0;
  };
  Expected expected_;
  bool arrived_ = false, joined_ = false;  // at the cluster, and past it
};

}  // namespace marlin::simulator
