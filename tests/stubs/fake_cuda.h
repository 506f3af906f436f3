// A libcuda.so.1 with one make-believe GPU, which records what it is asked for. A test program that
// links it gets it wherever the library opens libcuda.
#pragma once

#include <cuda.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>

namespace marlin::test {

struct FakeLaunch {
  CUlaunchConfig config = {};
  const void* pointers[5] = {};  // a, b, scales, c, workspace
  int m = 0;
  std::string entry;
};

struct FakeCuda {
  // What it answers.
  std::atomic<CUresult> init_result{CUDA_SUCCESS};
  std::atomic<const char*> lacking{nullptr};  // a function that cuGetProcAddress does not find
  std::atomic<int> cc_major{9}, cc_minor{0}, sms{132};
  std::atomic<bool> has_context{true};
  std::atomic<bool> blocking_capture{false};  // what the legacy stream tells of
  std::atomic<CUstream> captured_stream{nullptr};
  std::atomic<CUresult> load_result{CUDA_SUCCESS};    // of cuLibraryLoadData
  std::atomic<CUresult> kernel_result{CUDA_SUCCESS};  // of cuLibraryGetKernel
  std::atomic<CUresult> launch_result{CUDA_SUCCESS};

  // What it was asked for.
  std::atomic<int> loads{0}, unloads{0}, launches{0};
  std::atomic<int> unrelaxed{0};  // calls that would have spoilt a capture in the default mode
  std::atomic<int> shared_bytes{0};
  std::mutex mutex;
  FakeLaunch last;
};

}  // namespace marlin::test

// The library's one state.
extern "C" marlin::test::FakeCuda* fake_cuda();
