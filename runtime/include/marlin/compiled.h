// Compiled: a kernel for one shape on one device, compiled or loaded, ready to launch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "marlin/error.h"
#include "marlin/shape.h"
#include "marlin/target.h"

struct CUstream_st;

namespace marlin {

// Where and how kernels are found. What is left out comes from the environment, which is read once
// per process when the first four are all left out. The first five matter only while a kernel is
// not in memory yet.
struct Options {
  // The user's cache folder, written and read; "" keeps kernels in memory only.
  // MARLIN_CACHE_DIR, else $XDG_CACHE_HOME/marlin, else ~/.cache/marlin, else "".
  std::optional<std::string> cache_dir = std::nullopt;
  // Prebuilt cache folders, only read, in this order. MARLIN_SYSTEM_CACHE_DIRS, colon separated.
  std::optional<std::vector<std::string>> system_dirs = std::nullopt;
  // A kernel that no cache has is Error{jit_disabled}, and NVRTC is never opened.
  // MARLIN_DISABLE_JIT: 1, true, yes or on; 0, false, no, off or nothing.
  std::optional<bool> disable_jit = std::nullopt;
  // The user's tuning database, only read; "" for none. MARLIN_TUNING_DB, else
  // $XDG_DATA_HOME/marlin/tuning.jsonl, else ~/.local/share/marlin/tuning.jsonl, else "". After it
  // come the file tuning.jsonl of each prebuilt folder and of the user's, and the data the library
  // ships. Each file is read once; one that cannot be trusted is passed over (`marlin doctor` says
  // why).
  std::optional<std::string> tuning_db = std::nullopt;
  // The stream of the launches to come, asked whether it is being captured.
  CUstream_st* stream = nullptr;

  // A config by its text, as `marlin inspect` prints it, in place of our choice. "model" is the
  // cost model's choice, whatever the tuning databases say.
  std::optional<std::string> config = std::nullopt;
  // Emit for this target instead of the current device's own: fewer SMs, say. The device must be
  // able to run that architecture.
  std::optional<Target> target = std::nullopt;
  // Our choice of config is that for chained launches, as layers follow each other in a model: each
  // launch is a dependent one (LaunchArgs::dependent), and what counts is the time from one to the
  // next. Configs tuned for that are looked for first, then those tuned for isolated launches. A
  // Linear made with it launches so, too; launches of a Compiled are as their arguments say.
  bool chained = false;

  friend bool operator==(const Options&, const Options&) = default;
};

// Device pointers of one launch, each aligned to 16 bytes and none null.
struct LaunchArgs {
  const void* a = nullptr;       // FP16 [m, k], row-major
  const void* b = nullptr;       // packed codes, k * n / 2 bytes (see pack.h)
  const void* scales = nullptr;  // FP16 [k / group, n] ([1, n] for group -1), permuted (see pack.h)
  void* c = nullptr;             // FP16 [m, n], row-major
  void* workspace = nullptr;     // workspace_bytes() of them; may be null when that is 0
  std::int64_t m = 0;            // rows; 0 means the m of the shape given to get()
  // Programmatic dependent launch: the kernel may start while the stream's previous kernel still
  // runs, and requests its weights before that one is done. So the previous kernel must not write b
  // or scales; nor, where it was launched so itself, the one before it, and so on. Whatever was
  // written earlier is fine, and so is an a or c that the previous kernel reads or writes. Results
  // are identical on or off, in streams and in graphs. A kernel that cannot is launched as always.
  bool dependent = false;
};

// What a kernel takes from its device. Sizes in bytes.
struct Resources {
  int threads = 0;  // of a block
  int grid_x = 0, grid_y = 0, grid_z = 0;
  int registers = 0;     // of a thread
  int spill_bytes = 0;   // stored and loaded by a thread
  int shared_bytes = 0;  // of a block, dynamic
  std::size_t cubin_bytes = 0;
};

// Where a kernel came from when it was first asked for in this process.
enum class Origin { user_cache, system_cache, compiled };
const char* to_string(Origin origin);  // "user cache", "system cache", "compiled"

// How its config was chosen: by Options::config; by a record of a tuning database that was measured
// for its very shape on such a GPU, or near it, for another m or on another GPU of the target,
// where the cost model finds that it suits this shape as well; by the cost model.
enum class ChosenBy { given, tuned, nearest, model };
const char* to_string(ChosenBy by);  // "given", "tuned", "nearest", "model"

class Kernel;  // what stands behind a Compiled; never freed before the process ends
struct Result;

// A cheap copyable handle. All members are safe to call from many threads at once.
class Compiled {
 public:
  // The kernel for this shape on the device of the CUDA context that is current on this thread:
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
  static Compiled get(const Shape& shape);
  static Compiled get(const Shape& shape, const Options& options);

  // The same, with the error as a value.
  static Result try_get(const Shape& shape);
  static Result try_get(const Shape& shape, const Options& options);

  // Enqueues one product on the stream (null: the legacy default stream) of the current context,
  // which must be one of the device the kernel was got for. Never allocates or synchronises; can be
  // captured in a CUDA graph. Throws Error{invalid_argument} or Error{driver_failed}.
  void launch(CUstream_st* stream, const LaunchArgs& args) const;

  // Bytes of device memory that launches of this kernel need; 0 for most. It must be zeroed once;
  // every finished launch leaves it fit for the next, of this or any other kernel, so one buffer of
  // the largest size serves all kernels on one stream. Launches that can run at the same time need
  // one each.
  std::size_t workspace_bytes() const;

  const Shape& shape() const;  // m is the rung, the most rows it serves, when it is not exact
  const Target& target() const;
  const std::string& config() const;  // as Options::config takes it
  ChosenBy chosen_by() const;
  const std::string& source() const;  // the emitted CUDA text
  const Resources& resources() const;
  Origin origin() const;

 private:
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
