// The figures of `marlin bench --compare`: ratios paired by round, means, worst cells, text, JSON.
// Entry point: the tests of suite CompareReport.
#include "tuner/report/compare_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "codegen/base/error.h"
#include "tuner/cli/cmd_bench_compare.h"
#include "tuner/report/bench_report.h"

namespace marlin {
namespace {

using testing::DoubleEq;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::Pair;

ComparedChoice choice(const std::string& chooser, const std::string& config,
                      const std::vector<double>& round_us) {
  ComparedChoice choice{.chooser = chooser, .config = config, .source = "", .race = {}};
  std::vector<double> replay_us;
  for (const double us : round_us) replay_us.push_back(us * 100);
  choice.race = {.timing = summarise(replay_us, 100), .round_us = round_us};
  return choice;
}

// Tuned and model in three rounds of a GPU that slows down; the read floor takes 4 us.
ComparedCell cell(std::int64_t m, const std::vector<double>& tuned,
                  const std::vector<double>& model) {
  return {.layer = "8B.o",
          .problem = {.shape = {.m = m, .n = 4096, .k = 4096}},
          .rung = m,
          .floor = {.median_us = 4, .min_us = 4, .max_us = 4, .launches = 100, .replays = 7},
          .choices = {choice("tuned", "fast one", tuned), choice("model", "guessed one", model)}};
}

CompareReport report_of(std::vector<ComparedCell> cells) {
  return {.gpu = "a GPU",
          .target = "sm_90a, 132 SMs",
          .choosers = {"tuned", "model"},
          .cells = std::move(cells)};
}

TEST(CompareReport, RatiosArePairedByRound) {
  const ComparedCell one = cell(16, {8, 10, 20}, {12, 11, 22});
  EXPECT_DOUBLE_EQ(one.ratio(0), 1);
  EXPECT_DOUBLE_EQ(one.ratio(1), 1.1);  // of 1.5, 1.1, 1.1; that of the medians is 1.2
  EXPECT_DOUBLE_EQ(one.over_floor(0), 2.5);
  EXPECT_DOUBLE_EQ(one.over_floor(1), 3);
}

TEST(CompareReport, MeansAreGeometricByMAndOverAll) {
  const CompareReport report =
      report_of({cell(16, {8}, {8}), cell(1, {4}, {8}), cell(16, {4}, {16})});
  const std::vector<CompareMeans> means = report.means();
  ASSERT_EQ(means.size(), 3U);
  EXPECT_EQ(means[0].m, 1);
  EXPECT_EQ(means[0].cells, 1U);
  EXPECT_THAT(means[0].ratio, ElementsAre(DoubleEq(1), DoubleEq(2)));
  EXPECT_EQ(means[1].m, 16);
  EXPECT_EQ(means[1].cells, 2U);
  EXPECT_THAT(means[1].ratio, ElementsAre(DoubleEq(1), DoubleEq(2)));  // of 1 and 4
  EXPECT_THAT(means[1].over_floor, ElementsAre(DoubleEq(std::sqrt(2.0)), DoubleEq(std::sqrt(8.0))));
  EXPECT_EQ(means[2].m, 0);
  EXPECT_EQ(means[2].cells, 3U);
  EXPECT_THAT(means[2].ratio, ElementsAre(DoubleEq(1), DoubleEq(2)));  // of 1, 2 and 4
  EXPECT_TRUE(report_of({}).means().empty());
}

TEST(CompareReport, TheWorstCellHasTheLargestRatio) {
  const CompareReport report =
      report_of({cell(16, {8}, {8}), cell(1, {4}, {8}), cell(64, {100}, {150})});
  EXPECT_EQ(report.worst_cell(1).problem.shape.m, 1);
  EXPECT_THAT(report.text(), HasSubstr("largest model/tuned: 2.000, 8B.o 1x4096x4096"));
  EXPECT_THAT(report.text(), HasSubstr("[guessed one]"));
}

TEST(CompareReport, TextSaysWhoChoseAndHow) {
  CompareReport report = report_of({cell(16, {8}, {10})});
  report.cells[0].choices[0].source = "a database";
  const std::string text = report.text();
  EXPECT_THAT(text, HasSubstr("tuned us"));
  EXPECT_THAT(text, HasSubstr("model/tuned"));
  EXPECT_THAT(text, HasSubstr("1.250"));
  EXPECT_THAT(text, HasSubstr("fast one"));
  EXPECT_THAT(text, HasSubstr("a database"));
  EXPECT_THAT(text, HasSubstr(race_protocol_text()));
  report.chained = true;
  EXPECT_THAT(report.text(), HasSubstr(race_protocol_text(true)));
  EXPECT_THAT(report.text(), HasSubstr("packed weights, chained as well."));
  EXPECT_THAT(report_of({}).text(), Not(HasSubstr("largest")));
}

TEST(CompareReport, JsonHoldsEveryChoiceAndTheMeans) {
  CompareReport report = report_of({cell(16, {8, 9, 10}, {16, 18, 20})});
  report.cells[0].choices[0].source = "a database";
  const nlohmann::ordered_json json = report.json();
  EXPECT_EQ(json["schema_version"], 1);
  EXPECT_EQ(json["verb"], "bench");
  EXPECT_EQ(json["protocol"], race_protocol_text());
  EXPECT_EQ(json["chained"], false);
  EXPECT_THAT(json["compare"], ElementsAre("tuned", "model"));
  const nlohmann::ordered_json& choices = json["cells"][0]["choices"];
  EXPECT_EQ(choices[0]["source"], "a database");
  EXPECT_EQ(choices[0]["rounds"], 3);
  EXPECT_FALSE(choices[1].contains("source"));
  EXPECT_EQ(choices[1]["chooser"], "model");
  EXPECT_EQ(choices[1]["config"], "guessed one");
  EXPECT_EQ(choices[1]["us"], 18.0);
  EXPECT_EQ(choices[1]["min_us"], 16.0);
  EXPECT_EQ(choices[1]["max_us"], 20.0);
  EXPECT_EQ(choices[1]["ratio"], 2.0);
  EXPECT_EQ(choices[1]["over_floor"], 4.5);
  EXPECT_EQ(json["geometric_means"][0]["m"], 16);
  EXPECT_EQ(json["geometric_means"][1]["m"], "all");
  EXPECT_NEAR(json["geometric_means"][1]["model"]["ratio"].get<double>(), 2.0, 1e-12);
  EXPECT_EQ(json["largest_ratios"][0]["ratio"], 2.0);
  EXPECT_EQ(report_of({}).json()["largest_ratios"].size(), 0U);
}

TEST(CompareReport, PlotIsOfTimesOverTheFloor) {
  const Plot plot = report_of({cell(16, {8}, {12}), cell(1, {4}, {8})}).plot();
  ASSERT_EQ(plot.series.size(), 2U);
  EXPECT_EQ(plot.series[1].name, "model");
  EXPECT_THAT(plot.series[0].points, ElementsAre(Pair(1, DoubleEq(1)), Pair(16, DoubleEq(2))));
  EXPECT_THAT(plot.series[1].points, ElementsAre(Pair(1, DoubleEq(2)), Pair(16, DoubleEq(3))));
}

TEST(CompareReport, ChoosersAreAtLeastTwoAndDifferent) {
  EXPECT_NO_THROW(require_choosers({"model", "worst"}));
  EXPECT_THROW(require_choosers({}), Error);
  EXPECT_THROW(require_choosers({"tuned"}), Error);
  EXPECT_THROW(require_choosers({"tuned", "model", "tuned"}), Error);
}

TEST(CompareReport, LayersWithoutANameAreCalledByTheirSize) {
  const Problem problem{.shape = {.m = 1, .n = 128, .k = 64}};
  EXPECT_EQ(layer_name("", problem), "64x128");
  EXPECT_EQ(layer_name("8B.o", problem), "8B.o");
}

}  // namespace
}  // namespace marlin
