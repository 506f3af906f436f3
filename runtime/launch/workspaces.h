// Workspaces: for each stream the one buffer that the launches on it share.
#pragma once

#include <cuda.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
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
// for the next (Compiled::workspace_bytes), so a stream needs one buffer. Device memory is never
// given back: graphs may hold a buffer's address, one that has been outgrown too. All members are
// safe to call from many threads at once.
class Workspaces {
 public:
  // At least so many bytes, more than 0, zeroed before any launch that is still to come; a look-up
  // when the stream has them. The context is the current one. Works while any stream, this one too,
  // is being captured, and leaves the capture intact. Throws Error{driver_failed}.
  void* get(std::uint64_t context, CUstream stream, std::size_t bytes) {
    const StreamKey key = key_of(context, stream);
    const Buffer* buffer = table_.find(key);
    if (buffer != nullptr && buffer->bytes >= bytes) return buffer->pointer;
    return grow(key, bytes);
  }

  // Buffers made in this context from now on have room for so many bytes, so that they need not
  // grow when a launch comes that needs them.
  void expect(std::uint64_t context, std::size_t bytes);

 private:
  struct Buffer {
    void* pointer;
    std::size_t bytes;
  };

  static StreamKey key_of(std::uint64_t context, CUstream stream);
  void* grow(const StreamKey& key, std::size_t bytes);

  std::mutex mutex_;  // of all below; the table's readers need none
  std::vector<std::unique_ptr<Buffer>> buffers_;
  std::map<std::uint64_t, std::size_t> expected_;  // by context
  LockFreeTable<StreamKey, Buffer, StreamKeyHash> table_;
};

// The one that Linear uses.
Workspaces& process_workspaces();

}  // namespace marlin
