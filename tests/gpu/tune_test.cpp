// A small layer tuned on a real GPU: records, the product before and after, a graph captured
// before. Entry point: the tests of suite TuneGpu.
#include "marlin/tune.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "runtime/choose/tuning_db.h"
#include "tests/gpu/captured_stream.h"
#include "tests/gpu/halves.h"
#include "tests/reference/model.h"
#include "tests/unit/runtime/cubin_cache_fixture.h"
#include "tuner/measure/gpu.h"

namespace marlin {
namespace {

using Status = TunedCell::Status;

constexpr std::int64_t kN = 1024, kK = 1024, kMostRows = 64;

template <typename T>
DeviceBuffer uploaded(const std::vector<T>& values) {
  DeviceBuffer buffer(values.size() * sizeof(T));
  check(driver().cuMemcpyHtoD(buffer.address(), values.data(), buffer.bytes()), "cuMemcpyHtoD");
  check(driver().cuCtxSynchronize(), "cuCtxSynchronize");
  return buffer;
}

class TuneGpu : public testing::Test {
 protected:
  void SetUp() override {
    if (!gpu_available()) GTEST_SKIP() << "no GPU";
    gpu_.emplace();
    const reference::Operands operands =
        reference::make_operands(reference::Inputs::random, kMostRows, kK, kN, 128, 44);
    product_ = reference::gemm(kMostRows, operands.a, operands.weights);
    a_ = uploaded(operands.a);
    b_ = uploaded(reference::pack_codes(operands.weights));
    scales_ = uploaded(reference::permute_scales(operands.weights));
    c_ = DeviceBuffer(kMostRows * kN * 2);
    stream_.emplace();
  }

  // Of the test's own, so that no kernel or record is known beforehand.
  Options options() const {
    return {.cache_dir = scratch_ / "cache",
            .system_dirs = std::vector<std::string>{},
            .disable_jit = false,
            .tuning_db = scratch_ / "tuning.jsonl"};
  }
  Linear linear(const Options& options) const {
    return Linear({.n = kN, .k = kK, .scheme = {}, .b = b_.pointer(), .scales = scales_.pointer()},
                  options);
  }

  Halves run(const Linear& linear, std::int64_t m) const {
    poison_halves(c_, stream_->handle());
    linear(stream_->handle(), a_.pointer(), m, c_.pointer());
    return read_halves(c_, stream_->handle());
  }
  double relative_error(const Halves& out, std::int64_t m) const {
    return marlin::relative_error(out, product_, static_cast<std::size_t>(m * kN));
  }

  test::ScratchDir scratch_;
  std::optional<Gpu> gpu_;
  std::vector<double> product_;
  DeviceBuffer a_, b_, scales_, c_;
  std::optional<Stream> stream_;
};

std::size_t free_memory() {
  std::size_t free = 0, total = 0;
  check(driver().cuMemGetInfo(&free, &total), "cuMemGetInfo");
  return free;
}

TEST_F(TuneGpu, TheProductIsRightBeforeAndAfterAndAGraphKeepsItsKernel) {
  constexpr std::int64_t kRows[] = {1, 13, 16, 50, 64};
  const Linear linear = this->linear(options());
  CapturedStream captured(CU_STREAM_NON_BLOCKING);
  for (const std::int64_t m : kRows) EXPECT_LT(relative_error(run(linear, m), m), 1e-3) << m;
  const Halves before = run(linear, 16);
  captured.begin();
  linear(captured.handle(), a_.pointer(), 16, c_.pointer());
  EXPECT_EQ(captured.end(), 1U);

  constexpr std::size_t kMost = std::size_t{64} << 20;  // of what kernels and workspaces may take
  const std::size_t free = free_memory();
  const std::vector<TunedCell> cells = tune(linear, {.rows = {1, 16, 50, 64}});
  EXPECT_GE(free_memory() + kMost, free);
  ASSERT_EQ(cells.size(), 4U);
  for (const TunedCell& cell : cells) {
    EXPECT_EQ(cell.status, Status::tuned) << to_string(cell.problem) << ": " << cell.why;
    EXPECT_GT(cell.us_before, 0);
    EXPECT_GT(cell.us_after, 0);
    std::printf("%s: %s, %.2f us -> %s, %.2f us\n", to_string(cell.problem).c_str(),
                cell.config_before.c_str(), cell.us_before, cell.config_after.c_str(),
                cell.us_after);
  }
  for (const std::int64_t m : kRows) {
    EXPECT_LT(relative_error(run(linear, m), m), 1e-3) << m;
    EXPECT_EQ(run(linear, m), run(linear, m)) << m;
  }
  // With the bits of its own kernel, whichever the Linear has now.
  poison_halves(c_, captured.handle());
  captured.replay();
  EXPECT_EQ(read_halves(c_, captured.handle()), before);
  // What get() gives from now on.
  for (const TunedCell& cell : cells) {
    EXPECT_EQ(Compiled::get(cell.problem, options()).config(), cell.config_after);
  }
  const auto file = TuningFile::read(*options().tuning_db);
  ASSERT_TRUE(file.has_value());
  EXPECT_EQ(file->choices(cells[0].problem, gpu_->target()).size(), 4U);
  for (const TunedCell& cell : tune(linear, {.rows = {1, 16, 50, 64}})) {
    EXPECT_EQ(cell.status, Status::kept);
  }
}

// On a stream of the program's, for chained launches, and with kernels in memory only.
TEST_F(TuneGpu, OtherWaysToMeasure) {
  Options options = this->options();
  options.cache_dir = "";
  options.chained = true;
  const Linear linear = this->linear(options);
  const auto cells =
      tune(linear, {.rows = {2, 32}, .candidates = 4, .stream = stream_->handle(), .threads = 2});
  ASSERT_EQ(cells.size(), 2U);
  for (const TunedCell& cell : cells) {
    EXPECT_EQ(cell.status, Status::tuned) << cell.why;
    EXPECT_LT(relative_error(run(linear, cell.problem.shape.m), cell.problem.shape.m), 1e-3);
  }
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "cache"));
}

// While another thread launches, and captures.
TEST_F(TuneGpu, LaunchesAndCapturesGoOnMeanwhile) {
  Options options = this->options();
  options.tuning_db = scratch_ / "other.jsonl";
  const Linear linear = this->linear(options);
  run(linear, 24);
  std::atomic<bool> done{false};
  int rounds = 0, wrong = 0;
  std::jthread other([&] {
    gpu_->make_current();
    CapturedStream captured(CU_STREAM_NON_BLOCKING);
    while (!done || rounds < 3) {
      captured.begin();
      linear(captured.handle(), a_.pointer(), 24, c_.pointer());
      if (captured.end() != 1U) ++wrong;
      poison_halves(c_, captured.handle());
      captured.replay();
      if (relative_error(read_halves(c_, captured.handle()), 24) >= 1e-3) ++wrong;
      ++rounds;
    }
  });
  const auto cells = tune(linear);
  done = true;
  other.join();
  EXPECT_EQ(wrong, 0);
  ASSERT_EQ(cells.size(), 1U);
  EXPECT_EQ(cells[0].status, Status::tuned) << cells[0].why;
}

TEST_F(TuneGpu, ARungIsTunedOnFirstUse) {
  enable_tuning();
  Options options = this->options();
  options.tuning_db = scratch_ / "first.jsonl";
  options.tune_on_first_use = true;
  const Linear linear = this->linear(options);
  EXPECT_LT(relative_error(run(linear, 40), 40), 1e-3);
  const auto file = TuningFile::read(*options.tuning_db);
  ASSERT_TRUE(file.has_value());
  const Problem problem{.shape = {.m = rung_for(40), .n = kN, .k = kK}};
  const auto choices = file->choices(problem, gpu_->target());
  ASSERT_EQ(choices.size(), 1U);
  EXPECT_EQ(to_string(choices[0].config), Compiled::get(problem, options).config());
}

}  // namespace
}  // namespace marlin
