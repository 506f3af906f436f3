// Decode kernels on the GPU against FP64: every config of small shapes, ragged rows, graph replays
// and two streams at once, all bit for bit. Entry point: the tests of suite Decode.
#include "tests/gpu/gpu_fixture.h"
#include "tests/gpu/side_by_side.h"

namespace marlin {
namespace {

constexpr std::uint64_t kSeed = 20241121;

class Decode : public GpuTest {
 protected:
  void SetUp() override {
    GpuTest::SetUp();
    if (!IsSkipped() && limits_of(gpu().target()).compute_capability < 90) {
      GTEST_SKIP() << "the decode family begins with sm_90";
    }
  }

  // Configs of the family; 0: all.
  std::unique_ptr<CompileQueue> decode_kernels(const Shape& shape, std::size_t most = 0) const {
    return compile_configs(shape, most, kSeed, Family::decode);
  }
};

TEST_F(Decode, EveryConfigIsRight) {
  for (const Shape& shape : {Shape{.m = 8, .n = 512, .k = 2048, .group = 128},
                             Shape{.m = 16, .n = 256, .k = 3072, .group = 64},
                             Shape{.m = 24, .n = 768, .k = 1024, .group = 32},
                             Shape{.m = 32, .n = 192, .k = 4160, .group = -1}}) {
    Problem problem(checker(), shape, kSeed);
    const std::unique_ptr<CompileQueue> queue = decode_kernels(shape);
    ASSERT_GT(queue->size(), 0U);
    expect_all_right(*queue, problem, {1, shape.m - 3, shape.m});
  }
}

TEST_F(Decode, EveryRowCountIsRight) {
  const Shape shape{.m = 32, .n = 320, .k = 1984, .group = -1};
  Problem problem(checker(), shape, kSeed);
  std::vector<std::int64_t> rows;
  for (std::int64_t m = 1; m <= shape.m; ++m) rows.push_back(m);
  expect_all_right(*decode_kernels(shape, 6), problem, rows);
}

TEST_F(Decode, ExactRowCountsAreRight) {
  for (std::int64_t m : {1, 2, 3, 5, 11, 17, 31}) {
    const Shape shape{.m = m, .n = 384, .k = 1536, .group = 128, .exact_m = true};
    Problem problem(checker(), shape, kSeed);
    expect_all_right(*decode_kernels(shape, 10), problem, {m});
  }
}

TEST_F(Decode, AThousandReplaysGiveTheSameBits) {
  const Shape shape{.m = 16, .n = 1024, .k = 4096, .group = 128};
  Problem problem(checker(), shape, kSeed);
  const std::unique_ptr<CompileQueue> queue = decode_kernels(shape, 8);
  for (std::size_t i = 0; i < queue->size(); ++i) {
    const CompileResult& compiled = queue->wait(i);
    ASSERT_TRUE(compiled.kernel) << compiled.error;
    EXPECT_EQ(problem.replay(*compiled.kernel, shape.m, 1000), 0U) << queue->job(i).config;
  }
}

TEST_F(Decode, TwoStreamsAtOnceGiveTheBitsOfOne) {
  const Shape shape{.m = 16, .n = 1024, .k = 4096, .group = 128, .exact_m = true};
  const std::unique_ptr<CompileQueue> queue = decode_kernels(shape, 8);
  for (std::size_t i = 0; i < queue->size(); ++i) {
    const CompileResult& compiled = queue->wait(i);
    ASSERT_TRUE(compiled.kernel) << compiled.error;
    EXPECT_EQ(SideBySide(checker(), *compiled.kernel, kSeed).differing(200), 0U)
        << queue->job(i).config;
  }
}

}  // namespace
}  // namespace marlin
