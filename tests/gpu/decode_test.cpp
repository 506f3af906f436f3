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
  std::unique_ptr<CompileQueue> decode_kernels(const Problem& problem, std::size_t most = 0) const {
    return compile_configs(problem, most, kSeed, Family::decode);
  }
};

TEST_F(Decode, EveryConfigIsRight) {
  for (const Problem& problem :
       {Problem{.shape = {.m = 8, .n = 512, .k = 2048}, .scheme = {.group = 128}},
        Problem{.shape = {.m = 16, .n = 256, .k = 3072}, .scheme = {.group = 64}},
        Problem{.shape = {.m = 24, .n = 768, .k = 1024}, .scheme = {.group = 32}},
        Problem{.shape = {.m = 32, .n = 192, .k = 4160}, .scheme = {.group = -1}}}) {
    CheckedProduct product(checker(), problem, kSeed);
    const std::unique_ptr<CompileQueue> queue = decode_kernels(problem);
    ASSERT_GT(queue->size(), 0U);
    expect_all_right(*queue, product, {1, problem.shape.m - 3, problem.shape.m});
  }
}

TEST_F(Decode, EveryRowCountIsRight) {
  const Problem problem{.shape = {.m = 32, .n = 320, .k = 1984}, .scheme = {.group = -1}};
  CheckedProduct product(checker(), problem, kSeed);
  std::vector<std::int64_t> rows;
  for (std::int64_t m = 1; m <= problem.shape.m; ++m) rows.push_back(m);
  expect_all_right(*decode_kernels(problem, 6), product, rows);
}

TEST_F(Decode, ExactRowCountsAreRight) {
  for (std::int64_t m : {1, 2, 3, 5, 11, 17, 31}) {
    const Problem problem{.shape = {.m = m, .n = 384, .k = 1536, .exact_m = true},
                          .scheme = {.group = 128}};
    CheckedProduct product(checker(), problem, kSeed);
    expect_all_right(*decode_kernels(problem, 10), product, {m});
  }
}

TEST_F(Decode, AThousandReplaysGiveTheSameBits) {
  const Problem problem{.shape = {.m = 16, .n = 1024, .k = 4096}, .scheme = {.group = 128}};
  CheckedProduct product(checker(), problem, kSeed);
  const std::unique_ptr<CompileQueue> queue = decode_kernels(problem, 8);
  for (std::size_t i = 0; i < queue->size(); ++i) {
    const CompileResult& compiled = queue->wait(i);
    ASSERT_TRUE(compiled.kernel) << compiled.error;
    EXPECT_EQ(product.replay(*compiled.kernel, problem.shape.m, 1000), 0U) << queue->job(i).config;
  }
}

TEST_F(Decode, TwoStreamsAtOnceGiveTheBitsOfOne) {
  const Problem problem{.shape = {.m = 16, .n = 1024, .k = 4096, .exact_m = true},
                        .scheme = {.group = 128}};
  const std::unique_ptr<CompileQueue> queue = decode_kernels(problem, 8);
  for (std::size_t i = 0; i < queue->size(); ++i) {
    const CompileResult& compiled = queue->wait(i);
    ASSERT_TRUE(compiled.kernel) << compiled.error;
    EXPECT_EQ(SideBySide(checker(), *compiled.kernel, kSeed).differing(200), 0U)
        << queue->job(i).config;
  }
}

}  // namespace
}  // namespace marlin
