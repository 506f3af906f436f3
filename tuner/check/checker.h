// Checks kernels on fresh random data against an FP64 product made from the logical weights.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "marlin/compiled.h"
#include "marlin/problem.h"
#include "tuner/measure/gpu.h"

namespace marlin {

// What one launch wrote, against the reference.
struct Check {
  std::int64_t m = 0;
  double relative_error = 0;            // ||out - ref|| / ||ref||
  double max_error = 0;                 // max |out - ref|
  std::uint64_t not_finite = 0;         // results that are NaN or infinite, as unwritten ones are
  std::uint64_t written_outside = 0;    // 16-bit words changed before or after C's m rows
  std::uint64_t workspace_outside = 0;  // and after the workspace
  std::uint64_t not_repeated = 0;       // results that a second launch gave other bits
  std::uint64_t dependent_differ = 0;   // and that dependent launches did

  bool ok(double tolerance) const;
  // What is wrong, or empty: "relative error 0.013, 64 results not finite".
  std::string findings(double tolerance) const;
};

// The fewest rows that a kernel of this shape is chosen for: one more than the rung below its own,
// or its m where that is exact.
std::int64_t fewest_rows(const Problem& kernel);

// The row counts worth running a kernel of this shape with: those asked for, and for one that
// serves fewer rows than its rung also 1, the fewest its rung is chosen for, and one from there to
// the rung drawn by the seed. Ascending, each once.
std::vector<std::int64_t> rows_to_check(const Problem& kernel, std::vector<std::int64_t> asked,
                                        std::uint64_t seed);

// From the sums that compare (tuner/kernels/reference.cu) leaves, four for each block.
Check check_from(const std::vector<double>& partial);

// The kernels that checks are made with, compiled once.
class Checker {
 public:
  // `stream`: somebody else's to work on; null: its own.
  explicit Checker(const Gpu& gpu, CUstream stream = nullptr);

  const Stream& stream() const { return stream_; }
  const Filler& filler() const { return filler_; }
  const KernelFile& kernels() const { return kernels_; }

 private:
  Stream stream_;
  Filler filler_;
  KernelFile kernels_;
};

// One set of weights and up to max_m rows of activations, their packed form and their FP64 product.
// Everything is drawn from the seed: codes uniform in 0..15, scales uniform in 0.002..0.005,
// activations normal with deviation 1.
class CheckedProduct {
 public:
  // Takes n, k and group from the shape, and its m as the most rows; a kernel for more rows than
  // these may be run with fewer. Only the first `distinct_rows` rows of activations are drawn, and
  // the FP64 product made of; they repeat after that, so that every row of C is held against it.
  // Throws Error{invalid_shape} and Error{driver_failed}.
  CheckedProduct(const Checker& checker, const Problem& problem, std::uint64_t seed,
                 std::int64_t distinct_rows = kMaxM);

  // For products whose FP64 reference would take seconds. A prime, so that a tile of rows in the
  // wrong place shows.
  static constexpr std::int64_t kFewRows = 61;

  // Two launches of m rows into poisoned memory, and, if `dependent`, two dependent ones in a row
  // (LaunchArgs::dependent); all must give the bits of the first. One workspace, zeroed once,
  // serves the kernels of all runs. Throws GpuStuck when a launch does not end.
  Check run(const Compiled& kernel, std::int64_t m, bool dependent = true);

  // So many replays of one CUDA graph of one launch, or of two dependent ones in a row, each into
  // poisoned C; how many 16-bit words of all results differ from those of a launch outside it.
  std::uint64_t replay(const Compiled& kernel, std::int64_t m, int replays, bool dependent = false);

 private:
  void repeat_rows() const;
  LaunchArgs arguments(std::int64_t m) const;
  void poison() const;
  void launch(const Compiled& kernel, std::int64_t m, bool dependent) const;
  std::size_t prepare_workspace(const Compiled& kernel);  // bytes before its guard
  void fetch(void* to, std::size_t bytes) const;
  std::uint64_t counted(const std::function<void()>& enqueue) const;
  void add_other(CUdeviceptr words, std::uint64_t count) const;
  void add_changed(std::uint64_t count) const;
  void keep_first(std::uint64_t count) const;
  std::uint64_t outside(std::int64_t m) const;
  Check compare_with_reference(std::int64_t m) const;

  const Checker& checker_;
  Problem shape_;
  std::int64_t rows_;    // of activations that differ
  std::uint64_t guard_;  // 16-bit words of poison before and after C
  DeviceBuffer a_, packed_, packed_scales_, reference_, c_, first_c_, workspace_, counter_;
};

}  // namespace marlin
