// A stream -> the zeroed device memory that its launches share.
// Entry points: Workspaces::reserve, Workspaces::lend, process_workspaces.
#include "runtime/launch/workspaces.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

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

Workspaces::Lease::Lease(Shared& shared, CUstream stream, std::unique_lock<std::mutex> lock)
    : pointer_(shared.pointer), shared_(&shared), stream_(stream), lock_(std::move(lock)) {}

void Workspaces::Lease::enqueued() {
  if (shared_ == nullptr) return;
  check(driver().cuEventRecord(shared_->done, stream_), "cuEventRecord");
  shared_->used = true;
  lock_.unlock();
}

StreamKey Workspaces::key_of(std::uint64_t context, CUstream stream) {
  if (stream == CU_STREAM_LEGACY) return {context, nullptr, 0};
  if (stream != CU_STREAM_PER_THREAD) return {context, stream, 0};
  static thread_local const ThreadNumber thread;
  return {context, stream, thread.number()};
}

void Workspaces::reserve(std::uint64_t context, std::size_t bytes, std::size_t most) {
  if (bytes == 0) return;
  const std::lock_guard lock(mutex_);
  Pool& pool = pools_[context];
  if (pool.bytes < bytes) grow(pool, pool.bytes == 0 ? bytes : std::max(bytes, most));
}

// One allocation for all buffers. Those that are outgrown stay: work may be under way in them, and
// graphs hold their addresses.
void Workspaces::grow(Pool& pool, std::size_t bytes) {
  constexpr std::size_t kAlignment = 256;
  bytes = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  const RelaxedCapture relaxed;
  for (Shared& shared : pool.shared) {
    if (shared.done != nullptr) continue;
    check(driver().cuEventCreate(&shared.done, CU_EVENT_DISABLE_TIMING), "cuEventCreate");
  }
  CUdeviceptr address = allocate_zeroed((kOwn + kShared) * bytes);
  const auto next = [&] {
    void* const pointer = reinterpret_cast<void*>(address);  // NOLINT(performance-no-int-to-ptr)
    address += bytes;
    return pointer;
  };
  for (void*& own : pool.own) own = next();
  for (Shared& shared : pool.shared) shared.pointer = next();
  pool.bytes = bytes;
}

Workspaces::Lease Workspaces::find(const StreamKey& key, CUstream stream, std::size_t bytes) {
  std::unique_lock lock(mutex_);
  Pool& pool = pools_[key.context];
  if (pool.bytes < bytes) grow(pool, bytes);
  auto owner = std::find(pool.owners.begin(), pool.owners.end(), key);
  if (owner == pool.owners.end() && pool.owners.size() < kOwn) {
    owner = pool.owners.insert(owner, key);
  }
  if (owner != pool.owners.end()) {
    void* const pointer = pool.own[static_cast<std::size_t>(owner - pool.owners.begin())];
    table_.assign(key, &buffers_.emplace_back(Buffer{pointer, pool.bytes}));
    return Lease(pointer);
  }
  CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
  cuuint64_t capture = 0;
  CUgraph graph = nullptr;
  if (is_capturing(stream)) {
    check(driver().cuStreamGetCaptureInfo(stream, &status, &capture, &graph, nullptr, nullptr),
          "cuStreamGetCaptureInfo");
  }
  if (status == CU_STREAM_CAPTURE_STATUS_ACTIVE) {
    return Lease(captured_for(pool, graph, capture, bytes));
  }
  return {shared_for(pool, stream), stream, std::move(lock)};
}

// The one that the stream has had last, else the one that nobody has used for the longest time.
Workspaces::Shared& Workspaces::shared_for(Pool& pool, CUstream stream) {
  unsigned long long id = 0;  // unlike its handle never that of a later stream
  check(driver().cuStreamGetId(stream, &id), "cuStreamGetId");
  auto found = std::find_if(pool.shared.begin(), pool.shared.end(), [&](const Shared& shared) {
    return shared.used && shared.stream_id == id;
  });
  if (found == pool.shared.end()) {
    found =
        std::min_element(pool.shared.begin(), pool.shared.end(),
                         [](const Shared& x, const Shared& y) { return x.last_use < y.last_use; });
    if (found->used) {
      check(driver().cuStreamWaitEvent(stream, found->done, CU_EVENT_WAIT_DEFAULT),
            "cuStreamWaitEvent");
    }
    found->stream_id = id;
  }
  found->last_use = ++pool.uses;
  return *found;
}

void* Workspaces::captured_for(Pool& pool, CUgraph graph, std::uint64_t capture,
                               std::size_t bytes) {
  Captured* free = nullptr;
  for (Captured& one : pool.captured) {
    if (one.bytes < bytes) continue;
    if (one.in_use.load(std::memory_order_acquire)) {
      if (one.capture == capture) return one.pointer;
    } else {
      free = &one;
    }
  }
  const RelaxedCapture relaxed;
  if (free == nullptr) {
    const CUdeviceptr address = allocate_zeroed(pool.bytes);
    free = &pool.captured.emplace_back();
    free->pointer = reinterpret_cast<void*>(address);  // NOLINT(performance-no-int-to-ptr)
    free->bytes = pool.bytes;
    free->in_use = false;
  }
  // The driver calls this when graph and instances are gone; it may call nothing of the driver.
  const CUhostFn gone = [](void* one) {
    static_cast<Captured*>(one)->in_use.store(false, std::memory_order_release);
  };
  CUuserObject object = nullptr;
  check(driver().cuUserObjectCreate(&object, free, gone, 1, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC),
        "cuUserObjectCreate");
  free->capture = capture;
  free->in_use = true;
  check(driver().cuGraphRetainUserObject(graph, object, 1, CU_GRAPH_USER_OBJECT_MOVE),
        "cuGraphRetainUserObject");
  return free->pointer;
}

Workspaces& process_workspaces() {
  static auto& workspaces = *new Workspaces;  // never ends, as its buffers
  return workspaces;
}

}  // namespace marlin
