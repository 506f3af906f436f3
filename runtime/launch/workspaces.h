// Workspaces: the device memory that launches add partial sums in, a bounded pool in each context.
#pragma once

#include <cuda.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <vector>

#include "runtime/base/lock_free_table.h"

namespace marlin {

// A stream of any context. The legacy stream is null; the per-thread default stream, one handle for
// a stream of each thread, is told apart by the thread.
struct StreamKey {
  std::uint64_t context = 0;  // as cuCtxGetId numbers it
  CUstream stream = nullptr;
  std::uint64_t thread = 0;  // 0 but for the per-thread default stream

  friend bool operator==(const StreamKey&, const StreamKey&) = default;
};

struct StreamKeyHash {
  std::size_t operator()(const StreamKey& key) const noexcept {
    return mixed_bits(reinterpret_cast<std::uintptr_t>(key.stream) * 0x9e3779b97f4a7c15u +
                      key.context * 0xc2b2ae3d27d4eb4fu + key.thread * 0x165667b19e3779f9u);
  }
};

// The launches of one stream follow each other, and every finished launch leaves a workspace fit
// for the next (Compiled::workspace_bytes), so a stream needs one buffer. The first streams of a
// context get one each and keep it; a launch there is a look-up. All later streams share two more,
// which are handed from stream to stream by events: enqueued, never waited for by the caller. What
// is captured on such a stream gets a buffer of its own for as long as the graph and its instances
// live. So however many streams come and go, a context has kOwn + kShared buffers and those of its
// graphs. None is given back to the driver. All members are safe to call from many threads at once;
// the context is always the current one.
class Workspaces {
  struct Shared;

 public:
  static constexpr std::size_t kOwn = 3, kShared = 2;

  // A buffer for what is enqueued on one stream until this ends.
  class Lease {
   public:
    void* pointer() const { return pointer_; }
    // To be called when all of it is enqueued. Throws Error{driver_failed}.
    void enqueued();

   private:
    friend class Workspaces;
    explicit Lease(void* pointer) : pointer_(pointer) {}
    Lease(Shared& shared, CUstream stream, std::unique_lock<std::mutex> lock);

    void* pointer_;
    Shared* shared_ = nullptr;
    CUstream stream_ = nullptr;
    std::unique_lock<std::mutex> lock_;  // nobody hands over a shared buffer meanwhile
  };

  // Allocates the context's buffers for launches that need so many bytes, so that no launch has to.
  // When they turn out too small, new ones have `most` bytes, which should do for all kernels.
  // Works while any stream is being captured. Throws Error{driver_failed}.
  void reserve(std::uint64_t context, std::size_t bytes, std::size_t most);

  // At least so many bytes, more than 0, zeroed before any launch that is still to come. Allocates
  // only where that was not reserved, and for what is captured on a stream without a buffer of its
  // own. Works while any stream, this one too, is being captured, and leaves the capture intact.
  // Throws Error{driver_failed}.
  Lease lend(std::uint64_t context, CUstream stream, std::size_t bytes) {
    const StreamKey key = key_of(context, stream);
    const Buffer* own = table_.find(key);
    return own != nullptr && own->bytes >= bytes ? Lease(own->pointer) : find(key, stream, bytes);
  }

 private:
  struct Buffer {
    void* pointer = nullptr;
    std::size_t bytes = 0;
  };
  // Lent to the stream of this id; `done` comes after all that was enqueued with it.
  struct Shared {
    void* pointer = nullptr;
    CUevent done = nullptr;
    std::uint64_t stream_id = 0, last_use = 0;
    bool used = false;
  };
  // What one capture uses, until its graph and the graph's instances are gone.
  struct Captured {
    void* pointer = nullptr;
    std::size_t bytes = 0;
    std::uint64_t capture = 0;
    std::atomic<bool> in_use{true};
  };
  struct Pool {
    std::size_t bytes = 0;  // of each buffer
    std::array<void*, kOwn> own{};
    std::array<Shared, kShared> shared;
    std::vector<StreamKey> owners;
    std::deque<Captured> captured;
    std::uint64_t uses = 0;
  };

  static StreamKey key_of(std::uint64_t context, CUstream stream);
  Lease find(const StreamKey& key, CUstream stream, std::size_t bytes);
  static void grow(Pool& pool, std::size_t bytes);
  static Shared& shared_for(Pool& pool, CUstream stream);
  static void* captured_for(Pool& pool, CUgraph graph, std::uint64_t capture, std::size_t bytes);

  std::mutex mutex_;                     // of all below; the table's readers need none
  std::map<std::uint64_t, Pool> pools_;  // by context
  std::deque<Buffer> buffers_;
  LockFreeTable<StreamKey, Buffer, StreamKeyHash> table_;
};

// The one that Linear uses.
Workspaces& process_workspaces();

}  // namespace marlin
