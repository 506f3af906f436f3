// Options: where and how kernels are found; and what a kernel tells of itself.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

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
  // ships. Each file is read once, and again after tune() (marlin/tune.h) has added to it; one that
  // cannot be trusted is passed over (`marlin doctor` says why).
  std::optional<std::string> tuning_db = std::nullopt;
  // The stream of the launches to come, asked whether it is being captured.
  CUstream_st* stream = nullptr;

  // A config by its text, as `marlin inspect` prints it, in place of our choice. "model" is the
  // cost model's choice, whatever the tuning databases say.
  std::optional<std::string> config = std::nullopt;
  // Emit for this target instead of the current device's own: fewer SMs, say. The device must be
  // able to run that architecture, or the one that arch_named() makes of it.
  std::optional<Target> target = std::nullopt;
  // Our choice of config is that for chained launches, as layers follow each other in a model: each
  // launch is a dependent one (LaunchArgs::dependent), and what counts is the time from one to the
  // next. Configs tuned for that are looked for first, then those tuned for isolated launches. A
  // Linear made with it launches so, too; launches of a Compiled are as their arguments say.
  bool chained = false;
  // A row of C gets the same bits whatever rows are beside it and however many, 1..kMaxM, by
  // kernels that all add up K in one order. The order follows from n, k, the scheme and the target
  // (GPU architecture and SMs), and may change with a release of this library; on another target
  // the bits may be others. It costs time, most for few and for many rows (README). A config given
  // beside it must have the order: else Error{invalid_config}. So is an NVRTC that compiles no
  // kernel of the order: 12.0, where blocks of a cluster share K. The same as Problem's
  // batch_invariant.
  bool batch_invariant = false;
  // For a Linear: a rung without a config that was measured for this very shape on such a GPU is
  // tuned when it is first filled, as by tune() (marlin/tune.h) with its defaults. That keeps this
  // call, or warm_up(), for some tenths of a second and the GPU busy meanwhile; it happens once in
  // a process, however many Linears and threads want it. While a stream is being captured nothing
  // is tuned, and where the rung cannot be measured (no memory for it, say) it is filled as without
  // this; other errors are those of tune(). Needs the library marlin::tuner and a call of its
  // enable_tuning(): else making the Linear is Error{invalid_argument}, as it is beside a config,
  // a target or batch_invariant. Compiled::get() pays it no heed.
  bool tune_on_first_use = false;

  friend bool operator==(const Options&, const Options&) = default;
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

}  // namespace marlin
