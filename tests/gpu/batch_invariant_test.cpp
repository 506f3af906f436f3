// Batch-invariant Linears on the GPU: the bits of a row for every m and beside any other rows.
// Entry point: the tests of suite BatchInvariantGpu.
#include <algorithm>
#include <cstring>
#include <ostream>

#include "marlin/linear.h"
#include "tests/gpu/gpu_fixture.h"
#include "tuner/measure/measure.h"

namespace marlin {
namespace {

constexpr std::uint64_t kSeed = 20260112;
constexpr std::int64_t kMostRows = 300;

using Halves = std::vector<std::uint16_t>;

struct Sizes {
  std::int64_t n, k;
  friend std::ostream& operator<<(std::ostream& out, const Sizes& sizes) {
    return out << sizes.n << 'x' << sizes.k;
  }
};

class BatchInvariantGpu : public GpuTest, public testing::WithParamInterface<Sizes> {
 protected:
  void SetUp() override {
    GpuTest::SetUp();
    if (IsSkipped()) return;
    const Problem weights = problem();
    b_ = DeviceBuffer(packed_bytes(weights));
    scales_ = DeviceBuffer(scales_bytes(weights));
    a_ = DeviceBuffer(static_cast<std::size_t>(kMostRows * sizes().k) * 2);
    c_ = DeviceBuffer(static_cast<std::size_t>(kMostRows * sizes().n) * 2);
    const Filler& filler = checker().filler();
    filler.bytes(stream(), b_.address(), b_.bytes(), kSeed);
    filler.uniform(stream(), scales_.address(), scales_.bytes() / 2, kSeed + 1, 0.002F, 0.005F);
    filler.normal(stream(), a_.address(), a_.bytes() / 2, kSeed + 2, 1.0F);
  }

  static Sizes sizes() { return GetParam(); }
  static Problem problem(std::int64_t m = kMostRows) {
    return {.shape = {.m = m, .n = sizes().n, .k = sizes().k}, .batch_invariant = true};
  }
  const Stream& stream() const { return checker().stream(); }

  static Options options() {
    return {.cache_dir = "", .system_dirs = std::vector<std::string>{}, .batch_invariant = true};
  }
  Linear linear(const Options& options) const {
    return Linear({.n = sizes().n, .k = sizes().k, .b = b_.pointer(), .scales = scales_.pointer()},
                  options);
  }

  // C of the rows of A from `first` on.
  Halves run(const Linear& linear, std::int64_t m, std::int64_t first = 0) const {
    check(driver().cuMemsetD8Async(c_.address(), 0xFF, c_.bytes(), stream().handle()),
          "cuMemsetD8Async");
    linear(stream().handle(), static_cast<const char*>(a_.pointer()) + first * sizes().k * 2, m,
           c_.pointer());
    stream().finish();
    Halves c(static_cast<std::size_t>(m * sizes().n));
    check(driver().cuMemcpyDtoH(c.data(), c_.address(), c.size() * 2), "cuMemcpyDtoH");
    return c;
  }

  // The first row of the batch whose bits are not those of the other's row, `first` rows on; -1:
  // none. Every `step`-th row is compared.
  static std::int64_t differing(const Halves& batch, const Halves& other, std::int64_t first = 0,
                                std::int64_t step = 1) {
    const std::int64_t n = sizes().n;
    for (std::int64_t row = 0; row < static_cast<std::int64_t>(batch.size()) / n; row += step) {
      if (std::memcmp(&batch[row * n], &other[(first + row) * n], n * 2) != 0) return row;
    }
    return -1;
  }

  DeviceBuffer a_, b_, scales_, c_;
};

TEST_P(BatchInvariantGpu, ARowHasTheSameBitsForEveryM) {
  const Linear layer = linear(options());
  layer.warm_up(kMostRows);
  const Halves expected = run(layer, kMostRows);
  EXPECT_TRUE(std::all_of(expected.begin(), expected.end(),
                          [](std::uint16_t half) { return (half & 0x7C00) != 0x7C00; }));
  for (std::int64_t m = 1; m <= kMostRows; ++m) {
    ASSERT_EQ(differing(run(layer, m), expected), -1) << "m " << m;
    const std::int64_t first = (kMostRows - m) * 2 / 3;  // other rows, at other places in tiles
    ASSERT_EQ(differing(run(layer, m, first), expected, first), -1) << "m " << m << ", moved";
  }
}

// Whose NaNs every other row gets.
TEST_P(BatchInvariantGpu, RowsAreNotTouchedByNansBesideThem) {
  const Linear layer = linear(options());
  constexpr std::int64_t kRows[] = {7, 33, 100, kMostRows};
  const Halves expected = run(layer, kMostRows);
  for (std::int64_t row = 1; row < kMostRows; row += 2) {
    check(driver().cuMemsetD16Async(a_.address() + row * sizes().k * 2, 0x7E00,
                                    static_cast<std::size_t>(sizes().k), stream().handle()),
          "cuMemsetD16Async");
  }
  for (const std::int64_t m : kRows) {
    ASSERT_EQ(differing(run(layer, m), expected, 0, 2), -1) << "m " << m;
  }
}

// The kernels that launches get are right, too, and not only alike.
TEST_P(BatchInvariantGpu, KernelsAreRight) {
  CheckedProduct product(checker(), problem(), kSeed);
  for (const std::int64_t m : {1, 24, 64, 300}) {
    const Compiled kernel = Compiled::get(problem(m), options());
    EXPECT_EQ(product.run(kernel, m).findings(kTolerance), "") << kernel.config() << " m " << m;
  }
}

TEST_P(BatchInvariantGpu, ChainedLaunchesHaveTheBitsOfIsolatedOnes) {
  if (!can_chain(gpu().target())) GTEST_SKIP() << "no dependent launches here";
  Options chained = options();
  chained.chained = true;
  const Halves expected = run(linear(options()), kMostRows);
  const Linear layer = linear(chained);
  for (const std::int64_t m : {16, 300}) {
    EXPECT_EQ(differing(run(layer, m), expected), -1) << "m " << m;
  }
}

INSTANTIATE_TEST_SUITE_P(Llama3, BatchInvariantGpu,
                         testing::Values(Sizes{6144, 4096}, Sizes{4096, 4096}, Sizes{4096, 14336},
                                         Sizes{10240, 8192}));

class BatchVariantGpu : public BatchInvariantGpu {};

// Without the option a row's bits do change, so that the tests above mean something.
TEST_P(BatchVariantGpu, OtherLinearsGiveARowOtherBitsInOtherBatches) {
  Options plain = options();
  plain.batch_invariant = false;
  const Linear layer = linear(plain);
  const Halves all = run(layer, kMostRows);
  bool differs = false;
  for (const std::int64_t m : {1, 16, 64}) differs |= differing(run(layer, m), all) >= 0;
  EXPECT_TRUE(differs);
}

INSTANTIATE_TEST_SUITE_P(Llama3, BatchVariantGpu, testing::Values(Sizes{4096, 14336}));

}  // namespace
}  // namespace marlin
