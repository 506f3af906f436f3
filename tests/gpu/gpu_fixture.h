// What the tests on the GPU share: they skip themselves where there is none.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "codegen/generator.h"
#include "codegen/plan/config.h"
#include "marlin/pack.h"
#include "tuner/check/checker.h"
#include "tuner/search/compile_queue.h"

namespace marlin {

inline constexpr double kTolerance = 1e-3;

// A layer's weights and one of its kernels.
struct Layer {
  Compiled kernel;
  DeviceBuffer b, scales;

  Layer(const Checker& checker, const Compiled& kernel, std::uint64_t seed)
      : kernel(kernel), b(packed_bytes(kernel.problem())), scales(scales_bytes(kernel.problem())) {
    checker.filler().bytes(checker.stream(), b.address(), b.bytes(), seed);
    checker.filler().uniform(checker.stream(), scales.address(), scales.bytes() / 2, seed + 1,
                             0.002F, 0.005F);
  }
};

class GpuTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!gpu_available()) GTEST_SKIP() << "no GPU";
    gpu_ = std::make_unique<Gpu>();
    checker_ = std::make_unique<Checker>(*gpu_);
  }

  const Gpu& gpu() const { return *gpu_; }
  const Checker& checker() const { return *checker_; }

  // Kernels for these shapes, compiled in parallel and kept out of the user's cache.
  std::unique_ptr<CompileQueue> compile(const std::vector<Problem>& shapes,
                                        const std::string& config = "") const {
    std::vector<CompileJob> jobs;
    for (const Problem& problem : shapes) {
      jobs.push_back({.problem = problem, .config = config, .keep = false, .target = {}});
    }
    return std::make_unique<CompileQueue>(*gpu_, std::move(jobs));
  }

  // Up to `most` legal configs of the shape, of one family if it is named, drawn evenly by the
  // seed; those for as many SMs as said, else the GPU's.
  std::unique_ptr<CompileQueue> compile_configs(const Problem& problem, std::size_t most,
                                                std::uint64_t seed,
                                                std::optional<Family> family = {},
                                                std::optional<int> sms = {}) const {
    Target target = gpu_->target();
    target.sms = sms.value_or(target.sms);
    std::vector<Config> configs = legal_configs(problem, target);
    if (family) std::erase_if(configs, [&](const Config& c) { return c.family() != *family; });
    std::vector<CompileJob> jobs;
    for (std::size_t index : sample_evenly(configs.size(), most, seed)) {
      jobs.push_back({.problem = problem,
                      .config = to_string(configs[index]),
                      .keep = false,
                      .target = target});
    }
    return std::make_unique<CompileQueue>(*gpu_, std::move(jobs));
  }

  // Runs every kernel of the queue with every row count against the product.
  static void expect_all_right(CompileQueue& queue, CheckedProduct& product,
                               const std::vector<std::int64_t>& rows) {
    for (std::size_t i = 0; i < queue.size(); ++i) {
      const CompileJob& job = queue.job(i);
      const CompileResult& compiled = queue.wait(i);
      ASSERT_TRUE(compiled.kernel) << to_string(job.problem) << ": " << compiled.error;
      for (std::int64_t m : rows) {
        EXPECT_EQ(product.run(*compiled.kernel, m).findings(kTolerance), "")
            << to_string(job.problem) << " [" << compiled.kernel->config() << "] m = " << m;
      }
    }
  }

 private:
  std::unique_ptr<Gpu> gpu_;
  std::unique_ptr<Checker> checker_;
};

}  // namespace marlin
