// Every valid shape has legal configs on every architecture, and the chosen one is among them.
#include "runtime/choose/select.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "codegen/base/error.h"
#include "codegen/generator.h"
#include "codegen/plan/plan.h"
#include "tests/unit/runtime/tuning_cases.h"

namespace marlin {
namespace {

void expect_configs(const Shape& shape, const Target& target) {
  const std::vector<Config> configs = legal_configs(shape, target);
  ASSERT_FALSE(configs.empty()) << to_string(shape) << ", " << to_string(target);
  for (const Config& config : configs) {
    ASSERT_EQ(why_illegal(shape, target, config), std::nullopt) << to_string(config);
  }
  const Config chosen = model_config(shape, target);
  EXPECT_NE(std::find(configs.begin(), configs.end(), chosen), configs.end())
      << to_string(shape) << ", " << to_string(target) << ": " << to_string(chosen);
  EXPECT_EQ(model_config(shape, target), chosen);
}

TEST(Select, EveryShapeHasAConfigOnEveryArchitecture) {
  RandomCases cases(7, {4096, 1 << 8, 1 << 8, 200});
  for (int i = 0; i < 40; ++i) {
    const Shape shape = cases.shape();
    for (const ArchLimits& arch : known_archs()) {
      expect_configs(shape, {std::string(arch.name), cases.target().sms});
    }
  }
}

TEST(Select, TheExtremesHaveConfigsToo) {
  for (const std::int64_t m : {std::int64_t{1}, std::int64_t{9}, std::int64_t{63}, kMaxM}) {
    for (const std::int64_t n : {std::int64_t{64}, std::int64_t{192}, kMaxN}) {
      for (const std::int64_t k : {std::int64_t{64}, std::int64_t{128}, std::int64_t{192}, kMaxK}) {
        for (const int group : {128, -1}) {
          const Shape shape{m, n, k, group, false};
          if (broken_rule(shape)) continue;
          expect_configs(shape, {"sm_86", 1});
          expect_configs(shape, {"sm_90a", 1024});
        }
      }
    }
  }
}

TEST(Select, RefusesWhatIsNoShapeOrTarget) {
  EXPECT_THROW(model_config({16, 100, 128, 128}, {"sm_80", 108}), Error);
  EXPECT_THROW(model_config({16, 128, 128, 128}, {"sm_70", 80}), Error);
  EXPECT_THROW(model_config({16, 128, 128, 128}, {"sm_80", 0}), Error);
}

TuningLayers layers_of(const std::vector<TuningRecord>& records) {
  std::string text;
  for (const TuningRecord& record : records) text += to_line(record);
  return TuningLayers({std::make_shared<const TuningFile>("db", text)});
}

TEST(Select, ARecordComesBeforeTheModel) {
  const Shape shape{16, 4096, 4096, 128, false};
  const Config model = model_config(shape, test::kH200);
  Config other = test::plain_config();
  if (other == model) other = test::plain_config(3);
  const TuningLayers tuning = layers_of({test::choice_for(shape, other)});

  Choice choice = choose_config(shape, test::kH200, "NVIDIA H200", tuning);
  EXPECT_EQ(choice.config, other);
  EXPECT_EQ(choice.by, ChosenBy::tuned);
  EXPECT_EQ(choice.layer, "db");
  choice = choose_config({24, 4096, 4096, 128, false}, test::kH200, "", tuning);
  EXPECT_EQ(choice.config, other);
  EXPECT_EQ(choice.by, ChosenBy::nearest);
  for (const TuningLayers& none : {layers_of({}), tuning}) {
    choice = choose_config({64, 4096, 4096, 128, false}, test::kH200, "", none);
    EXPECT_EQ(choice.config, model_config({64, 4096, 4096, 128, false}, test::kH200));
    EXPECT_EQ(choice.by, ChosenBy::model);
    EXPECT_EQ(choice.layer, "");
  }
}

TEST(Select, ATextComesBeforeBoth) {
  const Shape shape{16, 4096, 4096, 128, false};
  Config tuned = model_config(shape, test::kH200);
  tuned.stages += tuned.stages > 2 ? -1 : 1;
  const TuningLayers tuning = layers_of({test::choice_for(shape, tuned)});
  EXPECT_EQ(choose_config("", shape, test::kH200, "", tuning).config, tuned);
  Choice choice = choose_config("model", shape, test::kH200, "", tuning);
  EXPECT_EQ(choice.config, model_config(shape, test::kH200));
  EXPECT_EQ(choice.by, ChosenBy::model);
  choice = choose_config(to_string(test::plain_config(2)), shape, test::kH200, "", tuning);
  EXPECT_EQ(choice.config, test::plain_config(2));
  EXPECT_EQ(choice.by, ChosenBy::given);
  EXPECT_THROW(choose_config("modell", shape, test::kH200, "", tuning), Error);
}

TEST(Select, ChainedRecordsThenIsolatedOnesThenTheModel) {
  const Shape shape{16, 4096, 4096, 128, false};
  const TuningRecord alone = test::choice_for(shape, test::plain_config(2));
  const TuningRecord in_chain = test::chained(test::choice_for(shape, test::plain_config(3)));
  const auto chosen = [&](const std::vector<TuningRecord>& records, bool chained) {
    return choose_config("", shape, test::kH200, "NVIDIA H200", layers_of(records), chained);
  };
  EXPECT_EQ(chosen({in_chain, alone}, true).config, in_chain.config);
  EXPECT_EQ(chosen({in_chain, alone}, false).config, alone.config);
  EXPECT_EQ(chosen({alone}, true).config, alone.config);
  EXPECT_EQ(chosen({alone}, true).by, ChosenBy::tuned);
  EXPECT_EQ(chosen({in_chain}, false).by, ChosenBy::model);
  EXPECT_EQ(chosen({}, true).config, model_config(shape, test::kH200, "NVIDIA H200", true));
}

// A folder that was built for isolated launches serves chained ones too.
TEST(Select, ThePrebuiltOfEitherKindAreLookedFor) {
  const Shape shape{16, 4096, 4096, 128, false};
  const TuningLayers tuning =
      layers_of({test::choice_for(shape, test::plain_config(2)),
                 test::chained(test::choice_for(shape, test::plain_config(3)))});
  const auto built_with = [&](bool chained) {
    std::vector<Config> configs;
    for (const Choice& choice : prebuilt_choices(shape, test::kH200, "", tuning, chained)) {
      if (configs.empty() || configs.back() != choice.config) configs.push_back(choice.config);
    }
    return configs;
  };
  EXPECT_EQ(built_with(true).front(), test::plain_config(3));
  EXPECT_EQ(built_with(true).at(1), test::plain_config(2));
  EXPECT_EQ(built_with(false).front(), test::plain_config(2));
  EXPECT_EQ(built_with(false).back(), model_config(shape, test::kH200));
}

TEST(Select, BadShapesAreRefusedBeforeAnyDatabase) {
  const TuningLayers none = layers_of({});
  EXPECT_THROW(choose_config({0, 4096, 4096, 128}, test::kH200, "", none), Error);
  EXPECT_THROW(choose_config({INT64_MAX, 4096, 4096, 128}, test::kH200, "", none), Error);
  EXPECT_THROW(choose_config({16, 4096, 4096, 128}, {"sm_70", 80}, "", none), Error);
}

TEST(Select, LegalConfigsAreDistinct) {
  for (const Shape& shape : {Shape{16, 4096, 4096, 128}, Shape{100, 28672, 8192, -1}}) {
    std::vector<std::string> texts;
    for (const Config& config : legal_configs(shape, {"sm_90a", 132})) {
      texts.push_back(to_string(config));
    }
    std::sort(texts.begin(), texts.end());
    EXPECT_EQ(std::adjacent_find(texts.begin(), texts.end()), texts.end());
  }
}

}  // namespace
}  // namespace marlin
