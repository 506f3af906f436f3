// Wgmma kernels on the GPU against FP64: tiles, partitions and groups of all kinds, ragged rows and
// columns, graph replays and two streams at once, all bit for bit.
// Entry point: the tests of suite Wgmma.
#include <fmt/format.h>

#include "tests/gpu/gpu_fixture.h"
#include "tests/gpu/side_by_side.h"

namespace marlin {
namespace {

constexpr std::uint64_t kSeed = 20241123;

class Wgmma : public GpuTest {
 protected:
  void SetUp() override {
    GpuTest::SetUp();
    if (!IsSkipped() && gpu().target().arch != "sm_90a") {
      GTEST_SKIP() << "the wgmma family is for sm_90a";
    }
  }

  // Small products fill few SMs; planned for fewer than there are, their kernels too have clusters,
  // several tiles a block and stripes.
  std::unique_ptr<CompileQueue> wgmma_kernels(const Problem& problem, std::size_t most) const {
    constexpr int kSms = 12;
    return compile_configs(problem, most, kSeed, Family::wgmma, kSms);
  }
};

TEST_F(Wgmma, EveryKindOfConfigIsRight) {
  for (const Problem& problem :
       {Problem{.shape = {.m = 24, .n = 512, .k = 2048}, .scheme = {.group = 128}},
        Problem{.shape = {.m = 48, .n = 768, .k = 1024}, .scheme = {.group = 64}},
        Problem{.shape = {.m = 96, .n = 1024, .k = 1152}, .scheme = {.group = 32}},
        Problem{.shape = {.m = 128, .n = 512, .k = 4096}, .scheme = {.group = 128}},
        Problem{.shape = {.m = 256, .n = 1280, .k = 1088}, .scheme = {.group = -1}}}) {
    CheckedProduct product(checker(), problem, kSeed);
    const std::unique_ptr<CompileQueue> queue = wgmma_kernels(problem, 60);
    ASSERT_GT(queue->size(), 0U);
    expect_all_right(*queue, product, {1, problem.shape.m - 7, problem.shape.m});
  }
}

TEST_F(Wgmma, RaggedColumnsAreRight) {
  for (std::int64_t n : {192, 320, 448, 960}) {
    for (int group : {128, 32, -1}) {
      const Problem problem{.shape = {.m = 64, .n = n, .k = 1024}, .scheme = {.group = group}};
      CheckedProduct product(checker(), problem, kSeed);
      const std::unique_ptr<CompileQueue> queue = wgmma_kernels(problem, 8);
      ASSERT_GT(queue->size(), 0U);
      expect_all_right(*queue, product, {33, 64});
    }
  }
}

TEST_F(Wgmma, RaggedRowsAreRight) {
  for (std::int64_t rung : {64, 384, 1024, 4096}) {
    const Problem problem{.shape = {.m = rung, .n = 512, .k = 512}, .scheme = {.group = 128}};
    CheckedProduct product(checker(), problem, kSeed, CheckedProduct::kFewRows);
    std::vector<std::int64_t> rows;
    for (std::int64_t m : {17, 33, 64, 100, 127, 300, 1000, 4095}) {
      if (m <= rung) rows.push_back(m);
    }
    const std::unique_ptr<CompileQueue> queue = wgmma_kernels(problem, 12);
    ASSERT_GT(queue->size(), 0U);
    expect_all_right(*queue, product, rows);
  }
}

TEST_F(Wgmma, AThousandReplaysGiveTheSameBits) {
  for (const Problem& problem :
       {Problem{.shape = {.m = 64, .n = 1024, .k = 4096}, .scheme = {.group = 128}},
        Problem{.shape = {.m = 384, .n = 1536, .k = 2048}, .scheme = {.group = 128}}}) {
    CheckedProduct product(checker(), problem, kSeed);
    const std::unique_ptr<CompileQueue> queue = wgmma_kernels(problem, 6);
    ASSERT_GT(queue->size(), 0U);
    for (std::size_t i = 0; i < queue->size(); ++i) {
      const CompileResult& compiled = queue->wait(i);
      ASSERT_TRUE(compiled.kernel) << compiled.error;
      EXPECT_EQ(product.replay(*compiled.kernel, problem.shape.m, 1000), 0U)
          << queue->job(i).config;
    }
  }
}

TEST_F(Wgmma, TwoStreamsAtOnceGiveTheBitsOfOne) {
  const Problem problem{.shape = {.m = 64, .n = 1024, .k = 4096, .exact_m = true},
                        .scheme = {.group = 128}};
  const std::unique_ptr<CompileQueue> queue = wgmma_kernels(problem, 8);
  ASSERT_GT(queue->size(), 0U);
  for (std::size_t i = 0; i < queue->size(); ++i) {
    const CompileResult& compiled = queue->wait(i);
    ASSERT_TRUE(compiled.kernel) << compiled.error;
    EXPECT_EQ(SideBySide(checker(), *compiled.kernel, kSeed).differing(200), 0U)
        << queue->job(i).config;
  }
}

// The partial sums of a tile come in more chunks than there are stages, so that a stage is filled
// again as soon as its chunk has been added; another block of the SM slows the loads of these.
TEST_F(Wgmma, PartialSumsInMoreChunksThanStages) {
  const Problem problem{.shape = {.m = 64, .n = 28672, .k = 4096}, .scheme = {.group = 128}};
  const int blocks = 2 * gpu().target().sms;
  std::vector<CompileJob> jobs;
  for (const char* config : {"wgmma m64 n128 w4x1 k128 s3 accumulators stripes{} b2 burst2",
                             "wgmma m64 n128 w8x1 k128 s3 weights stripes{} b2 burst2"}) {
    jobs.push_back({.problem = problem,
                    .config = fmt::format(fmt::runtime(config), blocks),
                    .keep = false,
                    .target = gpu().target()});
  }
  CompileQueue queue(gpu(), std::move(jobs));
  CheckedProduct product(checker(), problem, kSeed);
  expect_all_right(queue, product, {1, 49, 64});
  for (std::size_t i = 0; i < queue.size(); ++i) {
    const CompileResult& compiled = queue.wait(i);
    ASSERT_TRUE(compiled.kernel) << compiled.error;
    EXPECT_EQ(product.replay(*compiled.kernel, problem.shape.m, 200), 0U) << queue.job(i).config;
  }
}

// The blocks of the first fill nearly all SMs and wait for one another, so that two such kernels
// never run side by side; the second asks for words before the previous kernel is done.
TEST_F(Wgmma, BlocksThatMeetAndEarlyWords) {
  const Problem problem{.shape = {.m = 64, .n = 4096, .k = 4096, .exact_m = true},
                        .scheme = {.group = 128}};
  std::vector<CompileJob> jobs;
  for (const char* config : {"wgmma m64 n128 w4x1 k128 s6 accumulators split4 b1 burst4",
                             "wgmma m64 n128 w4x1 k128 s4 accumulators cluster2 b1 early"}) {
    jobs.push_back({.problem = problem, .config = config, .keep = false, .target = gpu().target()});
  }
  CompileQueue queue(gpu(), std::move(jobs));
  CheckedProduct product(checker(), problem, kSeed);
  expect_all_right(queue, product, {64});
  for (std::size_t i = 0; i < queue.size(); ++i) {
    const CompileResult& compiled = queue.wait(i);
    ASSERT_TRUE(compiled.kernel) << compiled.error;
    EXPECT_EQ(product.replay(*compiled.kernel, problem.shape.m, 1000), 0U) << queue.job(i).config;
    EXPECT_EQ(SideBySide(checker(), *compiled.kernel, kSeed).differing(200), 0U)
        << queue.job(i).config;
  }
}

}  // namespace
}  // namespace marlin
