// Batch-invariant kernels from the option to the config: which records serve them, which configs
// are refused, what a store and a ladder make of them. Entry point: the tests of suites
// InvariantChoice and InvariantStore.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "codegen/generator.h"
#include "runtime/choose/select.h"
#include "runtime/launch/ladder.h"
#include "tests/unit/refusal.h"
#include "tests/unit/runtime/store_fixture.h"
#include "tests/unit/runtime/tuning_cases.h"

namespace marlin {
namespace {

using test::choice_for;
using test::kH200;
using test::refusal;

constexpr const char* kGpu = "NVIDIA H200";

Problem invariant(Problem problem) {
  problem.batch_invariant = true;
  return problem;
}

TuningLayers layers_of(const std::vector<TuningRecord>& records) {
  std::string text;
  for (const TuningRecord& record : records) text += to_line(record);
  return TuningLayers({std::make_shared<const TuningFile>("test", std::move(text))});
}

// The last of the legal ones, which the model would not choose.
Config unlikely(const Problem& problem) {
  return rank_configs(problem, kH200, gpu_model_of(kH200)).back().config;
}

const Problem kPlain = problem_of(64, 512, 1024);

TEST(InvariantChoice, ARecordSaysSoAndIsReadBack) {
  const TuningRecord record = choice_for(invariant(kPlain), unlikely(invariant(kPlain)));
  const std::string line = test::line_of(record);
  EXPECT_NE(line.find(",\"batch_invariant\":true,"), std::string::npos) << line;
  const ParsedLine parsed = parse_line(line);
  ASSERT_TRUE(parsed.record) << parsed.problem;
  EXPECT_EQ(parsed.record->problem, record.problem);
  EXPECT_EQ(test::line_of(choice_for(kPlain, unlikely(kPlain))).find("batch"), std::string::npos);
}

// As of a release whose layers had another order.
TEST(InvariantChoice, ARecordOfAnotherOrderIsNotRead) {
  const Config other = parse_config("m64 n256 w4x2 k64 s2 weights stripes132 b1");
  const auto line = test::line_of(choice_for(problem_of(64, 4096, 4096), other));
  const ParsedLine parsed = parse_line(
      test::edited(line, ",\"exact_m\":false,", ",\"exact_m\":false,\"batch_invariant\":true,"));
  EXPECT_FALSE(parsed.record);
  EXPECT_NE(parsed.problem.find("adds up K"), std::string::npos) << parsed.problem;
}

TEST(InvariantChoice, RecordsServeTheirOwnKindAlone) {
  const Config plain = unlikely(kPlain), of_order = unlikely(invariant(kPlain));
  const TuningLayers both =
      layers_of({choice_for(kPlain, plain), choice_for(invariant(kPlain), of_order)});
  EXPECT_EQ(choose_config(kPlain, kH200, kGpu, both).config, plain);
  EXPECT_EQ(choose_config(invariant(kPlain), kH200, kGpu, both).config, of_order);
  EXPECT_EQ(choose_config(invariant(kPlain), kH200, kGpu, both).by, ChosenBy::tuned);

  // Neither this very shape's nor, one rung on, a neighbour's.
  Problem next = kPlain;
  next.shape.m = 72;
  for (const Problem& problem : {kPlain, next}) {
    EXPECT_EQ(
        choose_config(invariant(problem), kH200, kGpu, layers_of({choice_for(kPlain, of_order)}))
            .by,
        ChosenBy::model);
    EXPECT_EQ(
        choose_config(problem, kH200, kGpu, layers_of({choice_for(invariant(kPlain), of_order)}))
            .by,
        ChosenBy::model);
  }
}

TEST(InvariantChoice, NeighboursKeepTheOrder) {
  const Problem here = invariant(problem_of(80, 512, 1024));
  const TuningRecord there =
      choice_for(invariant(kPlain), model_config(invariant(kPlain), kH200, kGpu));
  const Choice choice = choose_config(here, kH200, kGpu, layers_of({there}));
  EXPECT_EQ(sum_order(here, kH200, choice.config), invariant_order(here, kH200));
}

// Blocks of a cluster share K, which NVRTC 12.0 cannot compile; no other order is taken instead.
TEST(InvariantChoice, AnNvrtcTooOldForTheOrderIsRefused) {
  constexpr int kOld = 12000;
  const Problem problem = invariant(problem_of(2048, 4096, 4096));
  ASSERT_GT(invariant_order(problem, kH200).splits, 1);
  const std::string text =
      refusal([&] { choose_config(problem, kH200, kGpu, layers_of({}), false, kOld); });
  EXPECT_EQ(text.substr(0, text.find(':')), "invalid_config") << text;
  EXPECT_NE(text.find("batch-invariant"), std::string::npos) << text;
  EXPECT_NE(text.find("NVRTC 12.0"), std::string::npos) << text;
  for (const Choice& choice : prebuilt_choices(problem, kH200, kGpu, layers_of({}), false)) {
    EXPECT_EQ(why_illegal(problem, kH200, choice.config), std::nullopt);
  }
}

class InvariantStore : public test::CompiledTest {
 protected:
  Options options() const {
    Options options = in_memory();
    options.batch_invariant = true;
    return options;
  }
};

TEST_F(InvariantStore, TheOptionAndTheProblemAskForTheSameKernel) {
  const Kernel* plain = store_.get(test::kShape, in_memory());
  const Kernel* kernel = store_.get(test::kShape, options());
  EXPECT_NE(kernel, plain);
  EXPECT_EQ(store_.get(invariant(test::kShape), in_memory()), kernel);
  EXPECT_TRUE(kernel->plan().problem.batch_invariant);
  EXPECT_FALSE(plain->plan().problem.batch_invariant);
  EXPECT_EQ(store_.get(test::kShape, in_memory()), plain);
}

TEST_F(InvariantStore, ALaddersRungsHaveOneOrderAndStayAsTheyAre) {
  Workspaces workspaces;
  const Ladder ladder({.n = 512,
                       .k = 1024,
                       .b = test::device_pointer(0x2000),
                       .scales = test::device_pointer(0x3000)},
                      options(), store_, workspaces);
  const SumOrder order = invariant_order(ladder.problem_at(0), kH200);
  for (const int rung : {0, 3, 10, 40, kRungs - 1}) {
    ladder.warm(rung);
    const Kernel* kernel = ladder.kernel_at(rung);
    ASSERT_NE(kernel, nullptr);
    EXPECT_EQ(sum_order(ladder.problem_at(rung), kH200, kernel->plan().config), order);
  }
  EXPECT_NE(Ladder::why_fixed(options()), "");
}

TEST_F(InvariantStore, AGivenConfigMustHaveTheOrder) {
  Options given = options();
  given.config = to_string(unlikely(invariant(test::kShape)));
  EXPECT_EQ(store_.get(test::kShape, given)->config(), *given.config);
  const std::vector<Config> all = legal_configs(test::kShape, kH200);
  const SumOrder order = invariant_order(test::kShape, kH200);
  const auto other = std::find_if(all.begin(), all.end(), [&](const Config& config) {
    return sum_order(test::kShape, kH200, config) != order;
  });
  ASSERT_NE(other, all.end());
  given.config = to_string(*other);
  const Error error = test::error_of([&] { store_.get(test::kShape, given); });
  EXPECT_EQ(error.code(), ErrorCode::invalid_config);
  EXPECT_NE(std::string(error.what()).find(to_string(order)), std::string::npos) << error.what();
}

TEST_F(InvariantStore, WithoutJitTheCommandAsksForIt) {
  Options given = options();
  given.disable_jit = true;
  const Error error = test::error_of([&] { store_.get(test::kShape, given); });
  EXPECT_EQ(error.code(), ErrorCode::jit_disabled) << error.what();
  EXPECT_NE(std::string(error.what()).find(" --batch-invariant "), std::string::npos)
      << error.what();
}

}  // namespace
}  // namespace marlin
