// Linear: one packed weight matrix with the kernels for every row count.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "marlin/compiled.h"
#include "marlin/error.h"
#include "marlin/problem.h"

struct CUstream_st;

namespace marlin {

// A weight matrix [k, n] in device memory, packed as pack.h says; both pointers aligned to 16
// bytes.
struct DeviceWeights {
  std::int64_t n = 0;
  std::int64_t k = 0;
  Scheme scheme = {};            // how they are held
  const void* b = nullptr;       // packed codes, packed_bytes() of them
  const void* scales = nullptr;  // FP16, permuted, scales_bytes() of them
};

class Ladder;  // what stands behind a Linear
class Linear;
const Ladder& ladder_of(const Linear& linear);  // for tune()

// C[m, n] = A[m, k] * W for every m in 0..kMaxM, with the kernel of m's rung of the ladder. Each
// kernel is compiled or loaded when it is first needed, or all of them beforehand by warm_up().
//
// Belongs to the CUDA context that was current when it was made, which must be current wherever it
// is called and must outlive it. The weights' memory stays the caller's; it must outlive the
// Linear, the launches and every graph captured from them.
//
// Movable and not copyable: it is made once for each layer, and a copy would say nothing new. What
// was moved from may only be assigned to or destroyed. Calls, warm_up() and tune() (marlin/tune.h),
// which may exchange its kernels, are safe from many threads at once; moving and destroying is for
// one thread when no other is inside.
//
// Workspaces. Some kernels need device memory to add partial sums in. It is the library's, which
// all Linears of a context share: five buffers, allocated when the first such kernel is made, and
// kept until the process ends. The first three streams of a context that need one keep one each.
// Later streams are lent the other two by events, so that their work on them follows each other; in
// programs with more than three streams at once this may cost concurrency, never correctness.
// - A graph captured from one of the first three streams takes that stream's buffer to wherever it
// is
//   launched. It must not run at the same time as another graph captured from that stream, or as
//   calls on that stream. Capture such graphs from a stream each, or launch them through Compiled,
//   which leaves the workspace to the caller. Graphs from other streams have buffers of their own.
// - The driver may give a new stream the handle of a destroyed one, and then it has the same
//   workspace: destroy a stream when its work has finished, and keep the first three streams that
//   graphs were captured from as long as these graphs where they are to run at the same time.
// - A null stream is the legacy default stream, in programs built for per-thread default streams
//   as well: these pass CU_STREAM_PER_THREAD (cudaStreamPerThread), of which every thread has its
//   own.
class Linear {
 public:
  // Remembers the pointers and allocates nothing on the device. The options serve every kernel;
  // their stream is the one that warm_up() asks whether it is being captured. With
  // Options::chained each call is a dependent launch, which asks something of the kernels before it
  // on the stream, those of pack_codes_gpu() among them: see LaunchArgs::dependent. Throws
  // Error{invalid_shape}, Error{invalid_argument} for a null or misaligned pointer or a
  // tune_on_first_use that nothing stands behind, Error{no_driver} or Error{no_device} (no context
  // is current).
  explicit Linear(const DeviceWeights& weights, const Options& options = {});
  ~Linear();
  Linear(Linear&& other) noexcept;
  Linear& operator=(Linear&& other) noexcept;

  // Enqueues one product: a is FP16 [m, k], c is FP16 [m, n], both row-major, of the context's
  // device and aligned to 16 bytes; so is the stream. When the rung's kernel is there this is an
  // atomic load, a look-up of the stream's workspace if the kernel needs one, and a launch, and it
  // can be captured in a CUDA graph. Otherwise the kernel is made as by Compiled::get(), which is
  // Error{capturing} while the stream, or a blocking stream of the context, is being captured. A
  // call that has its kernel neither allocates nor waits; but a capture that needs a workspace of
  // its own has it allocated, and stays intact.
  //
  // With m = 0 it enqueues nothing and looks at no pointer, as a rank without rows needs it.
  //
  // Throws Error{invalid_argument} for m outside 0..kMaxM, a null or misaligned pointer or when
  // another context is current, Error{driver_failed}, and what Compiled::get() throws.
  void operator()(CUstream_st* stream, const void* a, std::int64_t m, void* c) const;

  // Compiles or loads the kernels for 1..most_m rows that are not there yet, on so many threads (0:
  // one for each core), the largest first; the calling thread is one of them. When kernels fail the
  // others are still made; then the error of the fewest rows is thrown. Needs no current context.
  // Throws Error{invalid_argument} for most_m outside 0..kMaxM or negative threads, and what
  // Compiled::get() throws.
  void warm_up(std::int64_t most_m = kMaxM, int threads = 0) const;

  // The same for several at once: kernels that they share are made once, and nobody waits for them.
  static void warm_up(std::span<const Linear* const> linears, std::int64_t most_m = kMaxM,
                      int threads = 0);

  const DeviceWeights& weights() const;

 private:
  friend const Ladder& ladder_of(const Linear& linear);
  const Ladder& ladder() const;

  std::unique_ptr<const Ladder> ladder_;
};

}  // namespace marlin
