// One weight matrix -> its ladder of kernels -> a product for any row count.
// Entry points: Linear::operator(), Linear::warm_up.
#include "marlin/linear.h"

#include <vector>

#include "codegen/base/error.h"
#include "runtime/launch/ladder.h"

namespace marlin {

Linear::Linear(const DeviceWeights& weights, const Options& options)
    : ladder_(std::make_unique<const Ladder>(weights, options, process_store(),
                                             process_workspaces())) {}

Linear::~Linear() = default;
Linear::Linear(Linear&& other) noexcept = default;
Linear& Linear::operator=(Linear&& other) noexcept = default;

const Ladder& Linear::ladder() const {
  if (ladder_ == nullptr) {
    throw Error(ErrorCode::invalid_argument, "this Linear was moved from and has no weights");
  }
  return *ladder_;
}

void Linear::operator()(CUstream_st* stream, const void* a, std::int64_t m, void* c) const {
  ladder().launch(stream, a, m, c);
}

void Linear::warm_up(std::int64_t most_m, int threads) const {
  const Ladder* const one = &ladder();
  Ladder::warm_up({&one, 1}, most_m, threads);
}

void Linear::warm_up(std::span<const Linear* const> linears, std::int64_t most_m, int threads) {
  std::vector<const Ladder*> ladders;
  for (const Linear* linear : linears) {
    if (linear == nullptr) throw Error(ErrorCode::invalid_argument, "one of the Linears is null");
    ladders.push_back(&linear->ladder());
  }
  Ladder::warm_up(ladders, most_m, threads);
}

const DeviceWeights& Linear::weights() const { return ladder().weights(); }

}  // namespace marlin
