// Every valid shape has legal configs on every architecture, and the chosen one is among them.
#include "runtime/choose/select.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <tuple>
#include <utility>

#include "codegen/base/error.h"
#include "codegen/generator.h"
#include "codegen/plan/plan.h"
#include "tests/unit/problems.h"
#include "tests/unit/runtime/tuning_cases.h"

namespace marlin {
namespace {

void expect_configs(const Problem& problem, const Target& target) {
  const std::vector<Config> configs = legal_configs(problem, target);
  ASSERT_FALSE(configs.empty()) << to_string(problem) << ", " << to_string(target);
  for (const Config& config : configs) {
    ASSERT_EQ(why_illegal(problem, target, config), std::nullopt) << to_string(config);
  }
  const Config chosen = model_config(problem, target);
  EXPECT_NE(std::find(configs.begin(), configs.end(), chosen), configs.end())
      << to_string(problem) << ", " << to_string(target) << ": " << to_string(chosen);
  EXPECT_EQ(model_config(problem, target), chosen);
}

TEST(Select, EveryShapeHasAConfigOnEveryArchitecture) {
  RandomCases cases(7, {4096, 1 << 8, 1 << 8, 200});
  for (int i = 0; i < 40; ++i) {
    const Problem problem = cases.problem();
    for (const ArchLimits& arch : known_archs()) {
      expect_configs(problem, {std::string(arch.name), cases.target().sms});
    }
  }
}

TEST(Select, TheExtremesHaveConfigsToo) {
  for (const std::int64_t m : {std::int64_t{1}, std::int64_t{9}, std::int64_t{63}, kMaxM}) {
    for (const std::int64_t n : {std::int64_t{64}, std::int64_t{192}, kMaxN}) {
      for (const std::int64_t k : {std::int64_t{64}, std::int64_t{128}, std::int64_t{192}, kMaxK}) {
        for (const int group : {128, -1}) {
          const Problem problem = problem_of(m, n, k, group, false);
          if (broken_rule(problem)) continue;
          expect_configs(problem, {"sm_86", 1});
          expect_configs(problem, {"sm_90a", 1024});
        }
      }
    }
  }
}

TEST(Select, RefusesWhatIsNoShapeOrTarget) {
  EXPECT_THROW(model_config(problem_of(16, 100, 128, 128), {"sm_80", 108}), Error);
  EXPECT_THROW(model_config(problem_of(16, 128, 128, 128), {"sm_70", 80}), Error);
  EXPECT_THROW(model_config(problem_of(16, 128, 128, 128), {"sm_80", 0}), Error);
}

TuningLayers layers_of(const std::vector<TuningRecord>& records) {
  std::string text;
  for (const TuningRecord& record : records) text += to_line(record);
  return TuningLayers({std::make_shared<const TuningFile>("db", text)});
}

TEST(Select, ARecordComesBeforeTheModel) {
  const Problem problem = problem_of(16, 4096, 4096, 128, false);
  const Config model = model_config(problem, test::kH200);
  Config other = test::plain_config();
  if (other == model) other = test::plain_config(3);
  const TuningLayers tuning = layers_of({test::choice_for(problem, other)});

  Choice choice = choose_config(problem, test::kH200, "NVIDIA H200", tuning);
  EXPECT_EQ(choice.config, other);
  EXPECT_EQ(choice.by, ChosenBy::tuned);
  EXPECT_EQ(choice.layer, "db");
  EXPECT_EQ(to_line(choice.record.value()), to_line(test::choice_for(problem, other)));
  for (const TuningLayers& none : {layers_of({}), tuning}) {
    choice = choose_config(problem_of(64, 4096, 4096, 128, false), test::kH200, "", none);
    EXPECT_EQ(choice.config, model_config(problem_of(64, 4096, 4096, 128, false), test::kH200));
    EXPECT_EQ(choice.by, ChosenBy::model);
    EXPECT_EQ(choice.layer, "");
    EXPECT_FALSE(choice.record);
  }
}

constexpr const char* kH200Name = "NVIDIA H200";

Problem shape_of(std::int64_t m) { return problem_of(m, 4096, 4096, 128, false); }

Choice chosen(const Problem& problem, const std::vector<TuningRecord>& records,
              bool chained = false) {
  return choose_config(problem, test::kH200, kH200Name, layers_of(records), chained);
}

void expect_model(const Choice& choice, const Problem& problem, bool chained = false) {
  EXPECT_EQ(choice.by, ChosenBy::model) << to_string(problem) << ": " << to_string(choice.config);
  EXPECT_EQ(choice.config, model_config(problem, test::kH200, kH200Name, chained));
  EXPECT_FALSE(choice.record);
}

void expect_nearest(const Choice& choice, const TuningRecord& record) {
  EXPECT_EQ(choice.by, ChosenBy::nearest) << to_string(choice.config);
  EXPECT_EQ(choice.config, record.config);
  EXPECT_EQ(choice.layer, "db");
  ASSERT_TRUE(choice.record);
  EXPECT_EQ(to_line(*choice.record), to_line(record));
}

// The model's estimate for the config over that for its own first choice.
double behind(const Problem& problem, const Config& config, std::string_view gpu = kH200Name) {
  const GpuModel board = gpu_model_of(test::kH200, gpu);
  return estimate_us(problem, test::kH200, board, config) /
         estimate_us(problem, test::kH200, board, model_config(problem, test::kH200, gpu));
}

// Where eight tokens make one tile they cost the same, and a config that was the best for some of
// them is good for the others, whatever the model says.
TEST(Select, ANeighbourServesThatTheModelHasNoFartherBehindThanWhereItWasMeasured) {
  const TuningRecord below = test::choice_for(shape_of(2), test::plain_config(2));
  const TuningRecord above = test::choice_for(shape_of(8), test::plain_config(3));
  ASSERT_GT(behind(shape_of(4), below.config), 1.5);
  expect_nearest(chosen(shape_of(4), {below}), below);
  expect_nearest(chosen(shape_of(4), {above}), above);
  expect_nearest(chosen(shape_of(4), {below, above}), above);
  expect_nearest(chosen(problem_of(3, 4096, 4096, 128, true), {below, above}), below);
  expect_nearest(chosen(problem_of(8, 4096, 4096, 128, true), {below, above}), above);
}

// A few rows more are in tiles a little higher, as many of them as there.
TEST(Select, ANeighboursTilesAreMadeAsHighAsTheRowsNeed) {
  for (const auto& [text, m, fitted_rows] :
       {std::tuple{"wgmma m24 n128 w4x1 k64 s4 weights split2 b1", 40, 40},
        std::tuple{"wgmma m64 n128 w8x1 k128 s4 weights split1 b1 raster2", 136, 72},
        std::tuple{"m16 n256 w4x2 k64 s3 accumulators split1 b1", 24, 24}}) {
    const Config config = parse_config(text);
    const Problem there = shape_of(config.tile_m == 64 ? 128 : config.tile_m), here = shape_of(m);
    const Choice choice = chosen(here, {test::choice_for(there, config)});
    if (choice.by != ChosenBy::nearest) continue;  // the model's to say
    EXPECT_EQ(choice.config.tile_m, fitted_rows) << to_string(choice.config);
    EXPECT_EQ(why_illegal(here, test::kH200, choice.config), std::nullopt);
    EXPECT_EQ(choice.record.value().config, config);
  }
}

// What the model ranks first for one row count and hardly behind for the next.
TEST(Select, ANeighbourServesThatTheModelHasHardlyBehindItsOwnChoice) {
  int served = 0;
  for (int rung = rung_index(1024); rung + 1 < kRungs; ++rung) {
    const Problem small = problem_of(rungs()[rung], 6144, 4096, 128, false),
                  large = problem_of(rungs()[rung + 1], 6144, 4096, 128, false);
    const TuningRecord record =
        test::choice_for(small, model_config(small, test::kH200, kH200Name));
    const Choice choice = chosen(large, {record});
    if (choice.by == ChosenBy::nearest) {
      EXPECT_LE(behind(large, choice.config), 1.03);
      ++served;
    } else {
      expect_model(choice, large);
    }
  }
  EXPECT_GT(served, 0);
}

// What fills whole waves of blocks for one M leaves most of a wave idle for another.
TEST(Select, ANeighbourThatTheModelSetsBackDoesNotServe) {
  const Problem there = shape_of(768), here = shape_of(1024);
  TuningRecord record = test::choice_for(there, model_config(there, test::kH200, kH200Name));
  for (const Config& config : legal_configs(there, test::kH200)) {
    // Tiles of its height, none higher.
    if (why_illegal(here, test::kH200, config) || here.shape.m % config.tile_m != 0) continue;
    if (there.shape.m % config.tile_m == 0 && behind(here, config) > 1.5 * behind(there, config)) {
      record.config = config;
    }
  }
  ASSERT_GT(behind(here, record.config), 1.2) << "the test needs other shapes";
  expect_model(chosen(here, {record}), here);
}

// No tile of the stripe family holds 128 tokens, and sm_80 has no other family.
TEST(Select, ANeighbourMayReadWeightsAgainWhereNoTileCoversTheRows) {
  const Target target{"sm_80", 108};
  const std::string gpu = "NVIDIA A100-SXM4-80GB";
  TuningRecord record = test::choice_for(shape_of(64), model_config(shape_of(128), target, gpu));
  record.target = target;
  record.gpu = gpu;
  ASSERT_LT(record.config.tile_m, 128);
  const Choice choice = choose_config(shape_of(128), target, gpu, layers_of({record}));
  EXPECT_EQ(choice.by, ChosenBy::nearest);
  EXPECT_EQ(choice.config, record.config);
}

// It was measured up to 16 tokens, and its weights are too large to stay in any cache.
TEST(Select, TheIdealProductReadsItsWeightsOnce) {
  const TuningLayers shipped = TuningLayers::open({});
  for (const std::int64_t m : {16, 24, 32, 48, 64}) {
    const Problem problem = problem_of(m, 33792, 135168, 128, false);
    const Choice choice = choose_config(problem, test::kH200, kH200Name, shipped);
    EXPECT_GE(choice.config.tile_m, m) << to_string(choice.config);
    const bool measured = m == 16 || m == 32 || m == 64;
    EXPECT_EQ(choice.by == ChosenBy::tuned, measured) << m;
  }
}

// The same architecture with other memory: what pays there may not pay here.
TEST(Select, ARecordOfAnotherGpuIsJudgedToo) {
  const std::string other = "NVIDIA H100 80GB HBM3";
  const Problem problem = shape_of(16);
  const auto record_of = [&](const Config& config) {
    TuningRecord record = test::choice_for(problem, config);
    record.gpu = other;
    return record;
  };
  std::map<std::string, double> behind_there;
  const auto there = rank_configs(problem, test::kH200, gpu_model_of(test::kH200, other));
  for (const Estimate& estimate : there) {
    behind_there[to_string(estimate.config)] = estimate.us / there.front().us;
  }
  const auto here = rank_configs(problem, test::kH200, gpu_model_of(test::kH200, kH200Name));
  const auto set_back = [&](const Estimate& estimate) {
    return estimate.us / here.front().us / behind_there.at(to_string(estimate.config));
  };
  const auto [alike, worst] = std::minmax_element(
      here.begin() + 1, here.end(),
      [&](const Estimate& x, const Estimate& y) { return set_back(x) < set_back(y); });
  ASSERT_GT(set_back(*worst), 1.05) << "the test needs another shape";
  expect_model(chosen(problem, {record_of(worst->config)}), problem);
  EXPECT_EQ(choose_config(problem, test::kH200, other, layers_of({record_of(worst->config)})).by,
            ChosenBy::tuned);
  ASSERT_LT(set_back(*alike), 1.02) << "the test needs another shape";
  expect_nearest(chosen(problem, {record_of(alike->config)}), record_of(alike->config));
}

// Chained neighbours are judged first; an isolated record of this very shape needs no judging.
TEST(Select, AChainedNeighbourIsJudgedBeforeTheIsolatedRecord) {
  const TuningRecord alone =
      test::choice_for(shape_of(24), model_config(shape_of(24), test::kH200));
  const TuningRecord narrow = test::chained(test::choice_for(shape_of(16), test::plain_config()));
  const Choice choice = chosen(shape_of(24), {narrow, alone}, true);
  EXPECT_EQ(choice.by, ChosenBy::tuned);
  EXPECT_EQ(choice.config, alone.config);
  expect_model(chosen(shape_of(24), {narrow}, true), shape_of(24), true);
  const TuningRecord few = test::choice_for(shape_of(4), test::plain_config(2));
  const TuningRecord near = test::chained(test::choice_for(shape_of(8), test::plain_config(3)));
  expect_nearest(chosen(shape_of(4), {near, few}, true), near);
}

TEST(Select, ATextComesBeforeBoth) {
  const Problem problem = problem_of(16, 4096, 4096, 128, false);
  Config tuned = model_config(problem, test::kH200);
  tuned.stages += tuned.stages > 2 ? -1 : 1;
  const TuningLayers tuning = layers_of({test::choice_for(problem, tuned)});
  EXPECT_EQ(choose_config("", problem, test::kH200, "", tuning).config, tuned);
  Choice choice = choose_config("model", problem, test::kH200, "", tuning);
  EXPECT_EQ(choice.config, model_config(problem, test::kH200));
  EXPECT_EQ(choice.by, ChosenBy::model);
  choice = choose_config(to_string(test::plain_config(2)), problem, test::kH200, "", tuning);
  EXPECT_EQ(choice.config, test::plain_config(2));
  EXPECT_EQ(choice.by, ChosenBy::given);
  EXPECT_THROW(choose_config("modell", problem, test::kH200, "", tuning), Error);
}

TEST(Select, ChainedRecordsThenIsolatedOnesThenTheModel) {
  const Problem problem = problem_of(16, 4096, 4096, 128, false);
  const TuningRecord alone = test::choice_for(problem, test::plain_config(2));
  const TuningRecord in_chain = test::chained(test::choice_for(problem, test::plain_config(3)));
  const auto chosen = [&](const std::vector<TuningRecord>& records, bool chained) {
    return choose_config("", problem, test::kH200, "NVIDIA H200", layers_of(records), chained);
  };
  EXPECT_EQ(chosen({in_chain, alone}, true).config, in_chain.config);
  EXPECT_EQ(chosen({in_chain, alone}, false).config, alone.config);
  EXPECT_EQ(chosen({alone}, true).config, alone.config);
  EXPECT_EQ(chosen({alone}, true).by, ChosenBy::tuned);
  EXPECT_EQ(chosen({in_chain}, false).by, ChosenBy::model);
  EXPECT_EQ(chosen({}, true).config, model_config(problem, test::kH200, "NVIDIA H200", true));
}

// A folder that was built for isolated launches serves chained ones too.
TEST(Select, ThePrebuiltOfEitherKindAreLookedFor) {
  const Problem problem = problem_of(16, 4096, 4096, 128, false);
  const TuningLayers tuning =
      layers_of({test::choice_for(problem, test::plain_config(2)),
                 test::chained(test::choice_for(problem, test::plain_config(3)))});
  const auto built_with = [&](bool chained) {
    std::vector<Config> configs;
    for (const Choice& choice : prebuilt_choices(problem, test::kH200, "", tuning, chained)) {
      if (configs.empty() || configs.back() != choice.config) configs.push_back(choice.config);
    }
    return configs;
  };
  EXPECT_EQ(built_with(true).front(), test::plain_config(3));
  EXPECT_EQ(built_with(true).at(1), test::plain_config(2));
  EXPECT_EQ(built_with(false).front(), test::plain_config(2));
  // The model's own, and that of a machine with an NVRTC that knows no st.async.
  EXPECT_THAT(built_with(false), testing::Contains(model_config(problem, test::kH200)));
  const Problem narrow = problem_of(1, 4096, 4096);
  const Config old = model_config(narrow, test::kH200, {}, false, 12000);
  EXPECT_LT(least_nvrtc(test::kH200, old),
            least_nvrtc(test::kH200, model_config(narrow, test::kH200)));
  std::vector<Config> all;
  for (const Choice& choice : prebuilt_choices(narrow, test::kH200, "", layers_of({}), false)) {
    all.push_back(choice.config);
  }
  EXPECT_THAT(all, testing::Contains(old));
}

TEST(Select, BadShapesAreRefusedBeforeAnyDatabase) {
  const TuningLayers none = layers_of({});
  EXPECT_THROW(choose_config(problem_of(0, 4096, 4096, 128), test::kH200, "", none), Error);
  EXPECT_THROW(choose_config(problem_of(INT64_MAX, 4096, 4096, 128), test::kH200, "", none), Error);
  EXPECT_THROW(choose_config(problem_of(16, 4096, 4096, 128), {"sm_70", 80}, "", none), Error);
}

TEST(Select, LegalConfigsAreDistinct) {
  for (const Problem& problem :
       {problem_of(16, 4096, 4096, 128), problem_of(100, 28672, 8192, -1)}) {
    std::vector<std::string> texts;
    for (const Config& config : legal_configs(problem, {"sm_90a", 132})) {
      texts.push_back(to_string(config));
    }
    std::sort(texts.begin(), texts.end());
    EXPECT_EQ(std::adjacent_find(texts.begin(), texts.end()), texts.end());
  }
}

}  // namespace
}  // namespace marlin
