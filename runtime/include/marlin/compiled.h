// Compiled: a kernel for one shape on one device, compiled or loaded, ready to launch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "marlin/error.h"
#include "marlin/shape.h"
#include "marlin/target.h"

struct CUstream_st;

namespace marlin {

// Where and how kernels are found. The defaults read the environment once per process:
// MARLIN_CACHE_DIR, MARLIN_SYSTEM_CACHE_DIRS (colon separated), MARLIN_DISABLE_JIT.
struct Options {
  std::optional<std::string> cache_dir;                 // user cache; "" keeps kernels in memory only
  std::optional<std::vector<std::string>> system_dirs;  // read-only prebuilt caches, tried in order
  std::optional<bool> disable_jit;                      // a miss is an error, NVRTC is never opened
  std::optional<std::string> config;                    // a config by its text instead of our choice
  std::optional<Target> target;                         // emit for this target on the current device
};

// Device pointers of one launch. All must be 16-byte aligned.
struct LaunchArgs {
  const void* a = nullptr;       // FP16 [m, k], row-major
  const void* b = nullptr;       // packed codes, k * n / 2 bytes (see pack.h)
  const void* scales = nullptr;  // FP16 [k / group, n] ([1, n] for group -1), permuted (see pack.h)
  void* c = nullptr;             // FP16 [m, n], row-major
  void* workspace = nullptr;     // workspace_bytes(); may be null when that is 0
  std::int64_t m = 0;            // rows; 0 means the shape's m
};

class Kernel;  // what stands behind a Compiled; never freed before the process ends

// A cheap copyable handle. All members are safe to call from many threads at once.
class Compiled {
 public:
  // The kernel for this shape on the current CUDA context's device: from memory, else from the disk
  // caches, else from NVRTC. A hit in memory is a look-up and nothing else. Throws Error.
  static Compiled get(const Shape& shape);
  static Compiled get(const Shape& shape, const Options& options);

  // Enqueues one product on the stream. Never allocates or synchronises; can be captured in a
  // CUDA graph. Throws Error{invalid_argument} or Error{driver_failed}.
  void launch(CUstream_st* stream, const LaunchArgs& args) const;

  // Bytes of device memory that launches on one stream may share (launches that can run at the
  // same time need one each). It must be zeroed once; every finished launch leaves it fit for the
  // next.
  std::size_t workspace_bytes() const;

  const Shape& shape() const;    // m is the rung when it is not exact
  const Target& target() const;
  const std::string& config() const;
  const std::string& source() const;  // the emitted CUDA text

 private:
  explicit Compiled(const Kernel* kernel) : kernel_(kernel) {}
  const Kernel* kernel_;
};

}  // namespace marlin
