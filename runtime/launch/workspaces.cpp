// A stream -> the zeroed device memory that its launches share, allocated at the first need.
// Entry points: Workspaces::get, process_workspaces.
#include "runtime/launch/workspaces.h"

#include <fmt/format.h>

#include <algorithm>

#include "codegen/base/error.h"
#include "runtime/driver/driver.h"

namespace marlin {
namespace {

// Numbers from 1 for the threads that are alive; that of a thread that ended is given out again, as
// its per-thread stream is gone with it.
class ThreadNumber {
 public:
  ThreadNumber() {
    const std::lock_guard lock(shared().mutex);
    if (shared().free.empty()) {
      number_ = ++shared().last;
    } else {
      number_ = shared().free.back();
      shared().free.pop_back();
    }
  }
  ~ThreadNumber() {
    const std::lock_guard lock(shared().mutex);
    shared().free.push_back(number_);
  }
  ThreadNumber(const ThreadNumber&) = delete;
  ThreadNumber& operator=(const ThreadNumber&) = delete;

  std::uint64_t number() const { return number_; }

 private:
  struct Shared {
    std::mutex mutex;
    std::uint64_t last = 0;
    std::vector<std::uint64_t> free;
  };
  static Shared& shared() {
    static auto& all = *new Shared;  // outlives threads that end after main()
    return all;
  }

  std::uint64_t number_ = 0;
};

// On a stream of its own, which no capture knows and no other work holds up.
void zero(CUdeviceptr address, std::size_t bytes) {
  CUstream stream = nullptr;
  check(driver().cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), "cuStreamCreate");
  CUresult result = driver().cuMemsetD8Async(address, 0, bytes, stream);
  if (result == CUDA_SUCCESS) result = driver().cuStreamSynchronize(stream);
  driver().cuStreamDestroy(stream);
  check(result, "zeroing a workspace");
}

CUdeviceptr allocate_zeroed(std::size_t bytes) {
  const RelaxedCapture relaxed;
  CUdeviceptr address = 0;
  check(driver().cuMemAlloc(&address, bytes),
        fmt::format("allocating a workspace of {} bytes", bytes).c_str());
  try {
    zero(address, bytes);
  } catch (const Error&) {
    driver().cuMemFree(address);
    throw;
  }
  return address;
}

}  // namespace

StreamKey Workspaces::key_of(std::uint64_t context, CUstream stream) {
  if (stream == CU_STREAM_LEGACY) return {context, nullptr, 0};
  if (stream != CU_STREAM_PER_THREAD) return {context, stream, 0};
  static thread_local const ThreadNumber thread;
  return {context, stream, thread.number()};
}

void* Workspaces::grow(const StreamKey& key, std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  const Buffer* present = table_.find(key);
  if (present != nullptr && present->bytes >= bytes) return present->pointer;
  bytes = std::max(bytes, expected_[key.context]);
  if (present != nullptr) bytes = std::max(bytes, 2 * present->bytes);
  const CUdeviceptr address = allocate_zeroed(bytes);
  buffers_.push_back(std::make_unique<Buffer>(
      Buffer{reinterpret_cast<void*>(address), bytes}));  // NOLINT(performance-no-int-to-ptr)
  table_.assign(key, buffers_.back().get());
  return buffers_.back()->pointer;
}

void Workspaces::expect(std::uint64_t context, std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  std::size_t& expected = expected_[context];
  expected = std::max(expected, bytes);
}

Workspaces& process_workspaces() {
  static auto& workspaces = *new Workspaces;  // never ends, as its buffers
  return workspaces;
}

}  // namespace marlin
