// Statements of an emitted kernel -> changes of one block's variables and memories.
// Entry points: run, Block::advance.
#include "tests/simulator/block.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <stdexcept>

namespace marlin::simulator {

namespace {

using Kind = Node::Kind;

constexpr std::uint32_t kSharedBase = 1024;  // not zero, so that no address is right by chance
constexpr std::int64_t kSharedPointer = std::int64_t{15} << 44;

Type type_named(const std::string& name) {
  static const std::map<std::string, Type> types = {
      {"int", Type::integer},   {"unsigned", Type::unsigned_integer},
      {"float", Type::real},    {"uint2", Type::uint2},
      {"uint4", Type::uint4},   {"float2", Type::float2},
      {"float4", Type::float4}, {"Share", Type::share},
      {"Stripe", Type::stripe}, {"bool", Type::integer}};
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
    case Type::share: return 4;
    case Type::stripe: return 12;
    default: return 1;
  }
}

Block::Block(const Kernel& kernel, const LaunchShape& launch, const Arguments& arguments,
             int number, BankCounts& banks)
    : kernel_(kernel),
      launch_(launch),
      arguments_(arguments),
      threads_(launch.threads),
      block_index_{number % launch.grid_x, number / launch.grid_x % launch.grid_y,
                   number / launch.grid_x / launch.grid_y},
      shared_(kSharedBase, launch.shared_bytes, launch.threads / 32, launch.group_warps),
      banks_(banks),
      active_(launch.threads, true),
      scopes_(1),
      stages_(launch.threads, std::deque<std::vector<Copy>>(1)),
      previous_done_(!launch.dependent) {
  const auto pointer = [&](const char* name, std::int64_t address) {
    Variable& variable = new_variable(name, Type::pointer, {});
    std::fill(variable.slots.begin(), variable.slots.end(), address);
  };
  pointer("a", arguments.a->base);
  pointer("b", arguments.b->base);
  pointer("scales", arguments.scales->base);
  pointer("c", arguments.c->base);
  pointer("workspace", arguments.workspace->base);
  pointer("shared_memory", kSharedPointer + kSharedBase);
  Variable& m = new_variable("m", Type::integer, {});
  std::fill(m.slots.begin(), m.slots.end(), arguments.m);
  scopes_.emplace_back();  // of the body
}

bool Block::advance() {
  const auto waits = [](const Node& node) {
    return node.kind == Kind::call &&
           (node.text == "wait_for_cluster" || node.text == "wait_for_sums");
  };
  const std::vector<Node>& body = kernel_.body.kids;
  try {
    do {
      execute(body[next_++]);
    } while (next_ < body.size() && !waits(body[next_]));
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(fmt::format("line {}, block {},{},{}: {}", line_, block_index_[0],
                                         block_index_[1], block_index_[2], error.what()));
  }
  if (next_ < body.size()) return false;
  finish();
  return true;
}

void Block::finish() {
  for (const auto& stages : stages_) {
    for (const auto& stage : stages) {
      if (!stage.empty()) throw std::runtime_error("a block ends with copies on their way");
    }
  }
  if (!previous_done_) throw std::runtime_error("a block never waits for the previous kernel");
}

void Block::fail(const std::string& what) const { throw std::runtime_error(what); }

void Block::execute(const Node& node) {
  line_ = node.line;
  switch (node.kind) {
    case Kind::block: {
      scopes_.emplace_back();
      for (const Node& kid : node.kids) execute(kid);
      scopes_.pop_back();
      return;
    }
    case Kind::declare: declare(node); return;
    case Kind::lambda: lambdas_[node.text] = &node; return;
    case Kind::branch: branch(node); return;
    case Kind::loop: loop(node); return;
    default: evaluate(node);
  }
}

void Block::declare(const Node& node) {
  const Type type = type_named(node.text);
  for (const Node& declared : node.kids) {
    Value value;
    if (!declared.kids.empty()) value = evaluate(declared.kids[0]);
    Variable& variable = new_variable(declared.text, type, declared.numbers);
    if (!declared.kids.empty()) assign({&variable, 0, 0, type}, value);
  }
}

void Block::branch(const Node& node) {
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
  active_ = before;
}

// Leaves those of the active threads active that go on; false when none does. A warp's threads stay
// together.
bool Block::narrow(const std::vector<bool>& go_on) {
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
void Block::loop(const Node& node) {
  constexpr int kMany = 1 << 20;
  const std::vector<bool> before = active_;
  scopes_.emplace_back();
  execute(node.kids[0]);
  for (int rounds = 0;; ++rounds) {
    if (rounds == kMany) fail("a loop without end");
    const std::vector<bool> more = truth(evaluate(node.kids[1]));
    if (!narrow(more)) break;
    execute(node.kids[3]);
    evaluate(node.kids[2]);
  }
  scopes_.pop_back();
  active_ = before;
}

void Block::call_lambda(const Node& lambda, const Node& call) {
  std::vector<Value> values;
  for (const Node& argument : call.kids) values.push_back(evaluate(argument));
  if (values.size() + 1 != lambda.kids.size()) fail("arguments of " + call.text);
  scopes_.emplace_back();
  for (std::size_t i = 0; i < values.size(); ++i) {
    const Node& parameter = lambda.kids[i + 1];
    const Type type = type_named(parameter.text);
    assign({&new_variable(parameter.kids[0].text, type, {}), 0, 0, type}, values[i]);
  }
  execute(lambda.kids[0]);
  scopes_.pop_back();
}

Variable& Block::new_variable(const std::string& name, Type type,
                              std::vector<std::int64_t> dimensions) {
  std::size_t slots = slots_of(type);
  for (const std::int64_t size : dimensions) slots *= static_cast<std::size_t>(size);
  auto variable = std::make_unique<Variable>();
  variable->type = type;
  variable->dimensions = std::move(dimensions);
  variable->slots.assign(slots * threads_, SharedMemory::kPoison);
  auto& place = scopes_.back()[name];
  if (place != nullptr) fail("declared twice: " + name);
  place = std::move(variable);
  return *place;
}

Variable* Block::find(const std::string& name) {
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    const auto found = scope->find(name);
    if (found != scope->end()) return found->second.get();
  }
  return nullptr;
}

Place Block::place(const Node& node) {
  if (node.kind == Kind::name) {
    Variable* variable = find(node.text);
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
      {Type::share,
       {{"owners", {0, Type::integer}},
        {"rank", {1, Type::integer}},
        {"counter", {2, Type::integer}},
        {"slot", {3, Type::integer}}}},
      {Type::stripe,
       {{"m_tile", {0, Type::integer}},
        {"slice", {1, Type::integer}},
        {"k_tile", {2, Type::integer}},
        {"k_tiles", {3, Type::integer}},
        {"first", {4, Type::share}},
        {"last", {8, Type::share}}}}};
  const Place whole = place(node.kids[0]);
  const auto type = fields.find(whole.type);
  if (type == fields.end() || !type->second.contains(node.text)) fail("no field " + node.text);
  const auto [offset, field_type] = type->second.at(node.text);
  return {whole.variable, whole.first + offset, whole.depth, field_type};
}

void Block::assign(const Place& place, const Value& value) {
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

BankCounts run(const Kernel& kernel, const LaunchShape& launch, const Arguments& arguments,
               const std::vector<int>& block_order) {
  BankCounts banks;
  std::set<int> clusters;
  for (const int number : block_order) {
    const int first = number / launch.cluster * launch.cluster;
    if (!clusters.insert(first).second) continue;
    std::vector<std::unique_ptr<Block>> blocks;
    std::vector<Block*> peers;
    for (int rank = 0; rank < launch.cluster; ++rank) {
      blocks.push_back(std::make_unique<Block>(kernel, launch, arguments, first + rank, banks));
      peers.push_back(blocks.back().get());
    }
    for (Block* block : peers) block->join(peers);
    // All blocks of a cluster have the same text, so they come to its end in the same round.
    for (bool done = false; !done;) {
      for (int i = 0; i < launch.cluster; ++i) {
        done = peers[(number + i) % launch.cluster]->advance();
      }
    }
  }
  return banks;
}

}  // namespace marlin::simulator
