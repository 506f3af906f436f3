// Statements of an emitted kernel -> changes of a fiber's variables and its block's memories.
// Entry points: run, Fiber::run.
#include "tests/simulator/fiber.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <stdexcept>

namespace marlin::simulator {

namespace {

using Kind = Node::Kind;

constexpr std::uint32_t kSharedBase = 1024;  // not zero, so that no address is right by chance
constexpr std::int64_t kSharedPointer = std::int64_t{15} << 44;

Type type_named(const std::string& name) {
  static const std::map<std::string, Type> types = {
      {"int", Type::integer},      {"unsigned", Type::unsigned_integer},
      {"float", Type::real},       {"uint2", Type::uint2},
      {"uint4", Type::uint4},      {"float2", Type::float2},
      {"float4", Type::float4},    {"SharedTile", Type::shared_tile},
      {"Stripe", Type::stripe},    {"bool", Type::integer},
      {"long", Type::long_integer}};
  if (name.ends_with("*")) return Type::pointer;
  const auto found = types.find(name);
  if (found == types.end()) throw std::runtime_error("no model of the type " + name);
  return found->second;
}

}  // namespace

int slots_of(Type type) {
  switch (type) {
    case Type::none: return 0;
    case Type::uint2:
    case Type::float2: return 2;
    case Type::uint4:
    case Type::float4:
    case Type::shared_tile: return 4;
    case Type::stripe: return 12;
    default: return 1;
  }
}

Fiber::Fiber(const Kernel& kernel, const LaunchShape& launch, const Arguments& arguments,
             Block& block, Scheduler& scheduler, Clocks& clocks, BankCounts& banks,
             int first_thread, int threads)
    : kernel_(kernel),
      launch_(launch),
      arguments_(arguments),
      block_(block),
      scheduler_(scheduler),
      clocks_(clocks),
      banks_(banks),
      first_thread_(first_thread),
      threads_(threads),
      active_(threads, true),
      left_(threads, false),
      broken_out_(threads, false),
      scopes_(1),
      stages_(threads, std::deque<std::vector<Copy>>(1)),
      stores_(threads, std::deque<Group>(1)) {
  const auto pointer = [&](const char* name, std::int64_t address) {
    std::vector<std::int64_t>& slots = new_variable(name, Type::pointer, {})->slots;
    std::fill(slots.begin(), slots.end(), address);
  };
  pointer("a", arguments.a->base);
  pointer("b", arguments.b->base);
  pointer("scales", arguments.scales->base);
  pointer("c", arguments.c->base);
  pointer("workspace", arguments.workspace->base);
  pointer("shared_memory", kSharedPointer + kSharedBase);
  std::vector<std::int64_t>& m = new_variable("m", Type::integer, {})->slots;
  std::fill(m.begin(), m.end(), arguments.m);
  scopes_.emplace_back();  // of the body
}

void Fiber::run() {
  try {
    for (const Node& node : kernel_.body.kids) execute(node);
    finish();
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(fmt::format("line {}, block {},{},{}, thread {}: {}", line_,
                                         block_.index[0], block_.index[1], block_.index[2],
                                         first_thread_, error.what()));
  }
}

void Fiber::finish() {
  for (const auto& stages : stages_) {
    for (const auto& stage : stages) {
      if (!stage.empty()) fail("a block ends with copies on their way");
    }
  }
  for (const auto& stores : stores_) {
    for (const Group& group : stores) {
      if (!group.words.empty()) fail("a block ends with copies that still read its memory");
    }
  }
  if (products_.size() > 1 || !products_.back().words.empty()) {
    fail("a block ends with products that still run");
  }
  if (arrived_ && !joined_) fail("a block ends before its cluster has met");
  if (--block_.running > 0) return;
  for (const auto& [address, barrier] : block_.barriers) {
    if (barrier.bytes != 0) fail("a block ends with copies on their way");
  }
  bool waited = false;
  for (int t = 0; t < launch_.threads; t += 32) {
    waited = waited || clocks_.knows(block_.shared.agent(t), block_.grid.previous, 1);
  }
  if (!waited) fail("a block never waits for the previous kernel");
}

void Fiber::fail(const std::string& what) const { throw std::runtime_error(what); }

void Fiber::execute(const Node& node) {
  line_ = node.line;
  switch (node.kind) {
    case Kind::block: {
      scopes_.emplace_back();
      for (const Node& kid : node.kids) {
        if (any_active()) execute(kid);
      }
      scopes_.pop_back();
      return;
    }
    case Kind::leave: leave(node); return;
    case Kind::declare: declare(node); return;
    case Kind::lambda: lambdas_[node.text] = &node; return;
    case Kind::branch: branch(node); return;
    case Kind::loop: loop(node); return;
    default: evaluate(node);
  }
}

void Fiber::declare(const Node& node) {
  const Type type = type_named(node.text);
  for (const Node& declared : node.kids) {
    Value value;
    if (!declared.kids.empty()) value = evaluate(declared.kids[0]);
    const auto variable = new_variable(declared.text, type, declared.numbers);
    if (!declared.kids.empty()) assign({variable, 0, 0, type}, value);
  }
}

void Fiber::branch(const Node& node) {
  const std::vector<bool> before = active_;
  const std::vector<bool> yes = truth(evaluate(node.kids[0]));
  for (std::size_t way = 1; way < node.kids.size(); ++way) {
    bool any = false;
    for (int t = 0; t < threads_; ++t) {
      active_[t] = before[t] && yes[t] == (way == 1);
      any = any || active_[t];
    }
    if (any) execute(node.kids[way]);
  }
  for (int t = 0; t < threads_; ++t) active_[t] = before[t] && !left_[t];
}

// "continue", "break", or "return" of a lambda: nothing more for these threads until its end.
void Fiber::leave(const Node& node) {
  if (!node.kids.empty()) {
    const Value value = evaluate(node.kids[0]);
    if (returned_.slots.empty()) returned_ = value;
    for (std::size_t i = 0; i < value.slots.size(); ++i) {
      if (active_[i % threads_]) returned_.slots[i] = value.slots[i];
    }
  }
  for (int t = 0; t < threads_; ++t) {
    left_[t] = left_[t] || active_[t];
    if (node.text == "break") broken_out_[t] = broken_out_[t] || active_[t];
    active_[t] = false;
  }
}

bool Fiber::any_active() const {
  return std::any_of(active_.begin(), active_.end(), [](bool active) { return active; });
}

// Leaves those of the active threads active that go on; false when none does. A warp's threads stay
// together.
bool Fiber::narrow(const std::vector<bool>& go_on) {
  bool any = false;
  for (int first = 0; first < threads_; first += 32) {
    bool some = false, all = true;
    for (int t = first; t < first + 32; ++t) {
      some = some || (active_[t] && go_on[t]);
      all = all && (!active_[t] || go_on[t]);
    }
    if (some && !all) fail("threads of a warp disagree on a loop");
    for (int t = first; t < first + 32; ++t) active_[t] = active_[t] && some;
    any = any || some;
  }
  return any;
}

// Warps leave a loop when they are done with it.
void Fiber::loop(const Node& node) {
  constexpr int kMany = 1 << 20;
  const std::vector<bool> before = active_;
  std::vector<bool> outer_loop(threads_);
  std::swap(outer_loop, broken_out_);
  scopes_.emplace_back();
  execute(node.kids[0]);
  for (int rounds = 0;; ++rounds) {
    if (rounds == kMany) fail("a loop without end");
    const std::vector<bool> more = truth(evaluate(node.kids[1]));
    if (!narrow(more)) break;
    const std::vector<bool> round = active_, left_before = left_;
    execute(node.kids[3]);
    left_ = left_before;
    std::vector<bool> stay = broken_out_;
    stay.flip();
    active_ = round;
    if (!narrow(stay)) break;
    execute(node.kids[2]);
  }
  scopes_.pop_back();
  std::swap(outer_loop, broken_out_);
  active_ = before;
}

Value Fiber::call_lambda(const Node& lambda, const Node& call) {
  std::vector<Value> values;
  for (const Node& argument : call.kids) values.push_back(evaluate(argument));
  if (values.size() + 1 != lambda.kids.size()) fail("arguments of " + call.text);
  const std::vector<bool> before = active_, left_before = left_;
  Value result;
  std::swap(result, returned_);
  scopes_.emplace_back();
  for (std::size_t i = 0; i < values.size(); ++i) {
    const Node& parameter = lambda.kids[i + 1];
    const Type type = type_named(parameter.text);
    assign({new_variable(parameter.kids[0].text, type, {}), 0, 0, type}, values[i]);
  }
  execute(lambda.kids[0]);
  scopes_.pop_back();
  active_ = before;
  left_ = left_before;
  std::swap(result, returned_);
  return result;
}

std::shared_ptr<Variable> Fiber::new_variable(const std::string& name, Type type,
                                              std::vector<std::int64_t> dimensions) {
  std::size_t slots = slots_of(type);
  for (const std::int64_t size : dimensions) slots *= static_cast<std::size_t>(size);
  auto variable = std::make_shared<Variable>();
  variable->type = type;
  variable->dimensions = std::move(dimensions);
  variable->slots.assign(slots * threads_, SharedMemory::kPoison);
  variable->held.assign(slots, 0);
  variable->touched.assign(slots, 0);
  auto& place = scopes_.back()[name];
  if (place != nullptr) fail("declared twice: " + name);
  place = std::move(variable);
  return place;
}

std::shared_ptr<Variable> Fiber::find(const std::string& name) {
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    const auto found = scope->find(name);
    if (found != scope->end()) return found->second;
  }
  return nullptr;
}

void Fiber::touch(const Place& place, std::size_t slot) const {
  Variable& variable = *place.variable;
  if (variable.held[place.first + slot] != 0) fail("registers of a product that still runs");
  variable.touched[place.first + slot] = fences_;
}

std::size_t Fiber::extent(const Place& place) const {
  std::size_t slots = slots_of(place.type);
  const auto& dimensions = place.variable->dimensions;
  for (std::size_t d = place.depth; d < dimensions.size(); ++d) slots *= dimensions[d];
  return slots;
}

Place Fiber::place(const Node& node) {
  if (node.kind == Kind::name) {
    const std::shared_ptr<Variable> variable = find(node.text);
    if (variable == nullptr) fail("no variable " + node.text);
    return {variable, 0, 0, variable->type};
  }
  if (node.kind == Kind::index) {
    Place whole = place(node.kids[0]);
    const auto& dimensions = whole.variable->dimensions;
    if (whole.depth == dimensions.size()) fail("too many indices");
    const std::int64_t at = uniform(evaluate(node.kids[1]));
    if (at < 0 || at >= dimensions[whole.depth]) fail(fmt::format("index {} outside", at));
    std::size_t stride = slots_of(whole.type);
    for (std::size_t d = whole.depth + 1; d < dimensions.size(); ++d) stride *= dimensions[d];
    return {whole.variable, whole.first + at * stride, whole.depth + 1, whole.type};
  }
  if (node.kind != Kind::field) fail("not a place");
  static const std::map<Type, std::map<std::string, std::pair<int, Type>>> fields = {
      {Type::uint4,
       {{"x", {0, Type::unsigned_integer}},
        {"y", {1, Type::unsigned_integer}},
        {"z", {2, Type::unsigned_integer}},
        {"w", {3, Type::unsigned_integer}}}},
      {Type::float2, {{"x", {0, Type::real}}, {"y", {1, Type::real}}}},
      {Type::shared_tile,
       {{"contributors", {0, Type::integer}},
        {"rank", {1, Type::integer}},
        {"counter", {2, Type::integer}},
        {"slot", {3, Type::integer}}}},
      {Type::stripe,
       {{"m_tile", {0, Type::integer}},
        {"n_tile", {1, Type::integer}},
        {"k_tile", {2, Type::integer}},
        {"k_tiles", {3, Type::integer}},
        {"first", {4, Type::shared_tile}},
        {"last", {8, Type::shared_tile}}}}};
  const Place whole = place(node.kids[0]);
  const auto type = fields.find(whole.type);
  if (type == fields.end() || !type->second.contains(node.text)) fail("no field " + node.text);
  const auto [offset, field_type] = type->second.at(node.text);
  return {whole.variable, whole.first + offset, whole.depth, field_type};
}

void Fiber::assign(const Place& place, const Value& value) {
  const std::size_t slots = slots_of(place.type);
  if (value.slots.size() != slots * threads_) fail("an assignment of another type");
  for (std::size_t s = 0; s < slots; ++s) {
    for (int t = 0; t < threads_; ++t) {
      if (!active_[t]) continue;
      std::int64_t bits = value.slots[s * threads_ + t];
      if (place.type == Type::integer) bits = static_cast<std::int32_t>(bits);
      if (place.type == Type::unsigned_integer) bits = static_cast<std::uint32_t>(bits);
      slot(place, s, t) = bits;
    }
  }
}

namespace {

std::vector<int> order_of(int blocks, unsigned seed) {
  std::vector<int> order(blocks);
  std::iota(order.begin(), order.end(), 0);
  std::mt19937 random(seed);
  if (seed != 0) std::shuffle(order.begin(), order.end(), random);
  return order;
}

// Blocks that wait for each other, with all that they share.
class Launch {
 public:
  Launch(const Kernel& kernel, const LaunchShape& launch, const Arguments& arguments,
         BankCounts& banks, unsigned order_seed)
      : kernel_(kernel),
        launch_(launch),
        arguments_(arguments),
        banks_(banks),
        scheduler_(order_seed),
        grid_{clocks_.add_agents(1), {}} {}

  void add_cluster(int first) {
    std::vector<Block*> peers;
    Meeting& meeting = *meetings_.emplace_back(std::make_unique<Meeting>());
    for (int rank = 0; rank < launch_.cluster; ++rank) {
      peers.push_back(&add_block(first + rank));
      meeting.fibers += peers.back()->running;
    }
    for (Block* block : peers) {
      block->cluster = &meeting;
      block->peers = peers;
    }
  }

  void run() { scheduler_.run(); }

 private:
  Block& add_block(int number) {
    const int warps = launch_.threads / 32;
    Block& block = *blocks_.emplace_back(
        std::make_unique<Block>(clocks_, kSharedBase, launch_.shared_bytes, warps, grid_));
    block.index[0] = number % launch_.grid_x;
    block.index[1] = number / launch_.grid_x % launch_.grid_y;
    block.index[2] = number / launch_.grid_x / launch_.grid_y;
    for (int warp = 0; warp < warps && !launch_.dependent; ++warp) {
      clocks_.learn_from(block.shared.agent(32 * warp), grid_.previous);
    }
    const int threads = launch_.warpgroups_part ? 128 : launch_.threads;
    for (int first = 0; first < launch_.threads; first += threads) {
      scheduler_.add([this, &block, first, threads] {
        Fiber(kernel_, launch_, arguments_, block, scheduler_, clocks_, banks_, first, threads)
            .run();
      });
      block.whole.fibers = ++block.running;
    }
    return block;
  }

  const Kernel& kernel_;
  const LaunchShape& launch_;
  const Arguments& arguments_;
  BankCounts& banks_;
  Scheduler scheduler_;
  Clocks clocks_;
  Grid grid_;
  std::vector<std::unique_ptr<Block>> blocks_;
  std::vector<std::unique_ptr<Meeting>> meetings_;
};

}  // namespace

BankCounts run(const Kernel& kernel, const LaunchShape& launch, const Arguments& arguments,
               unsigned order_seed) {
  BankCounts banks;
  const int clusters = launch.grid_x * launch.grid_y * launch.grid_z / launch.cluster;
  const auto start = [&] {
    return std::make_unique<Launch>(kernel, launch, arguments, banks, order_seed);
  };
  auto together = start();
  for (const int cluster : order_of(clusters, order_seed)) {
    together->add_cluster(cluster * launch.cluster);
    if (launch.all_at_once) continue;
    together->run();
    together = start();
  }
  if (launch.all_at_once) together->run();
  return banks;
}

}  // namespace marlin::simulator
