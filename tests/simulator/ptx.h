// Runs the PTX of asm statements on the host, for device functions that are compiled for it: the
// few operations of single threads that dequantise and scale.
#pragma once

#include <cstdint>
#include <initializer_list>

namespace marlin::simulator {

// An operand of an asm statement: 32 bits that go in, or where they go.
struct PtxOperand {
  std::uint32_t in = 0;
  unsigned* word = nullptr;
  float* real = nullptr;
};

PtxOperand operand(const char* constraint, unsigned& value);
PtxOperand operand(const char* constraint, const unsigned& value);
PtxOperand operand(const char* constraint, float& value);
PtxOperand operand(const char* constraint, const float& value);

// Throws std::runtime_error on what it has no model of. The text must live as long as the program.
void interpret_ptx(const char* text, std::initializer_list<PtxOperand> operands);

template <typename... Operands>
void run_ptx(const char* text, const Operands&... operands) {
  interpret_ptx(text, {operands...});
}

}  // namespace marlin::simulator
