// A libcuda.so.1 with one make-believe GPU, which records what it is asked for. A test program that
// links it gets it wherever the library opens libcuda.
#pragma once

#include <cuda.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace marlin::test {

// A context of a device. A thread that never set one is in the first context of device 0.
inline CUcontext fake_context(int device, int number = 0) {
  return reinterpret_cast<CUcontext>(std::uintptr_t{0xC0000} + 0x100u * device + number);
}

struct FakeMemory {
  std::size_t bytes = 0;
  CUcontext context = nullptr;  // the current one when it was allocated
  CUstream zeroed_on = nullptr;
  bool zeroed = false;  // all of it, and that stream was waited for
};

struct FakeLaunch {
  CUlaunchConfig config = {};
  const void* pointers[5] = {};  // a, b, scales, c, workspace
  int m = 0;
  std::string entry;
  const void* kernel = nullptr;  // its CUkernel
  CUcontext context = nullptr;
  bool was_loaded = false;  // into that context, by cuKernelGetFunction
};

// A step that one stream takes after another's.
struct FakeEvent {
  CUevent event = nullptr;
  CUstream stream = nullptr;
  bool wait = false;  // else it was recorded there
};

// What a graph keeps alive.
struct FakeUserObject {
  void* object = nullptr;
  CUhostFn destroy = nullptr;
  CUgraph graph = nullptr;
};

// A tensor map as it was asked for, in elements and bytes.
struct FakeMap {
  std::uint64_t columns = 0, rows = 0, pitch = 0;
  std::uint32_t box_columns = 0, box_rows = 0;
};

struct FakeCuda {
  std::vector<FakeMap> maps;  // encoded so far
  // What it answers.
  std::atomic<CUresult> init_result{CUDA_SUCCESS};
  std::atomic<const char*> lacking{nullptr};  // a function that cuGetProcAddress does not find
  std::atomic<int> cc_major{9}, cc_minor{0}, sms{132};
  std::atomic<bool> has_context{true};
  std::atomic<bool> blocking_capture{false};  // what the legacy stream tells of
  std::atomic<CUstream> captured_stream{nullptr};
  std::atomic<std::uint64_t> capture_id{1};           // of that capture; its graph has this address
  std::atomic<CUresult> load_result{CUDA_SUCCESS};    // of cuLibraryLoadData
  std::atomic<int> refused_loads{0};                  // so many to come have no image for this GPU
  std::atomic<CUresult> kernel_result{CUDA_SUCCESS};  // of cuLibraryGetKernel
  std::atomic<CUresult> launch_result{CUDA_SUCCESS};
  std::atomic<CUresult> alloc_result{CUDA_SUCCESS};
  std::atomic<CUresult> memset_result{CUDA_SUCCESS};

  // What it was asked for.
  std::atomic<int> loads{0}, unloads{0}, launches{0};
  std::atomic<int> unrelaxed{0};  // calls that would have spoilt a capture in the default mode
  std::atomic<int> shared_bytes{0};
  std::atomic<int> allocations{0}, streams{0};  // streams: made and not destroyed
  std::atomic<int> spoilt{0};                   // work given to the legacy or a captured stream
  std::mutex mutex;                             // of what follows
  FakeLaunch last;
  std::vector<FakeLaunch> log;               // all launches
  std::map<CUdeviceptr, FakeMemory> memory;  // not freed
  std::vector<CUcontext> load_contexts;      // of each cuLibraryLoadData
  std::vector<FakeEvent> events;
  std::vector<FakeUserObject> user_objects;
  std::map<CUstream, unsigned long long> stream_ids;  // else the handle
  std::map<CUcontext, int> context_sms;               // of green contexts
};

}  // namespace marlin::test

// The library's one state.
extern "C" marlin::test::FakeCuda* fake_cuda();
