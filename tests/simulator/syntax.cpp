// The text of an emitted kernel -> its syntax tree, by recursive descent.
// Entry point: parse_kernel.
#include "tests/simulator/syntax.h"

#include <array>
#include <cctype>
#include <set>
#include <stdexcept>
#include <utility>

namespace marlin::simulator {

namespace {

using Kind = Node::Kind;

struct Token {
  enum class Kind { name, number, mark, end } kind = Kind::end;
  std::string text;
  int line = 0;
};

bool starts_name(char c) { return std::isalpha(static_cast<unsigned char>(c)) || c == '_'; }
bool in_name(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

class Scanner {
 public:
  explicit Scanner(const std::string& text) : text_(text) {}

  std::vector<Token> all() {
    std::vector<Token> tokens;
    while (skip_blank()) tokens.push_back(next());
    tokens.push_back({Token::Kind::end, "end of text", line_});
    return tokens;
  }

 private:
  // Blanks, comments and preprocessor lines; false at the end.
  bool skip_blank() {
    while (at_ < text_.size()) {
      if (text_[at_] == '#' || text_.compare(at_, 2, "//") == 0) {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (std::isspace(static_cast<unsigned char>(text_[at_]))) {
        line_ += text_[at_++] == '\n';
      } else {
        return true;
      }
    }
    return false;
  }

  Token next() {
    const std::size_t from = at_;
    if (text_[at_] == '"') {
      at_ = text_.find('"', at_ + 1) + 1;
      return {Token::Kind::mark, text_.substr(from, at_ - from), line_};
    }
    if (starts_name(text_[at_])) {
      while (at_ < text_.size() && in_name(text_[at_])) ++at_;
      return {Token::Kind::name, text_.substr(from, at_ - from), line_};
    }
    if (std::isdigit(static_cast<unsigned char>(text_[at_]))) {
      while (at_ < text_.size() && (in_name(text_[at_]) || text_[at_] == '.')) ++at_;
      return {Token::Kind::number, text_.substr(from, at_ - from), line_};
    }
    static constexpr std::array kTwo = {
        "++", "--", "+=", "-=", "*=", "^=", "==", "!=", "<=", ">=", "&&", "||", "<<", ">>", "::"};
    at_ += 1;
    for (const char* two : kTwo) {
      if (text_.compare(from, 2, two) == 0) at_ = from + 2;
    }
    return {Token::Kind::mark, text_.substr(from, at_ - from), line_};
  }

  const std::string& text_;
  std::size_t at_ = 0;
  int line_ = 1;
};

const std::set<std::string> kTypes = {"int",        "unsigned", "char",   "float",
                                      "uint2",      "uint4",    "float2", "float4",
                                      "SharedTile", "Stripe",   "bool"};

// Binary operators from the loosest to the tightest.
const std::vector<std::set<std::string>> kLevels = {
    {"||"},       {"&&"},     {"|"},          {"^"}, {"&"}, {"==", "!="}, {"<", ">", "<=", ">="},
    {"<<", ">>"}, {"+", "-"}, {"*", "/", "%"}};

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  Kernel kernel() {
    Kernel kernel;
    while (!is("extern")) {
      if (peek().kind == Token::Kind::end) fail("no kernel");
      if (take().text == "kStripes" && is("[")) kernel.stripes = table();
    }
    while (!is("{")) take();
    kernel.body = block();
    return kernel;
  }

 private:
  const Token& peek(std::size_t ahead = 0) const {
    return tokens_[std::min(at_ + ahead, tokens_.size() - 1)];
  }
  bool is(const std::string& text, std::size_t ahead = 0) const { return peek(ahead).text == text; }
  Token take() { return tokens_[std::min(at_++, tokens_.size() - 1)]; }
  bool accept(const std::string& text) {
    if (!is(text)) return false;
    ++at_;
    return true;
  }
  void expect(const std::string& text) {
    if (!accept(text)) fail("expected '" + text + "'");
  }
  [[noreturn]] void fail(const std::string& what) const {
    throw std::runtime_error("line " + std::to_string(peek().line) + ": " + what + " at '" +
                             peek().text + "'");
  }
  Node node(Kind kind, std::string text = {}, std::vector<Node> kids = {}) const {
    return {kind, std::move(text), std::move(kids), {}, false, peek().line};
  }

  std::int64_t integer() {
    const bool negative = accept("-");
    if (peek().kind != Token::Kind::number) fail("expected a number");
    const std::int64_t value = std::stoll(take().text, nullptr, 0);
    return negative ? -value : value;
  }

  // "[rows] = { {1, 2, {3, 4}}, ... };" after the table's name.
  std::vector<std::vector<std::int64_t>> table() {
    std::vector<std::vector<std::int64_t>> rows;
    while (!accept("{")) take();
    int depth = 1;
    while (depth > 0) {
      if (accept("{")) {
        if (++depth == 2) rows.emplace_back();
      } else if (accept("}")) {
        --depth;
      } else if (!accept(",")) {
        rows.back().push_back(integer());
      }
    }
    return rows;
  }

  Node block() {
    Node result = node(Kind::block);
    expect("{");
    while (!accept("}")) {
      if (is("extern")) {
        while (!accept(";")) take();
      } else {
        result.kids.push_back(statement());
      }
    }
    return result;
  }

  Node statement() {
    while (accept("static_assert")) {  // which the compiler checks
      while (!accept(";")) take();
    }
    if (is("{")) return block();
    if (is("if")) return branch();
    if (is("for")) return loop();
    if (is("auto")) return lambda();
    if (is("continue") || is("break") || is("return")) return leave();
    Node result = simple();
    expect(";");
    return result;
  }

  bool at_type() const {
    return is("const") || is("constexpr") ||
           (kTypes.contains(peek().text) && !is("{", 1) && !is("(", 1));
  }

  Node simple() { return at_type() ? declaration() : comma(); }

  std::string type() {
    if (!accept("constexpr")) accept("const");
    std::string name = take().text;
    if (!kTypes.contains(name)) fail("not a type: " + name);
    while (accept("long")) name = "long";
    while (is("*") || is("&")) name += take().text == "*" ? "*" : "";
    return name;
  }

  Node declaration() {
    Node result = node(Kind::declare, type());
    do {
      Node declared = node(Kind::name, take().text);
      while (accept("[")) {
        declared.numbers.push_back(integer());
        expect("]");
      }
      if (accept("=")) declared.kids.push_back(assignment());
      result.kids.push_back(std::move(declared));
    } while (accept(","));
    return result;
  }

  Node lambda() {
    expect("auto");
    Node result = node(Kind::lambda, take().text, {node(Kind::block)});
    for (const char* mark : {"=", "["}) expect(mark);
    accept("&");
    for (const char* mark : {"]", "("}) expect(mark);
    while (!accept(")")) {
      Node parameter = node(Kind::declare, type());
      parameter.kids.push_back(node(Kind::name, take().text));
      result.kids.push_back(std::move(parameter));
      accept(",");
    }
    result.kids[0] = block();
    expect(";");
    return result;
  }

  Node branch() {
    Node result = node(Kind::branch);
    expect("if");
    expect("(");
    result.kids.push_back(comma());
    expect(")");
    result.kids.push_back(statement());
    if (accept("else")) result.kids.push_back(statement());
    return result;
  }

  Node leave() {
    Node result = node(Kind::leave, take().text);
    if (!is(";")) result.kids.push_back(comma());
    expect(";");
    return result;
  }

  Node loop() {
    Node result = node(Kind::loop);
    expect("for");
    expect("(");
    result.kids.push_back(simple());
    expect(";");
    result.kids.push_back(comma());
    expect(";");
    result.kids.push_back(is(")") ? node(Kind::block) : comma());
    expect(")");
    result.kids.push_back(statement());
    return result;
  }

  Node comma() {
    Node left = assignment();
    while (accept(",")) left = node(Kind::comma, ",", {std::move(left), assignment()});
    return left;
  }

  Node assignment() {
    Node left = choice();
    if (!is("=") && !is("+=") && !is("-=") && !is("*=") && !is("^=")) return left;
    std::string op = take().text;
    return node(Kind::assign, std::move(op), {std::move(left), assignment()});
  }

  Node choice() {
    Node condition = binary(0);
    if (!accept("?")) return condition;
    Node yes = assignment();
    expect(":");
    return node(Kind::choice, "?", {std::move(condition), std::move(yes), assignment()});
  }

  Node binary(std::size_t level) {
    if (level == kLevels.size()) return unary();
    Node left = binary(level + 1);
    while (peek().kind == Token::Kind::mark && kLevels[level].contains(peek().text)) {
      std::string op = take().text;
      left = node(Kind::binary, std::move(op), {std::move(left), binary(level + 1)});
    }
    return left;
  }

  Node unary() {
    for (const char* op : {"-", "!", "~", "*", "&", "++", "--"}) {
      if (accept(op)) return node(Kind::unary, op, {unary()});
    }
    return postfix(primary());
  }

  Node postfix(Node value) {
    for (;;) {
      if (accept("[")) {
        value = node(Kind::index, "[]", {std::move(value), comma()});
        expect("]");
      } else if (accept(".")) {
        value = node(Kind::field, take().text, {std::move(value)});
      } else if (is("++") || is("--")) {
        std::string op = take().text;
        value = node(Kind::postfix, std::move(op), {std::move(value)});
      } else {
        return value;
      }
    }
  }

  // "<1>(" or "<1, 2>(": template arguments, not a comparison.
  bool at_numbers() const {
    if (!is("<")) return false;
    std::size_t at = 1;
    while (peek(at).kind == Token::Kind::number && is(",", at + 1)) at += 2;
    return peek(at).kind == Token::Kind::number && is(">", at + 1) && is("(", at + 2);
  }

  std::vector<Node> list(const char* end) {
    std::vector<Node> found;
    while (!accept(end)) {
      found.push_back(assignment());
      accept(",");
    }
    return found;
  }

  Node primary() {
    if (accept("(")) {
      Node inside = comma();
      expect(")");
      return inside;
    }
    if (peek().kind == Token::Kind::number) {
      Node result = node(Kind::number, peek().text);
      result.wide = result.text.ends_with("ll");
      result.numbers.push_back(integer());
      return result;
    }
    if (peek().kind != Token::Kind::name) fail("expected a value");
    Node result = node(Kind::name, take().text);
    if (result.text == "true" || result.text == "false") {
      result.kind = Kind::number;
      result.numbers.push_back(result.text == "true" ? 1 : 0);
    } else if (result.text.ends_with("_cast")) {
      expect("<");
      result = node(Kind::cast, type());
      expect(">");
      expect("(");
      result.kids.push_back(comma());
      expect(")");
    } else if (at_numbers()) {
      while (!accept(">")) {
        take();  // "<" or ","
        result.numbers.push_back(integer());
      }
      take();
      result.kind = Kind::call;
      result.kids = list(")");
    } else if (kTypes.contains(result.text) && accept("(")) {
      result.kind = Kind::cast;
      result.kids.push_back(comma());
      expect(")");
    } else if (accept("(")) {
      result.kind = Kind::call;
      result.kids = list(")");
    } else if (kTypes.contains(result.text) && accept("{")) {
      result.kind = Kind::braces;
      result.kids = list("}");
    }
    return result;
  }

  std::vector<Token> tokens_;
  std::size_t at_ = 0;
};

}  // namespace

Kernel parse_kernel(const std::string& source) { return Parser(Scanner(source).all()).kernel(); }

}  // namespace marlin::simulator
