// Ladder: the kernels of one weight matrix, a slot for each rung. Stands behind Linear.
#pragma once

#include <cuda.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <string>

#include "marlin/compiled.h"
#include "marlin/linear.h"
#include "runtime/launch/kernel_store.h"
#include "runtime/launch/workspaces.h"

namespace marlin {

// As Linear; tests bring a store and workspaces of their own, which must outlive it.
class Ladder {
 public:
  // Why the kernels of a Linear with these options must stay what they are, so that tuning must not
  // exchange them; empty: it may.
  static std::string why_fixed(const Options& options);

  Ladder(const DeviceWeights& weights, Options options, KernelStore& store, Workspaces& workspaces);

  // As Linear::operator().
  void launch(CUstream stream, const void* a, std::int64_t m, void* c) const;

  // As Linear::warm_up().
  static void warm_up(std::span<const Ladder* const> ladders, std::int64_t most_m, int threads);

  const DeviceWeights& weights() const { return weights_; }
  CUcontext context() const { return context_; }

  const Options& options() const { return options_; }
  KernelStore& store() const { return store_; }
  // What the kernel of this rung computes.
  Problem problem_at(int rung) const;

  // The slot's kernel, or null.
  const Kernel* kernel_at(int rung) const { return slots_[rung].load(std::memory_order_acquire); }
  // Puts another kernel of the store for this rung into the slot: launches to come have it,
  // whatever others are under way; graphs keep the one they were captured with. The context must be
  // the current one. Throws Error{driver_failed} and then changes nothing.
  void exchange(int rung, const Kernel* kernel) const;
  // Fills the slot where it is empty. The context must be the current one.
  void warm(int rung) const { fill(rung, options_.stream); }

  // Throws Error{invalid_argument} unless the ladder's context is current.
  void require_context() const;

  // Whether the slots of both are filled with the same kernels.
  bool shares_kernels(const Ladder& other) const;

 private:
  const Kernel* fill(int rung, CUstream stream) const;
  bool tunes_first_use(CUstream stream) const;
  void prepare(const Kernel& kernel) const;

  DeviceWeights weights_;
  Options options_;
  KernelStore& store_;
  Workspaces& workspaces_;
  CUcontext context_ = nullptr;
  unsigned long long context_id_ = 0;  // unlike its handle never that of a later context
  mutable std::array<std::atomic<const Kernel*>, kRungs> slots_{};
};

}  // namespace marlin
