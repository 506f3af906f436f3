// The text of an asm statement + its operands -> what it puts out, by the PTX ISA's description of
// each instruction. Entry points: run_ptx, operand.
#include "tests/simulator/ptx.h"

#include <algorithm>
#include <array>
#include <bit>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include "tests/reference/model.h"

namespace marlin::simulator {

namespace {

using reference::half_value;
using reference::nearest_half;

// %0, a number, a register of the statement's own, or two of these in braces, the low half first.
struct Term {
  enum class Kind { operand, number, local, pair } kind;
  std::uint32_t value = 0, second = 0;
};

struct Instruction {
  std::string name;
  std::vector<Term> terms;
};

struct Program {
  std::map<std::string, std::uint32_t> locals;  // their numbers
  std::vector<Instruction> instructions;
};

std::string trimmed(const std::string& text) {
  const std::size_t first = text.find_first_not_of(" \n\t");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \n\t") + 1 - first);
}

// At each `separator` that stands in no braces; nothing of what is empty.
std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts(1);
  int depth = 0;
  for (const char c : text) {
    depth += c == '{' ? 1 : c == '}' ? -1 : 0;
    if (c == separator && depth == 0) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  for (std::string& part : parts) part = trimmed(part);
  parts.erase(std::remove(parts.begin(), parts.end(), ""), parts.end());
  return parts;
}

Term term_of(const std::string& text, const Program& program) {
  if (text[0] == '%') {
    return {Term::Kind::operand, static_cast<std::uint32_t>(std::stoul(text.substr(1)))};
  }
  if (text[0] >= '0' && text[0] <= '9') {
    return {Term::Kind::number, static_cast<std::uint32_t>(std::stoul(text, nullptr, 0))};
  }
  if (text[0] == '{') {
    const auto parts = split(text.substr(1, text.size() - 2), ',');
    return {Term::Kind::pair, program.locals.at(parts.at(0)), program.locals.at(parts.at(1))};
  }
  return {Term::Kind::local, program.locals.at(text)};
}

Program parse(const std::string& text) {
  Program program;
  const std::string all = trimmed(text);
  const bool scoped = all.front() == '{' && all.back() == '}';
  for (const std::string& line : split(scoped ? all.substr(1, all.size() - 2) : all, ';')) {
    const std::size_t space = line.find(' ');
    const std::string name = line.substr(0, space);
    const std::string rest = trimmed(line.substr(space));
    if (name == ".reg") {
      for (const std::string& local : split(rest.substr(rest.find(' ')), ',')) {
        program.locals.emplace(local, static_cast<std::uint32_t>(program.locals.size()));
      }
      continue;
    }
    Instruction instruction{name, {}};
    for (const std::string& term : split(rest, ',')) {
      instruction.terms.push_back(term_of(term, program));
    }
    program.instructions.push_back(instruction);
  }
  return program;
}

// One run of a program.
class Run {
 public:
  Run(const Program& program, const std::vector<PtxOperand>& operands)
      : operands_(operands), locals_(program.locals.size()) {
    for (const Instruction& instruction : program.instructions) execute(instruction);
  }

 private:
  std::uint32_t read(const Term& term) const {
    switch (term.kind) {
      case Term::Kind::operand: return operands_.at(term.value).in;
      case Term::Kind::number: return term.value;
      case Term::Kind::local: return locals_.at(term.value);
      default: throw std::runtime_error("no model of a pair that is read");
    }
  }

  void write(const Term& to, std::uint32_t value) {
    if (to.kind == Term::Kind::local) {
      locals_.at(to.value) = value;
    } else if (to.kind == Term::Kind::pair) {
      locals_.at(to.value) = value & 0xffff;
      locals_.at(to.second) = value >> 16;
    } else if (to.kind == Term::Kind::operand && operands_.at(to.value).word != nullptr) {
      *operands_[to.value].word = value;
    } else if (to.kind == Term::Kind::operand && operands_.at(to.value).real != nullptr) {
      *operands_[to.value].real = std::bit_cast<float>(value);
    } else {
      throw std::runtime_error("an operand that is not for output is written");
    }
  }

  // Sums and products of two halves are exact in FP64, so that they are rounded once.
  template <typename Operation>
  void by_halves(const std::vector<Term>& terms, Operation&& operation) {
    const std::uint32_t a = read(terms.at(1)), b = read(terms.at(2));
    std::uint32_t result = 0;
    for (const int shift : {0, 16}) {
      const double x = half_value(static_cast<std::uint16_t>(a >> shift));
      const double y = half_value(static_cast<std::uint16_t>(b >> shift));
      result |= std::uint32_t{nearest_half(operation(x, y))} << shift;
    }
    write(terms[0], result);
  }

  // Bit 4 a + 2 b + c of the table is the result for these three bits.
  void look_up(const std::vector<Term>& terms) {
    std::array<std::uint32_t, 3> in{};
    for (std::size_t i = 0; i < in.size(); ++i) in[i] = read(terms.at(1 + i));
    const std::uint32_t table = read(terms.at(4));
    std::uint32_t result = 0;
    for (int bit = 0; bit < 32; ++bit) {
      const std::uint32_t at = 4 * (in[0] >> bit & 1) + 2 * (in[1] >> bit & 1) + (in[2] >> bit & 1);
      result |= (table >> at & 1) << bit;
    }
    write(terms[0], result);
  }

  void execute(const Instruction& instruction) {
    const auto& [name, terms] = instruction;
    const auto real = [&](const Term& term) { return double{std::bit_cast<float>(read(term))}; };
    if (name == "lop3.b32") {
      look_up(terms);
    } else if (name == "add.f16x2") {
      by_halves(terms, std::plus<>());
    } else if (name == "mul.f16x2") {
      by_halves(terms, std::multiplies<>());
    } else if (name == "mov.b32") {
      write(terms.at(0), read(terms.at(1)));
    } else if (name == "cvt.f32.f16") {
      const double value = half_value(static_cast<std::uint16_t>(read(terms.at(1))));
      write(terms[0], std::bit_cast<std::uint32_t>(static_cast<float>(value)));
    } else if (name == "cvt.rn.f16x2.f32") {  // its first source is the upper half
      write(terms.at(0),
            std::uint32_t{nearest_half(real(terms.at(1)))} << 16 | nearest_half(real(terms.at(2))));
    } else {
      throw std::runtime_error("no model of " + name);
    }
  }

  const std::vector<PtxOperand>& operands_;
  std::vector<std::uint32_t> locals_;
};

// An output has no value yet.
bool goes_in(const char* constraint) { return constraint[0] != '='; }

}  // namespace

PtxOperand operand(const char* constraint, unsigned& value) {
  return {goes_in(constraint) ? value : 0, &value, nullptr};
}
PtxOperand operand(const char*, const unsigned& value) { return {value, nullptr, nullptr}; }
PtxOperand operand(const char* constraint, float& value) {
  return {goes_in(constraint) ? std::bit_cast<std::uint32_t>(value) : 0, nullptr, &value};
}
PtxOperand operand(const char*, const float& value) {
  return {std::bit_cast<std::uint32_t>(value), nullptr, nullptr};
}

void interpret_ptx(const char* text, std::initializer_list<PtxOperand> operands) {
  static std::unordered_map<const char*, Program> programs;
  auto found = programs.find(text);
  if (found == programs.end()) found = programs.emplace(text, parse(text)).first;
  Run(found->second, operands);
}

}  // namespace marlin::simulator
