// tune(): the layers of a program measured on its own GPU, and their kernels exchanged for faster
// ones. In the library marlin::tuner.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "marlin/error.h"
#include "marlin/linear.h"
#include "marlin/problem.h"

namespace marlin {

// One cell of a tuning run: one rung of one problem, whichever Linears have it.
struct TunedCell {
  enum class Status {
    tuned,   // measured; config_after is its choice
    kept,    // the database had its choice already
    failed,  // could not be measured: `why`. Kernels stay as they are
    left,    // not begun or not finished before the budget or the callback ended the run
  };

  Problem problem;  // m is the rung
  bool chained = false;
  Status status = Status::left;
  // The configs of the kernel that launches had, or would have had, and of the one for launches to
  // come; equal where nothing was measured to be faster beyond the noise, by a per cent or two.
  std::string config_before, config_after;
  // Microseconds of one launch, medians of the same race: cold weights, all rows of the rung. 0
  // where it was not raced in this run.
  double us_before = 0, us_after = 0;
  int exchanged = 0;  // Linears that have another kernel than before
  std::string why;    // failed

  int number = 0, of = 0;  // 1..of, in the order of the run
};

const char* to_string(TunedCell::Status status);  // "tuned", "kept", "failed", "left"

struct TuneOptions {
  // Row counts, 1..kMaxM, each of which stands for its rung. Empty: for each problem the rungs
  // whose kernels its Linears have; where they have none, the rungs of 1..256.
  std::vector<std::int64_t> rows = {};
  // Configs measured for each cell, of those the cost model ranks first, and the present one
  // besides; 0: all. The more, the longer.
  int candidates = 8;
  // No measurement begins after so many seconds; 0: no limit.
  double budget_seconds = 0;
  // The database that gets the records. Left out, it is where kernels look first: that of
  // Options::tuning_db of each Linear. Other processes see what is kept in that one only.
  std::optional<std::string> db = std::nullopt;
  // Work is enqueued on this stream, behind what is there already; null: on one of its own. It must
  // be one that can be captured, which the legacy stream is not; best a non-blocking one, for it is
  // captured for moments, in which other threads could not make kernels if it were blocking.
  CUstream_st* stream = nullptr;
  // The Linears take the winners. With false they keep the kernels they have, whereas Linears and
  // Compileds to come get the winners all the same.
  bool swap = true;
  // Measure what the database has a choice for as well.
  bool retune = false;
  // Kernels are compiled on so many threads while the GPU measures; 0: one for each core.
  int threads = 0;
  // Hears of each cell when it has ended, on the calling thread; false ends the run. It may launch
  // and read, and must not call tune(). What it throws ends the run, too, and is thrown on.
  std::function<bool(const TunedCell&)> progress = {};
};

// Measures, for each rung of each problem of these Linears, the configs that the cost model ranks
// first, and the present one, and keeps the choice in the tuning database; then the Linears take
// the winners. Each config is checked against an FP64 reference before its time counts; the fastest
// are raced against each other in turns. Linears with the same problem are tuned once; chained and
// isolated ones (Options::chained) apart. Smallest rungs first. Returns every cell, in that order.
//
// It is made to take some tenths of a second for each cell on an idle GPU, where enough cores
// compile meanwhile. What else runs on the GPU meanwhile makes its times worse, so tune when a
// program starts, before it serves. One call at a time measures on a GPU; others wait for it. It
// goes through candidates in this process: one that crashed would take the context with it, as any
// kernel would (Error{driver_failed}, with the config kept as one that must not be tried again).
// `marlin tune` gives each GPU a process of its own.
//
// Results. Exchanged kernels may add in another order: results keep their accuracy, but not their
// bits. Within one kernel they stay the same from run to run, as always.
//
// Launches. The exchange is one atomic store for each rung of each Linear: launches from other
// threads have the old kernel or the new one, and never wait. CUDA graphs and Compileds keep the
// kernel that they have; no kernel of a Linear is ever unloaded, so that each exchanged one stays
// in memory beside the new one (some 100 KB). While a stream is being captured (as for
// Compiled::get()) it is Error{capturing}; captures that others begin later stay intact, and a cell
// that cannot be measured for one is `failed`.
//
// What sees the new choices: the Linears given here, at once; every Compiled::get() and every rung
// that a Linear fills from then on, in this process and, from the database, in those to come. Rungs
// that other Linears have filled before keep their kernels. Other row counts than those tuned may
// take the new records as those of neighbours (README, Tuning) where they have no kernel in memory.
//
// Memory. Device memory for scratch operands, allocated by cuMemAlloc and freed before the call
// returns: 260 MB of copies of the weights, for times as after a cold start; about 2 bytes for each
// weight of one layer and 750 for each of its columns; A twice and C three times. The
// kernels of losing candidates are unloaded. What stays: the Linears' workspaces, which may grow
// for a new kernel as they do when one is first needed. Nothing of the program's memory is written.
//
// All Linears must be of the context that is current, and outlive the call. Safe to call while
// others launch. Throws Error{invalid_argument} for a null or moved-from Linear, rows
// outside 1..kMaxM, negative numbers, no place for the database, the legacy stream, another
// context, a call from its own callback, and, with `swap`, for a Linear whose options fix its
// kernels (config, target, batch_invariant); Error{jit_disabled} where compiling is;
// Error{capturing}; Error{io} of the database, Error{no_nvrtc}, and Error{driver_failed} when the
// context is lost. Whatever is thrown, cells that ended before have been kept and exchanged.
std::vector<TunedCell> tune(std::span<const Linear* const> linears,
                            const TuneOptions& options = {});
std::vector<TunedCell> tune(const Linear& linear, const TuneOptions& options = {});

// From here on Options::tune_on_first_use works in this process. An explicit call, and no object
// that registers itself, as linkers drop such objects from static libraries. Safe to call often and
// from any thread.
void enable_tuning();

}  // namespace marlin
