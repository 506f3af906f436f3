// A KernelStore on a make-believe driver, with a stand-in for NVRTC.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "codegen/base/error.h"
#include "marlin/compiled.h"
#include "runtime/launch/kernel_store.h"
#include "tests/stubs/fake_cuda.h"
#include "tests/unit/runtime/cubin_cache_fixture.h"
#include "tests/unit/runtime/stand_in_entry.h"

namespace marlin::test {

inline constexpr Problem kShape = {.shape = {.m = 16, .n = 512, .k = 1024}};

// Launches never look behind these.
inline void* device_pointer(std::uintptr_t address) { return reinterpret_cast<void*>(address); }

inline LaunchArgs sound_args() {
  return {.a = device_pointer(0x1000),
          .b = device_pointer(0x2000),
          .scales = device_pointer(0x3000),
          .c = device_pointer(0x4000),
          .workspace = device_pointer(0x5000)};
}

template <typename Action>
Error error_of(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error;
  }
  return Error(ErrorCode::io, "nothing was thrown");
}

class CompiledTest : public testing::Test {
 protected:
  void TearDown() override {
    fake_cuda()->has_context = true;
    fake_cuda()->blocking_capture = false;
    fake_cuda()->captured_stream = nullptr;
    fake_cuda()->load_result = CUDA_SUCCESS;
    fake_cuda()->refused_loads = 0;
    fake_cuda()->maps.clear();
    fake_cuda()->kernel_result = CUDA_SUCCESS;
    fake_cuda()->launch_result = CUDA_SUCCESS;
  }

  // What stands in for NVRTC: counts, and runs `before_` first.
  CacheEntry compile(const KernelText& kernel) {
    ++compiles_;
    if (before_) before_();
    return stand_in_entry(kernel);
  }

  // A store as a process has one.
  KernelStore& new_store() {
    return *stores_.emplace_back(std::make_unique<KernelStore>(
        [this](const KernelText& kernel, const std::string&) { return compile(kernel); }));
  }

  Options in_memory() const {
    return {.cache_dir = "", .system_dirs = Dirs{}, .disable_jit = false, .tuning_db = ""};
  }
  Options cached() const {
    return {.cache_dir = scratch_ / "user",
            .system_dirs = Dirs{},
            .disable_jit = false,
            .tuning_db = ""};
  }

  using Dirs = std::vector<std::string>;
  ScratchDir scratch_;
  std::atomic<int> compiles_{0};
  std::function<void()> before_;
  std::vector<std::unique_ptr<KernelStore>> stores_;  // kernels live as long as these
  KernelStore& store_ = new_store();
};

}  // namespace marlin::test
