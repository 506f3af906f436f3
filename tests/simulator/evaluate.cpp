// Expressions of an emitted kernel -> the values of all threads of a block. The arithmetic of C++,
// except that an overflow throws, but for an unsigned difference, which wraps. Entry point:
// Fiber::evaluate.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "tests/simulator/fiber.h"

namespace marlin::simulator {

namespace {

using Kind = Node::Kind;

// The type of an arithmetic result: the wider one, unsigned before signed.
Type joined(Type left, Type right) {
  for (const Type type : {Type::pointer, Type::long_integer, Type::unsigned_integer}) {
    if (left == type || right == type) return type;
  }
  return Type::integer;
}

using Operation = std::int64_t (*)(std::int64_t x, std::int64_t y);

// Looked up once for all threads.
Operation operation(const std::string& op) {
  using I = std::int64_t;
  if (op == "+") return [](I x, I y) -> I { return x + y; };
  if (op == "-") return [](I x, I y) -> I { return x - y; };
  if (op == "*") return [](I x, I y) -> I { return x * y; };
  if (op == "/") return [](I x, I y) -> I { return x / y; };
  if (op == "%") return [](I x, I y) -> I { return x % y; };
  if (op == "<<") return [](I x, I y) -> I { return x << y; };
  if (op == ">>") return [](I x, I y) -> I { return x >> y; };
  if (op == "&") return [](I x, I y) -> I { return x & y; };
  if (op == "|") return [](I x, I y) -> I { return x | y; };
  if (op == "^") return [](I x, I y) -> I { return x ^ y; };
  if (op == "==") return [](I x, I y) -> I { return x == y; };
  if (op == "!=") return [](I x, I y) -> I { return x != y; };
  if (op == "<") return [](I x, I y) -> I { return x < y; };
  if (op == ">") return [](I x, I y) -> I { return x > y; };
  if (op == "<=") return [](I x, I y) -> I { return x <= y; };
  if (op == ">=") return [](I x, I y) -> I { return x >= y; };
  if (op == "&&") return [](I x, I y) -> I { return x != 0 && y != 0; };
  if (op == "||") return [](I x, I y) -> I { return x != 0 || y != 0; };
  throw std::runtime_error("no model of the operator " + op);
}

bool compares(const std::string& op) {
  return op == "==" || op == "!=" || op == "<" || op == ">" || op == "<=" || op == ">=" ||
         op == "&&" || op == "||";
}

bool fits(Type type, std::int64_t value) {
  if (type == Type::integer) return value == static_cast<std::int32_t>(value);
  if (type == Type::unsigned_integer) return value == static_cast<std::uint32_t>(value);
  return true;
}

}  // namespace

Value Fiber::evaluate(const Node& node) {
  switch (node.kind) {
    case Kind::number: return number(node);
    case Kind::name: return load(place(node));
    case Kind::index: return index(node);
    case Kind::field: return field(node);
    case Kind::unary: return unary(node);
    case Kind::postfix: return step(node, true);
    case Kind::binary: return binary(node);
    case Kind::assign: return update(node);
    case Kind::choice: return choice(node);
    case Kind::call: return call(node);
    case Kind::cast: return cast(node);
    case Kind::braces: return braces(node);
    case Kind::comma: evaluate(node.kids[0]); return evaluate(node.kids[1]);
    default: fail("not an expression");
  }
}

Value Fiber::load(const Place& place) const {
  if (place.depth != place.variable->dimensions.size()) fail("an array as a value");
  const std::size_t slots = slots_of(place.type);
  for (std::size_t s = 0; s < slots; ++s) touch(place, s);
  const auto first =
      place.variable->slots.begin() + static_cast<std::ptrdiff_t>(place.first * threads_);
  return {place.type, {first, first + static_cast<std::ptrdiff_t>(slots * threads_)}};
}

Value Fiber::constant(Type type, std::int64_t value) const {
  return {type, std::vector<std::int64_t>(threads_, value)};
}

Value Fiber::number(const Node& node) const {
  const bool unsigned_one = node.text.ends_with("u");
  return constant(node.wide      ? Type::long_integer
                  : unsigned_one ? Type::unsigned_integer
                                 : Type::integer,
                  node.numbers[0]);
}

std::int64_t Fiber::uniform(const Value& value) const {
  std::int64_t found = 0;
  bool any = false;
  for (int t = 0; t < threads_; ++t) {
    if (!active_[t]) continue;
    if (any && value.slots[t] != found) fail("threads disagree where they must not");
    found = value.slots[t];
    any = true;
  }
  return found;
}

std::vector<bool> Fiber::truth(const Value& value) const {
  std::vector<bool> result(threads_);
  for (int t = 0; t < threads_; ++t) result[t] = value.slots[t] != 0;
  return result;
}

Value Fiber::index(const Node& node) {
  if (node.kids[0].text != "kStripes") return load(place(node));
  const std::int64_t at = uniform(evaluate(node.kids[1]));
  if (at < 0 || at >= static_cast<std::int64_t>(kernel_.stripes.size())) fail("no such stripe");
  Value stripe{Type::stripe, {}};
  for (const std::int64_t entry : kernel_.stripes[at]) {
    stripe.slots.insert(stripe.slots.end(), threads_, entry);
  }
  return stripe;
}

Value Fiber::field(const Node& node) {
  const std::string& of = node.kids[0].text;
  if (of == "threadIdx" && node.text == "x") {
    Value value = constant(Type::unsigned_integer, 0);
    for (int t = 0; t < threads_; ++t) value.slots[t] = id(t);
    return value;
  }
  if (of == "blockIdx") return constant(Type::unsigned_integer, block_.index[node.text[0] - 'x']);
  return load(place(node));
}

Value Fiber::unary(const Node& node) {
  if (node.text == "++" || node.text == "--") return step(node, false);
  Value value = evaluate(node.kids[0]);
  for (std::int64_t& slot : value.slots) {
    slot = node.text == "-" ? -slot : node.text == "~" ? ~slot : slot == 0;
    if (value.type == Type::unsigned_integer) slot = static_cast<std::uint32_t>(slot);
  }
  if (node.text == "!") value.type = Type::integer;
  return value;
}

Value Fiber::step(const Node& node, bool value_before) {
  const Place at = place(node.kids[0]);
  const Value before = load(at);
  const Value after = arithmetic(node.text.substr(1), before, constant(Type::integer, 1));
  assign(at, after);
  return value_before ? before : after;
}

Value Fiber::binary(const Node& node) {
  const Value left = evaluate(node.kids[0]);
  return arithmetic(node.text, left, evaluate(node.kids[1]));
}

Value Fiber::arithmetic(const std::string& op, const Value& left, const Value& right) {
  const bool shift = op == "<<" || op == ">>";
  const bool reals = left.type == Type::real && right.type == Type::real;
  if (reals && op != "*") fail("no model of " + op + " of reals");
  const Type type = shift || reals ? left.type : joined(left.type, right.type);
  const Operation apply = operation(op);
  const bool wraps = op == "-" && type == Type::unsigned_integer;
  Value result{compares(op) ? Type::integer : type, std::vector<std::int64_t>(threads_)};
  for (int t = 0; t < threads_; ++t) {
    if (!active_[t]) continue;
    if (reals) {
      result.slots[t] = bits(real(left.slots[t]) * real(right.slots[t]));
      continue;
    }
    if (!fits(type, left.slots[t]) || (!shift && !fits(type, right.slots[t]))) {
      fail("a negative number becomes unsigned in " + op);
    }
    result.slots[t] = apply(left.slots[t], right.slots[t]);
    // Stripes count pieces from the first striped one on, whole tiles being before it.
    if (wraps) result.slots[t] = static_cast<std::uint32_t>(result.slots[t]);
    if (!fits(result.type, result.slots[t])) fail("an overflow in " + op);
  }
  return result;
}

Value Fiber::update(const Node& node) {
  if (node.kids[0].kind == Kind::unary && node.kids[0].text == "*") return store_output(node);
  Value value = evaluate(node.kids[1]);
  const Place at = place(node.kids[0]);
  if (node.text != "=") value = arithmetic(node.text.substr(0, 1), load(at), value);
  assign(at, value);
  return value;
}

// "*reinterpret_cast<unsigned*>(address) = two halves", the only store through a pointer.
Value Fiber::store_output(const Node& node) {
  const Value value = evaluate(node.kids[1]), to = evaluate(node.kids[0].kids[0]);
  if (node.text != "=" || to.type != Type::pointer || value.type != Type::unsigned_integer) {
    fail("no model of this store");
  }
  for (int t = 0; t < threads_; ++t) {
    if (!active_[t]) continue;
    require_done(*arguments_.c, t);
    if (!arguments_.c->holds(to.slots[t])) fail("an output outside C");
    const auto halves = static_cast<std::uint32_t>(value.slots[t]);
    std::memcpy(arguments_.c->write(to.slots[t], 4), &halves, 4);
  }
  return value;
}

Value Fiber::choice(const Node& node) {
  const std::vector<bool> yes = truth(evaluate(node.kids[0]));
  const std::vector<bool> before = active_;
  for (int t = 0; t < threads_; ++t) active_[t] = before[t] && yes[t];
  Value result = evaluate(node.kids[1]);
  for (int t = 0; t < threads_; ++t) active_[t] = before[t] && !yes[t];
  const Value other = evaluate(node.kids[2]);
  active_ = before;
  if (result.slots.size() != other.slots.size()) fail("a choice between two types");
  if (result.type != other.type) result.type = joined(result.type, other.type);
  for (std::size_t i = 0; i < result.slots.size(); ++i) {
    if (!yes[i % threads_]) result.slots[i] = other.slots[i];
  }
  return result;
}

Value Fiber::cast(const Node& node) {
  Value value = evaluate(node.kids[0]);
  if (node.text == "int") value.type = Type::integer;
  if (node.text == "unsigned") value.type = Type::unsigned_integer;
  for (int t = 0; t < threads_; ++t) {
    if (active_[t] && !fits(value.type, value.slots[t])) fail("a cast that changes the number");
  }
  return value;
}

Value Fiber::braces(const Node& node) {
  Value value{Type::shared_tile, {}};
  for (const Node& kid : node.kids) {
    const Value part = evaluate(kid);
    value.slots.insert(value.slots.end(), part.slots.begin(), part.slots.end());
  }
  return value;
}

Value Fiber::call(const Node& node) {
  const auto lambda = lambdas_.find(node.text);
  if (lambda != lambdas_.end()) return call_lambda(*lambda->second, node);
  const auto primitive = primitives().find(node.text);
  if (primitive == primitives().end()) fail("no model of the primitive " + node.text);
  return (this->*primitive->second)(node);
}

}  // namespace marlin::simulator
