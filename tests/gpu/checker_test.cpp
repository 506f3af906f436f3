// The checker on the GPU, checked itself: its kernels against plain loops on the CPU, and that it
// finds what is wrong.
// Entry point: the tests of suite CheckerTest.
#include <cmath>
#include <cstring>

#include "tests/gpu/gpu_fixture.h"
#include "tuner/measure/cublas.h"
#include "tuner/measure/measure.h"

namespace marlin {
namespace {

template <class T>
DeviceBuffer upload(const std::vector<T>& values) {
  DeviceBuffer buffer(values.size() * sizeof(T));
  check(driver().cuMemcpyHtoD(buffer.address(), values.data(), buffer.bytes()), "cuMemcpyHtoD");
  // The copy may return before its last bytes have landed; the checker's stream does not wait.
  check(driver().cuCtxSynchronize(), "cuCtxSynchronize");
  return buffer;
}

template <class T>
std::vector<T> download(const DeviceBuffer& buffer) {
  std::vector<T> values(buffer.bytes() / sizeof(T));
  check(driver().cuMemcpyDtoH(values.data(), buffer.address(), buffer.bytes()), "cuMemcpyDtoH");
  return values;
}

// An FP16 number that is finite, by its definition.
double value_of(std::uint16_t half) {
  const int exponent = (half >> 10) & 31, mantissa = half & 1023;
  const double magnitude =
      exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return (half & 0x8000) != 0 ? -magnitude : magnitude;
}

class CheckerTest : public GpuTest {};

TEST_F(CheckerTest, DataHasTheShapeItIsSaidToHave) {
  const Stream& stream = checker().stream();
  const Filler& filler = checker().filler();
  constexpr std::size_t kCount = 1 << 20;
  const DeviceBuffer codes(kCount), scales(2 * kCount), normal(2 * kCount);
  filler.codes(stream, codes.address(), kCount, 1);
  filler.uniform(stream, scales.address(), kCount, 2, 0.002F, 0.005F);
  filler.normal(stream, normal.address(), kCount, 3, 1.0F);
  stream.finish();
  std::vector<std::size_t> histogram(16);
  for (std::uint8_t code : download<std::uint8_t>(codes)) {
    ASSERT_LT(code, 16);
    ++histogram[code];
  }
  for (std::size_t count : histogram) EXPECT_NEAR(count, kCount / 16, kCount / 160);
  for (std::uint16_t scale : download<std::uint16_t>(scales)) {
    ASSERT_GE(value_of(scale), 0.00199);
    ASSERT_LE(value_of(scale), 0.00501);
  }
  double sum = 0, sum2 = 0;
  for (std::uint16_t half : download<std::uint16_t>(normal)) {
    ASSERT_NE(half & 0x7C00, 0x7C00);
    sum += value_of(half);
    sum2 += value_of(half) * value_of(half);
  }
  EXPECT_NEAR(sum / kCount, 0, 0.01);
  EXPECT_NEAR(sum2 / kCount, 1, 0.01);
}

TEST_F(CheckerTest, ReferenceIsThePlainTripleLoop) {
  constexpr int kM = 67, kN = 192, kK = 256;
  const Stream& stream = checker().stream();
  for (int group : {128, kK}) {
    const DeviceBuffer a(kM * kK * 2), codes(kK * kN), scales(kK / group * kN * 2);
    const DeviceBuffer out(sizeof(double) * kM * kN);
    checker().filler().normal(stream, a.address(), kM * kK, 1, 1.0F);
    checker().filler().codes(stream, codes.address(), kK * kN, 2);
    checker().filler().uniform(stream, scales.address(), kK / group * kN, 3, 0.002F, 0.005F);
    checker().kernels().launch("reference_gemm", {.x = 3, .y = 2}, stream, a.address(),
                               codes.address(), scales.address(), out.address(), kM, kN, kK, group);
    stream.finish();
    const auto ha = download<std::uint16_t>(a), hs = download<std::uint16_t>(scales);
    const auto hc = download<std::uint8_t>(codes);
    const auto result = download<double>(out);
    for (int m = 0; m < kM; ++m) {
      for (int n = 0; n < kN; ++n) {
        double expected = 0;
        for (int k = 0; k < kK; ++k) {
          const double weight = value_of(hs[k / group * kN + n]) * (hc[k * kN + n] - 8);
          expected += value_of(ha[m * kK + k]) * weight;
        }
        ASSERT_NEAR(result[m * kN + n], expected, 1e-12) << m << " " << n << " group " << group;
      }
    }
  }
}

TEST_F(CheckerTest, CompareSumsErrorsAndCountsWhatIsNotFinite) {
  constexpr std::uint16_t kOne = 0x3C00, kTwo = 0x4000, kNan = 0xFFFF, kInfinity = 0x7C00;
  std::vector<std::uint16_t> out(3000, kOne);
  std::vector<double> ref(3000, 1.0);
  out[17] = kTwo;   // error 1
  ref[2000] = 4.0;  // error 3
  out[5] = kNan;
  out[2999] = kInfinity;
  const DeviceBuffer device_out = upload(out), device_ref = upload(ref);
  const DeviceBuffer partial(sizeof(double) * 4 * 8);
  checker().kernels().launch("compare", {.x = 8}, checker().stream(), device_out.address(),
                             device_ref.address(), std::uint64_t{3000}, std::uint64_t{3000},
                             partial.address());
  checker().stream().finish();
  const Check result = check_from(download<double>(partial));
  EXPECT_DOUBLE_EQ(result.relative_error, std::sqrt(10.0 / (2999 + 16)));
  EXPECT_DOUBLE_EQ(result.max_error, 3);
  EXPECT_EQ(result.not_finite, 2U);
}

TEST_F(CheckerTest, AKernelForAnotherGroupIsFoundOut) {
  const Problem grouped{.shape = {.m = 8, .n = 256, .k = 512}, .scheme = {.group = 128}};
  Problem whole = grouped;
  whole.scheme.group = -1;
  const std::unique_ptr<CompileQueue> queue = compile({grouped, whole});
  ASSERT_TRUE(queue->wait(0).kernel) << queue->wait(0).error;
  ASSERT_TRUE(queue->wait(1).kernel) << queue->wait(1).error;
  CheckedProduct product(checker(), grouped, 5);
  EXPECT_TRUE(product.run(*queue->wait(0).kernel, 8).ok(kTolerance));
  EXPECT_GT(product.run(*queue->wait(1).kernel, 8).relative_error, 0.01);
}

TEST_F(CheckerTest, AnExactKernelRefusesOtherRows) {
  const Problem problem{.shape = {.m = 16, .n = 256, .k = 512}, .scheme = {.group = 128}};
  Problem exact = problem;
  exact.shape.m = 8;
  exact.shape.exact_m = true;
  const std::unique_ptr<CompileQueue> queue = compile({exact});
  ASSERT_TRUE(queue->wait(0).kernel) << queue->wait(0).error;
  CheckedProduct product(checker(), problem, 6);
  EXPECT_THROW(product.run(*queue->wait(0).kernel, 7), Error);
  EXPECT_TRUE(product.run(*queue->wait(0).kernel, 8).ok(kTolerance));
}

TEST_F(CheckerTest, CublasReadsBothLayouts) {
  constexpr int kM = 5, kN = 64, kK = 128;
  const Stream& stream = checker().stream();
  std::string why;
  const std::unique_ptr<Cublas> cublas = Cublas::open(stream, &why);
  if (!cublas) GTEST_SKIP() << why;
  const DeviceBuffer a(kM * kK * 2), weights(kK * kN * 2), c(kM * kN * 2);
  checker().filler().normal(stream, a.address(), kM * kK, 1, 1.0F);
  checker().filler().normal(stream, weights.address(), kK * kN, 2, 0.02F);
  stream.finish();
  const auto ha = download<std::uint16_t>(a), hw = download<std::uint16_t>(weights);
  for (const bool transposed : {false, true}) {
    cublas->multiply(transposed ? Cublas::Layout::tn : Cublas::Layout::nn, kM, kN, kK, a.address(),
                     weights.address(), c.address());
    stream.finish();
    const auto hc = download<std::uint16_t>(c);
    for (int m = 0; m < kM; ++m) {
      for (int n = 0; n < kN; ++n) {
        double expected = 0;
        for (int k = 0; k < kK; ++k) {
          expected += value_of(ha[m * kK + k]) * value_of(hw[transposed ? n * kK + k : k * kN + n]);
        }
        ASSERT_NEAR(value_of(hc[m * kN + n]), expected, 2e-3) << m << " " << n << " " << transposed;
      }
    }
  }
}

TEST_F(CheckerTest, TheTimerTellsLongWorkFromShort) {
  Timer timer;
  const Rotation data(1 << 20, distinct_buffers(1 << 20), [&](CUdeviceptr out, std::size_t bytes) {
    checker().filler().bytes(timer.stream(), out, bytes, 1);
  });
  const Filler& filler = checker().filler();
  const auto fill = [&](std::uint64_t bytes) {
    return [&, bytes](int i) { filler.bytes(timer.stream(), data.address(i), bytes, 2); };
  };
  const Timing timing = timer.time(data.count(), fill(1 << 20));
  EXPECT_EQ(timing.replays, Timer::kReplays);
  EXPECT_EQ(timing.launches % data.count(), 0);
  EXPECT_GT(timing.median_us, 0.1);
  EXPECT_LE(timing.min_us, timing.median_us);
  EXPECT_GE(timing.max_us, timing.median_us);
}

TEST_F(CheckerTest, ARaceTimesEveryContestantInEveryRound) {
  constexpr std::size_t kBytes = 16 << 20;
  Timer timer;
  const Rotation data(kBytes, distinct_buffers(kBytes), [&](CUdeviceptr out, std::size_t bytes) {
    checker().filler().bytes(timer.stream(), out, bytes, 1);
  });
  const auto fill = [&](std::uint64_t bytes) -> Timer::Launch {
    return
        [&, bytes](int i) { checker().filler().bytes(timer.stream(), data.address(i), bytes, 2); };
  };
  const std::vector<RaceTiming> race =
      timer.race(data.count(), {fill(kBytes), fill(kBytes / 2), fill(kBytes)}, 5);
  ASSERT_EQ(race.size(), 3U);
  for (const RaceTiming& one : race) {
    EXPECT_EQ(one.timing.replays, 5);
    EXPECT_EQ(one.timing.launches, race[0].timing.launches);
    EXPECT_EQ(one.timing.launches % data.count(), 0);
    ASSERT_EQ(one.round_us.size(), 5U);
    EXPECT_DOUBLE_EQ(one.timing.median_us, median(one.round_us));
    EXPECT_GT(one.timing.min_us, 0.1);
  }
  EXPECT_TRUE(timer.race(data.count(), {}, 5).empty());
}

}  // namespace
}  // namespace marlin
