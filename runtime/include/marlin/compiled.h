// Compiled: a kernel for one problem on one device, compiled or loaded, ready to launch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "marlin/error.h"
#include "marlin/options.h"
#include "marlin/problem.h"
#include "marlin/target.h"

struct CUstream_st;

namespace marlin {

// Device pointers of one launch, each aligned to 16 bytes and none null; of a launch of no rows
// none is looked at.
struct LaunchArgs {
  const void* a = nullptr;  // FP16 [m, k], row-major
  const void* b = nullptr;  // packed codes, k * n / 2 bytes (see pack.h)
  // FP16 [k / group, n] ([1, n] for group -1), permuted, none beyond kMaxScale (see pack.h).
  const void* scales = nullptr;
  void* c = nullptr;          // FP16 [m, n], row-major
  void* workspace = nullptr;  // workspace_bytes() of them; may be null when that is 0
  // Rows, 0 too; left out: the m of the shape given to get().
  std::optional<std::int64_t> m = std::nullopt;
  // Programmatic dependent launch: the kernel may start while the stream's previous kernel still
  // runs, and requests its weights before that one is done. So the previous kernel must not write b
  // or scales; nor, where it was launched so itself, the one before it, and so on. Whatever was
  // written earlier is fine, and so is an a or c that the previous kernel reads or writes. Results
  // are identical on or off, in streams and in graphs. A kernel that cannot is launched as always.
  bool dependent = false;
};

class Kernel;       // what stands behind a Compiled; never freed before the process ends
class KernelStore;  // where they are kept
struct Result;

// A cheap copyable handle. All members are safe to call from many threads at once.
class Compiled {
 public:
  // The kernel for this problem on the device of the CUDA context that is current on this thread:
  // from memory, else from the user's cache, else from the prebuilt caches, else from NVRTC. A hit
  // in memory is a look-up and nothing else. Of the threads of a process that want a kernel which
  // is not there yet, one makes it; when that fails each gets the error, and the next call tries
  // again. Shapes whose m goes up to the same rung share a kernel unless exact_m is set.
  //
  // While a stream is captured into a CUDA graph a hit in memory works and everything else is
  // Error{capturing}; the graph is left intact. Seen are a capture of options.stream and any
  // capture of a blocking stream of the context. A capture of a stream made with
  // CU_STREAM_NON_BLOCKING that the call is not told of cannot be seen: then the kernel is built
  // and loaded beside the capture, which stays intact too.
  //
  // Throws Error with any code but `io`: a cache that cannot be read or written is a miss.
  static Compiled get(const Problem& problem);
  // For the plain case: the scheme f16.u4b8.g128.
  static Compiled get(const Shape& shape);
  static Compiled get(const Problem& problem, const Options& options);
  static Compiled get(const Shape& shape, const Options& options);

  // The same, with the error as a value.
  static Result try_get(const Problem& problem);
  static Result try_get(const Shape& shape);
  static Result try_get(const Problem& problem, const Options& options);
  static Result try_get(const Shape& shape, const Options& options);

  // Enqueues one product on the stream (null: the legacy default stream) of the current context,
  // which must be one of the device the kernel was got for. Never allocates or synchronises; can be
  // captured in a CUDA graph. With m = 0 it enqueues nothing, whatever the kernel. Throws
  // Error{invalid_argument} or Error{driver_failed}.
  void launch(CUstream_st* stream, const LaunchArgs& args) const;

  // Bytes of device memory that launches of this kernel need; 0 for most. It must be zeroed once;
  // every finished launch leaves it fit for the next, of this or any other kernel, so one buffer of
  // the largest size serves all kernels on one stream. Launches that can run at the same time need
  // one each.
  std::size_t workspace_bytes() const;

  const Problem& problem() const;  // m is the rung, the most rows it serves, when it is not exact
  const Target& target() const;
  const std::string& config() const;  // as Options::config takes it
  ChosenBy chosen_by() const;
  const std::string& source() const;  // the emitted CUDA text
  const Resources& resources() const;
  Origin origin() const;
  // What was passed over on the way to this kernel, and why, a line each: variables with values
  // that mean nothing, folders and databases that are not there or not trusted, damaged entries,
  // cubins that the driver refused, caches that do not have it.
  const std::vector<std::string>& passed_over() const;

 private:
  friend class KernelStore;
  Compiled(const Kernel* kernel, std::int64_t m) : kernel_(kernel), m_(m) {}
  const Kernel* kernel_;
  std::int64_t m_;  // as given to get()
};

// A kernel, or the error that get() would have thrown.
struct Result {
  std::optional<Compiled> kernel = std::nullopt;
  std::optional<Error> error = std::nullopt;  // set exactly when there is no kernel

  explicit operator bool() const { return kernel.has_value(); }
};

}  // namespace marlin
