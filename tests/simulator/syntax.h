// The syntax tree of an emitted kernel's body: the small part of CUDA C++ that the generator
// prints.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace marlin::simulator {

struct Node {
  enum class Kind {
    // Expressions. text: the operator, name, field, type or callee.
    number,
    name,
    field,    // kids[0].text
    index,    // kids[0][kids[1]]
    unary,    // text kids[0]
    postfix,  // kids[0] text
    binary,   // kids[0] text kids[1]
    assign,   // kids[0] text kids[1]
    choice,   // kids[0] ? kids[1] : kids[2]
    call,     // text<numbers>(kids)
    cast,     // text_cast<..>(kids[0]) or text(kids[0]), text being the target type
    braces,   // text{kids}
    comma,    // kids[0], kids[1]
    // Statements.
    declare,  // type text; kids are names with their dimensions in numbers and maybe a value in
              // kids
    lambda,   // text = kids[0]; further kids are declared parameters
    block,
    branch,  // if (kids[0]) kids[1] [else kids[2]]
    loop,    // for (kids[0]; kids[1]; kids[2]) kids[3]
    leave,   // continue, break, or return [kids[0]]
  };
  Kind kind = Kind::block;
  std::string text;
  std::vector<Node> kids;
  std::vector<std::int64_t> numbers;
  bool wide = false;  // a number with the suffix ll
  int line = 0;       // of the source
};

struct Kernel {
  std::vector<std::vector<std::int64_t>> stripes;  // rows of the table kStripes, flattened
  Node body;
};

// Throws std::runtime_error with the line of what it cannot read.
Kernel parse_kernel(const std::string& source);

}  // namespace marlin::simulator
