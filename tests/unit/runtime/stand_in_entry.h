// What a KernelStore's compile step may hand back in place of NVRTC's work.
#pragma once

#include "runtime/compile/kernel_build.h"
#include "runtime/compile/nvrtc.h"
#include "tests/unit/runtime/cubin_cache_fixture.h"

namespace marlin::test {

// What compiling this kernel might have given: a cubin that no GPU would run, with 99 registers.
inline CacheEntry stand_in_entry(const KernelText& kernel) {
  CacheEntry entry;
  entry.meta.key = key_fields(kernel, nvrtc_identity());
  entry.meta.problem = to_string(kernel.plan.problem);
  entry.meta.config = to_string(kernel.plan.config);
  entry.meta.sms = kernel.plan.target.sms;
  entry.meta.threads = kernel.plan.launch.threads;
  entry.meta.shared_bytes = kernel.plan.launch.shared_bytes;
  entry.meta.registers = 99;
  entry.cubin = stand_in_cubin(90, 256, 1);
  return entry;
}

}  // namespace marlin::test
