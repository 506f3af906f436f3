// A kernel and a seed -> how far its results are from an FP64 product of the same logical weights.
// Entry points: CheckedProduct::run, CheckedProduct::replay.
#include "tuner/check/checker.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "codegen/plan/plan.h"
#include "marlin/pack.h"

namespace marlin {
namespace {

constexpr unsigned kPoison = 0xFFFF;  // an FP16 NaN
constexpr std::uint64_t kWorkspaceGuardBytes = 4096;
constexpr KernelFile::Grid kScanGrid{.x = 1024};

std::size_t elements(std::int64_t rows, std::int64_t columns) {
  return static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns);
}

std::int64_t group_of(const Problem& problem) {
  return problem.scheme.group == -1 ? problem.shape.k : problem.scheme.group;
}

unsigned tiles(std::int64_t size) { return static_cast<unsigned>((size + 63) / 64); }

}  // namespace

bool Check::ok(double tolerance) const { return findings(tolerance).empty(); }

std::string Check::findings(double tolerance) const {
  std::string text;
  const auto add = [&](const std::string& finding) {
    text += (text.empty() ? "" : ", ") + finding;
  };
  if (!(relative_error < tolerance)) add(fmt::format("relative error {:.3g}", relative_error));
  if (not_finite > 0) add(fmt::format("{} results not finite or not written", not_finite));
  if (written_outside > 0) add(fmt::format("{} words written outside C", written_outside));
  if (workspace_outside > 0) {
    add(fmt::format("{} words written after the workspace", workspace_outside));
  }
  if (not_repeated > 0) add(fmt::format("{} results not repeated bit for bit", not_repeated));
  if (dependent_differ > 0) {
    add(fmt::format("{} results differ in dependent launches", dependent_differ));
  }
  return text;
}

std::int64_t fewest_rows(const Problem& kernel) {
  if (kernel.shape.exact_m) return kernel.shape.m;
  const int rung = rung_index(kernel.shape.m);
  return rung == 0 ? 1 : rungs()[static_cast<std::size_t>(rung) - 1] + 1;
}

std::vector<std::int64_t> rows_to_check(const Problem& kernel, std::vector<std::int64_t> asked,
                                        std::uint64_t seed) {
  if (!kernel.shape.exact_m) {
    const std::int64_t fewest = fewest_rows(kernel);
    std::mt19937_64 random(seed + static_cast<std::uint64_t>(kernel.shape.m));
    const auto range = static_cast<std::uint64_t>(kernel.shape.m - fewest) + 1;
    asked.push_back(1);
    asked.push_back(fewest);
    asked.push_back(fewest + static_cast<std::int64_t>(random() % range));
  }
  std::sort(asked.begin(), asked.end());
  asked.erase(std::unique(asked.begin(), asked.end()), asked.end());
  return asked;
}

Check check_from(const std::vector<double>& partial) {
  double error2 = 0, reference2 = 0, strange = 0;
  Check check;
  for (std::size_t block = 0; 4 * block + 3 < partial.size(); ++block) {
    error2 += partial[4 * block];
    reference2 += partial[4 * block + 1];
    check.max_error = std::max(check.max_error, partial[4 * block + 2]);
    strange += partial[4 * block + 3];
  }
  check.not_finite = static_cast<std::uint64_t>(strange);
  check.relative_error = std::sqrt(error2 / reference2);
  return check;
}

Checker::Checker(const Gpu& gpu, CUstream stream)
    : stream_(stream),
      filler_(gpu),
      kernels_(gpu, "reference.cu",
               {"reference_gemm", "compare", "count_other", "count_different"}) {}

CheckedProduct::CheckedProduct(const Checker& checker, const Problem& problem, std::uint64_t seed,
                               std::int64_t distinct_rows)
    : checker_(checker),
      shape_(problem),
      rows_(std::min(problem.shape.m, distinct_rows)),
      guard_(std::max<std::uint64_t>(65536, 64 * static_cast<std::uint64_t>(problem.shape.n))),
      a_(elements(problem.shape.m, problem.shape.k) * 2),
      packed_(packed_bytes(problem)),
      packed_scales_(scales_bytes(problem)),
      reference_(elements(rows_, problem.shape.n) * 8),
      c_((elements(problem.shape.m, problem.shape.n) + 2 * guard_) * 2),
      first_c_(elements(problem.shape.m, problem.shape.n) * 2),
      counter_(std::max<std::size_t>(sizeof(std::uint64_t), kScanGrid.x * 4 * sizeof(double))) {
  const Stream& stream = checker.stream();
  const DeviceBuffer codes(elements(problem.shape.k, problem.shape.n)),
      scales(scales_bytes(problem));
  const Filler& filler = checker.filler();
  filler.codes(stream, codes.address(), codes.bytes(), 4 * seed);
  filler.uniform(stream, scales.address(), scales.bytes() / 2, 4 * seed + 1, 0.002F, 0.005F);
  filler.normal(stream, a_.address(), elements(rows_, problem.shape.k), 4 * seed + 2, 1.0F);
  repeat_rows();
  pack_codes_gpu(stream.handle(), problem, codes.pointer(), scales.pointer(), packed_.pointer(),
                 packed_scales_.pointer());
  checker.kernels().launch("reference_gemm", {.x = tiles(problem.shape.n), .y = tiles(rows_)},
                           stream, a_.address(), codes.address(), scales.address(),
                           reference_.address(), static_cast<int>(rows_),
                           static_cast<int>(problem.shape.n), static_cast<int>(problem.shape.k),
                           static_cast<int>(group_of(problem)));
  stream.finish();
}

// Each copy doubles what is there, so that few are needed.
void CheckedProduct::repeat_rows() const {
  const std::size_t row = elements(1, shape_.shape.k) * 2;
  for (std::int64_t done = rows_; done < shape_.shape.m;) {
    const std::int64_t more = std::min(done, shape_.shape.m - done);
    check(driver().cuMemcpyDtoDAsync(a_.address(row * static_cast<std::size_t>(done)), a_.address(),
                                     row * static_cast<std::size_t>(more),
                                     checker_.stream().handle()),
          "cuMemcpyDtoD");
    done += more;
  }
}

LaunchArgs CheckedProduct::arguments(std::int64_t m) const {
  return {.a = a_.pointer(),
          .b = packed_.pointer(),
          .scales = packed_scales_.pointer(),
          .c = c_.pointer(guard_ * 2),
          .workspace = workspace_.pointer(),
          .m = m};
}

void CheckedProduct::poison() const {
  check(
      driver().cuMemsetD16Async(c_.address(), kPoison, c_.bytes() / 2, checker_.stream().handle()),
      "cuMemsetD16Async");
}

// Into poisoned memory: once, or twice as dependent launches, the second of
// which may begin while the first still runs.
void CheckedProduct::launch(const Compiled& kernel, std::int64_t m, bool dependent) const {
  LaunchArgs args = arguments(m);
  args.dependent = dependent;
  poison();
  for (int i = 0; i < (dependent ? 2 : 1); ++i) kernel.launch(checker_.stream().handle(), args);
}

// The counters are zeroed once, and every kernel must leave them so for the next one; behind them
// lies poison, as if another kernel had left its partial sums.
std::size_t CheckedProduct::prepare_workspace(const Compiled& kernel) {
  constexpr std::size_t kCounters = kCounterBytes;
  const std::size_t bytes = std::max((kernel.workspace_bytes() + 1) / 2 * 2, kCounters);
  const CUstream stream = checker_.stream().handle();
  if (workspace_.bytes() < bytes + kWorkspaceGuardBytes) {
    workspace_ = DeviceBuffer(bytes + kWorkspaceGuardBytes);
    check(driver().cuMemsetD8Async(workspace_.address(), 0, kCounters, stream), "cuMemsetD8Async");
  }
  check(driver().cuMemsetD16Async(workspace_.address(kCounters), kPoison,
                                  (bytes - kCounters + kWorkspaceGuardBytes) / 2, stream),
        "cuMemsetD16Async");
  return bytes;
}

// Of the counter, when all that was enqueued is done; on our stream, as the legacy one would wait
// for others of the program and spoil their captures.
void CheckedProduct::fetch(void* to, std::size_t bytes) const {
  const Stream& stream = checker_.stream();
  stream.finish();
  check(driver().cuMemcpyDtoHAsync(to, counter_.address(), bytes, stream.handle()),
        "cuMemcpyDtoHAsync");
  stream.finish();
}

// What the kernels that `enqueue` launches add to the counter.
std::uint64_t CheckedProduct::counted(const std::function<void()>& enqueue) const {
  const Stream& stream = checker_.stream();
  check(driver().cuMemsetD8Async(counter_.address(), 0, sizeof(std::uint64_t), stream.handle()),
        "cuMemsetD8Async");
  enqueue();
  std::uint64_t result = 0;
  fetch(&result, sizeof(result));
  return result;
}

void CheckedProduct::add_other(CUdeviceptr words, std::uint64_t count) const {
  checker_.kernels().launch("count_other", kScanGrid, checker_.stream(), words, count, kPoison,
                            counter_.address());
}

void CheckedProduct::add_changed(std::uint64_t count) const {
  checker_.kernels().launch("count_different", kScanGrid, checker_.stream(), c_.address(guard_ * 2),
                            first_c_.address(), count, counter_.address());
}

void CheckedProduct::keep_first(std::uint64_t count) const {
  check(driver().cuMemcpyDtoDAsync(first_c_.address(), c_.address(guard_ * 2), count * 2,
                                   checker_.stream().handle()),
        "cuMemcpyDtoD");
}

std::uint64_t CheckedProduct::outside(std::int64_t m) const {
  const std::uint64_t end = guard_ + elements(m, shape_.shape.n);
  return counted([&] {
    add_other(c_.address(), guard_);
    add_other(c_.address(end * 2), c_.bytes() / 2 - end);
  });
}

Check CheckedProduct::compare_with_reference(std::int64_t m) const {
  const Stream& stream = checker_.stream();
  checker_.kernels().launch("compare", kScanGrid, stream, c_.address(guard_ * 2),
                            reference_.address(), std::uint64_t{elements(m, shape_.shape.n)},
                            std::uint64_t{elements(rows_, shape_.shape.n)}, counter_.address());
  std::vector<double> partial(kScanGrid.x * 4);
  fetch(partial.data(), partial.size() * sizeof(double));
  return check_from(partial);
}

Check CheckedProduct::run(const Compiled& kernel, std::int64_t m, bool dependent) {
  const std::uint64_t count = elements(m, shape_.shape.n);
  const std::size_t workspace_bytes = prepare_workspace(kernel);
  launch(kernel, m, false);
  Check check = compare_with_reference(m);
  check.m = m;
  check.written_outside = outside(m);
  keep_first(count);
  launch(kernel, m, false);
  check.not_repeated = counted([&] { add_changed(count); });
  check.written_outside += outside(m);
  if (dependent) {
    launch(kernel, m, true);
    check.dependent_differ = counted([&] { add_changed(count); });
    check.written_outside += outside(m);
  }
  check.workspace_outside =
      counted([&] { add_other(workspace_.address(workspace_bytes), kWorkspaceGuardBytes / 2); });
  return check;
}

std::uint64_t CheckedProduct::replay(const Compiled& kernel, std::int64_t m, int replays,
                                     bool dependent) {
  const Stream& stream = checker_.stream();
  const std::uint64_t count = elements(m, shape_.shape.n);
  prepare_workspace(kernel);
  launch(kernel, m, false);
  keep_first(count);
  const Graph graph(stream, [&] {
    launch(kernel, m, dependent);
    add_changed(count);
  });
  return counted([&] {
    for (int i = 0; i < replays; ++i) graph.launch(stream);
  });
}

}  // namespace marlin
