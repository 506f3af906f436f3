// A whole emitted kernel run on random data on the CPU, and what came of it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "codegen/plan/plan.h"
#include "tests/reference/model.h"
#include "tests/simulator/machine.h"

namespace marlin::simulator {

struct Trial {
  double error = 0;  // ||c - reference|| / ||reference||, the reference in FP64
  std::vector<std::uint16_t> c;
  BankCounts banks;
  // How often each 16 bytes of the packed weights, of the tokens and of the scales were read, and
  // each store of C done.
  std::vector<int> packed_reads, activation_reads, scale_reads, output_writes;
};

// Runs `source`, a text for this plan, with m rows and the blocks in an order drawn from
// `order_seed` (0: ascending). Throws std::runtime_error on whatever run() forbids, when a counter
// is not back at zero, or when a byte of C outside the m rows changed.
Trial run_trial(const Plan& plan, const std::string& source, int m, unsigned data_seed,
                unsigned order_seed, reference::Inputs inputs = reference::Inputs::random);

// C alone, of the first m rows of these operands. Throws as run_trial().
std::vector<std::uint16_t> product_of(const Plan& plan, const std::string& source,
                                      const reference::Operands& operands, int m,
                                      unsigned order_seed);

// The first difference from what every kernel must do, or "" when there is none: the right product,
// no bank conflict, every byte of weights, tokens and scales copied exactly as often as some tile
// needs it, every element of C written once.
std::string first_fault(const Plan& plan, const Trial& trial, int m);

}  // namespace marlin::simulator
