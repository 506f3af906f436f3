// Stripe kernels on the GPU against FP64: the published kernel's own cases, ragged and dynamic M,
// every kind of config, repeats and graph replays, all bit for bit.
// Entry point: the tests of suite Stripe.
#include <algorithm>
#include <random>

#include "tests/gpu/gpu_fixture.h"

namespace marlin {
namespace {

constexpr std::uint64_t kSeed = 20240610;

class Stripe : public GpuTest {
 protected:
  // One kernel for each shape, run with all its rows.
  void expect_right(const std::vector<Problem>& shapes) {
    const std::unique_ptr<CompileQueue> queue = compile(shapes);
    for (std::size_t i = 0; i < shapes.size(); ++i) {
      const CompileResult& compiled = queue->wait(i);
      ASSERT_TRUE(compiled.kernel) << to_string(shapes[i]) << ": " << compiled.error;
      CheckedProduct product(checker(), shapes[i], kSeed + i);
      EXPECT_EQ(product.run(*compiled.kernel, shapes[i].shape.m).findings(kTolerance), "")
          << to_string(shapes[i]) << " [" << compiled.kernel->config() << "]";
    }
  }
};

const std::vector<std::int64_t>& published_rows() {
  static const std::vector<std::int64_t> rows{1,  2,  3,  4,   8,   12,  16,  24,
                                              32, 48, 64, 118, 128, 152, 768, 1024};
  return rows;
}

TEST_F(Stripe, PublishedTilesExactM) {
  for (int group : {128, -1}) {
    std::vector<Problem> shapes;
    for (std::int64_t m : published_rows()) {
      shapes.push_back(
          {.shape = {.m = m, .n = 512, .k = 1024, .exact_m = true}, .scheme = {.group = group}});
    }
    expect_right(shapes);
  }
}

TEST_F(Stripe, PublishedTilesDynamicM) {
  for (int group : {128, -1}) {
    std::vector<Problem> shapes;
    for (std::int64_t m : published_rows()) {
      shapes.push_back({.shape = {.m = m, .n = 512, .k = 1024}, .scheme = {.group = group}});
    }
    expect_right(shapes);
  }
}

TEST_F(Stripe, FewerStepsThanStages) {
  std::vector<Problem> shapes;
  for (std::int64_t k : {64, 128, 192}) {
    for (std::int64_t m : {1, 16, 64}) {
      shapes.push_back({.shape = {.m = m, .n = 512, .k = k}, .scheme = {.group = -1}});
      if (k == 128)
        shapes.push_back({.shape = {.m = m, .n = 512, .k = k}, .scheme = {.group = 128}});
    }
  }
  expect_right(shapes);
}

TEST_F(Stripe, StepsThatTheStagesDoNotDivide) {
  std::vector<Problem> shapes;
  for (std::int64_t k = 768; k <= 1152; k += 64) {
    shapes.push_back({.shape = {.m = 16, .n = 512, .k = k}, .scheme = {.group = -1}});
    if (k % 128 == 0)
      shapes.push_back({.shape = {.m = 16, .n = 512, .k = k}, .scheme = {.group = 128}});
  }
  expect_right(shapes);
}

TEST_F(Stripe, WideN) {
  std::vector<Problem> shapes;
  for (std::int64_t m : {1, 16, 118}) {
    for (int group : {128, -1}) {
      shapes.push_back({.shape = {.m = m, .n = 256 * 128, .k = 1024}, .scheme = {.group = group}});
    }
  }
  expect_right(shapes);
}

TEST_F(Stripe, OddShapes) {
  std::mt19937_64 random(kSeed);
  std::vector<Problem> shapes;
  for (int i = 0; i < 32; ++i) {
    Problem problem;
    problem.scheme.group = random() % 2 == 0 ? 128 : -1;
    problem.shape.m = 1 + static_cast<std::int64_t>(random() % 200);
    problem.shape.n = 64 * (1 + static_cast<std::int64_t>(random() % 40));
    problem.shape.k =
        (problem.scheme.group == 128 ? 128 : 64) * (1 + static_cast<std::int64_t>(random() % 24));
    problem.shape.exact_m = random() % 2 == 0;
    shapes.push_back(problem);
  }
  expect_right(shapes);
}

TEST_F(Stripe, OneKernelServesEveryRowCountOfItsRung) {
  for (std::int64_t rung : {8, 24, 64}) {
    const Problem problem{.shape = {.m = rung, .n = 576, .k = 640}, .scheme = {.group = 128}};
    std::vector<std::int64_t> rows;
    for (std::int64_t m = 1; m <= rung; ++m) rows.push_back(m);
    CheckedProduct product(checker(), problem, kSeed);
    expect_all_right(*compile({problem}), product, rows);
  }
}

TEST_F(Stripe, RaggedRowsOfManyTiles) {
  for (std::int64_t rung : {192, 1024}) {
    const Problem problem{.shape = {.m = rung, .n = 512, .k = 256}, .scheme = {.group = -1}};
    CheckedProduct product(checker(), problem, kSeed);
    expect_all_right(*compile({problem}), product,
                     {1, 63, 64, 65, 127, 128, 129, rung - 65, rung - 1, rung});
  }
}

TEST_F(Stripe, EveryKindOfConfig) {
  std::mt19937_64 random(kSeed);
  for (const Problem& problem :
       {Problem{.shape = {.m = 16, .n = 768, .k = 1152}, .scheme = {.group = 128}},
        Problem{.shape = {.m = 64, .n = 1024, .k = 960}, .scheme = {.group = -1}},
        Problem{.shape = {.m = 8, .n = 512, .k = 4096}, .scheme = {.group = 128}}}) {
    const std::uint64_t seed = random();
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    CheckedProduct product(checker(), problem, seed);
    const std::unique_ptr<CompileQueue> queue = compile_configs(problem, 150, seed);
    ASSERT_GT(queue->size(), 0U);
    expect_all_right(*queue, product, {1, problem.shape.m - 3, problem.shape.m});
  }
}

TEST_F(Stripe, AThousandReplaysGiveTheSameBits) {
  for (const Problem& problem :
       {Problem{.shape = {.m = 16, .n = 512, .k = 4096}, .scheme = {.group = 128}},
        Problem{.shape = {.m = 64, .n = 1024, .k = 2048}, .scheme = {.group = -1}}}) {
    CheckedProduct product(checker(), problem, kSeed);
    const std::unique_ptr<CompileQueue> queue = compile_configs(problem, 6, kSeed);
    for (std::size_t i = 0; i < queue->size(); ++i) {
      const CompileResult& compiled = queue->wait(i);
      ASSERT_TRUE(compiled.kernel) << compiled.error;
      EXPECT_EQ(product.replay(*compiled.kernel, problem.shape.m, 1000), 0U)
          << queue->job(i).config;
    }
  }
}

}  // namespace
}  // namespace marlin
