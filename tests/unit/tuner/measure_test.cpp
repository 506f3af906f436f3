// The figures behind `marlin bench` and `marlin verify`, where no GPU is needed: statistics,
// verdicts, anchors, ratios, rankings.
// Entry point: the tests of suites Measure, Race, Verdict, AnchorFile, Report, SweepRanking.
#include "tuner/measure/measure.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "codegen/base/error.h"
#include "tuner/check/checker.h"
#include "tuner/measure/sm_clock.h"
#include "tuner/report/anchors.h"
#include "tuner/report/bench_report.h"
#include "tuner/search/compile_queue.h"
#include "tuner/search/sweep.h"

namespace marlin {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

TEST(Measure, Median) {
  EXPECT_EQ(median({3}), 3);
  EXPECT_EQ(median({9, 1, 5}), 5);
  EXPECT_EQ(median({4, 1, 3, 2}), 2.5);
}

TEST(Measure, GeometricMean) {
  EXPECT_EQ(geometric_mean({}), 0);
  EXPECT_DOUBLE_EQ(geometric_mean({2, 8}), 4);
  EXPECT_DOUBLE_EQ(geometric_mean({1, 10, 100}), 10);
}

TEST(Measure, SummaryIsOfOneLaunch) {
  const Timing timing = summarise({300, 100, 200, 1000, 150}, 50);
  EXPECT_DOUBLE_EQ(timing.median_us, 4);
  EXPECT_DOUBLE_EQ(timing.min_us, 2);
  EXPECT_DOUBLE_EQ(timing.max_us, 20);
  EXPECT_EQ(timing.launches, 50);
  EXPECT_EQ(timing.replays, 5);
}

TEST(Measure, DistinctBuffersAreTheFewestThatHold260MB) {
  for (std::size_t bytes : {2048UL, 8388608UL, 58720256UL, 259999999UL, 260000000UL, 939524096UL}) {
    const auto count = static_cast<std::size_t>(distinct_buffers(bytes));
    EXPECT_GE(count * bytes, 260000000UL) << bytes;
    EXPECT_LT((count - 1) * bytes, 260000000UL) << bytes;
  }
  EXPECT_EQ(distinct_buffers(8388608), 31);
  EXPECT_EQ(distinct_buffers(939524096), 1);
}

TEST(Measure, ReplaysGoThroughTheRotationWhole) {
  for (double us : {0.5, 3.0, 17.0, 60.0, 999.0}) {
    for (int distinct : {1, 2, 5, 31, 100}) {
      const int launches = launches_for(us, distinct);
      EXPECT_EQ(launches % distinct, 0) << us << " " << distinct;
      EXPECT_GE(launches, distinct);
      EXPECT_LT(launches, 128 + distinct);
    }
  }
  EXPECT_EQ(launches_for(40, 1), 100);  // 4 ms
  EXPECT_EQ(launches_for(5, 31), 155);  // 128, rounded up to whole rotations
}

TEST(Measure, LongLaunchesNeedNoWholeRotations) {
  EXPECT_EQ(launches_for(999, 31), 31);
  EXPECT_EQ(launches_for(1000, 31), 4);   // 4 ms
  EXPECT_EQ(launches_for(40000, 31), 1);  // longer than a replay need be
  EXPECT_EQ(launches_for(5500, 1), 1);
}

TEST(Measure, ChainedLaunchesNeedSm90) {
  for (const char* arch : {"sm_80", "sm_86", "sm_87", "sm_89"}) {
    EXPECT_FALSE(can_chain({arch, 108}));
    try {
      require_can_chain({arch, 108});
      ADD_FAILURE() << arch;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_target);
      EXPECT_THAT(error.what(), HasSubstr("chained launches need sm_90 or newer"));
    }
  }
  for (const char* arch : {"sm_90", "sm_90a", "sm_100", "sm_120"}) {
    EXPECT_NO_THROW(require_can_chain({arch, 132}));
  }
}

TEST(Measure, TheProtocolSaysHowLaunchesFollowEachOther) {
  EXPECT_THAT(protocol_text(), HasSubstr("no programmatic dependent launch"));
  EXPECT_THAT(protocol_text(), HasSubstr("cublas"));
  EXPECT_THAT(protocol_text(true), HasSubstr("chained by programmatic dependent launch"));
  EXPECT_THAT(protocol_text(true), HasSubstr("in the same run, chained as well"));
  EXPECT_THAT(protocol_text(true), Not(HasSubstr("cublas")));
  EXPECT_THAT(race_protocol_text(), HasSubstr("no programmatic dependent launch"));
  EXPECT_THAT(race_protocol_text(true), Not(HasSubstr("no programmatic dependent launch")));
}

TEST(Measure, TheProtocolSaysThePace) {
  EXPECT_THAT(protocol_text(), HasSubstr("median of 7"));
  EXPECT_THAT(protocol_text(false, Pace::burst), HasSubstr("after 50 ms without work"));
  EXPECT_THAT(protocol_text(false, Pace::sustained), HasSubstr("without a pause"));
  EXPECT_EQ(name_of(Pace::sustained), "sustained");
}

TEST(Measure, ClocksAreTheMedianOfTheSmsReadTwice) {
  const std::vector<SmReading> begin = {{1000, 50}, {0, 0}, {500, 50}, {7, 50}};
  const std::vector<SmReading> end = {{2700, 1050}, {9000, 1050}, {2400, 1050}, {1507, 1050}};
  EXPECT_DOUBLE_EQ(clock_mhz(begin, end), 1700);
  EXPECT_EQ(clock_mhz(begin, begin), 0);
  EXPECT_EQ(clock_mhz({}, end), 0);
}

TEST(Race, AllHaveTheFastestOnesLaunches) {
  EXPECT_THAT(race_launches({15, 10, 12}, 5), ElementsAre(150, 150, 150));  // 1.5 ms of 10 us
  EXPECT_THAT(race_launches({10, 10}, 31), ElementsAre(155, 155));          // whole rotations
  EXPECT_THAT(race_launches({1, 2}, 3), ElementsAre(513, 513));             // 512, rounded up
  EXPECT_THAT(race_launches({1200, 1100}, 31), ElementsAre(2, 2));
  EXPECT_THAT(race_launches({9000}, 31), ElementsAre(1));
  EXPECT_TRUE(race_launches({}, 31).empty());
}

TEST(Race, OnlyTheMuchSlowerHaveFewerLaunches) {
  EXPECT_THAT(race_launches({10, 80, 81}, 5), ElementsAre(150, 150, 20));
  EXPECT_THAT(race_launches({10, 5000}, 31), ElementsAre(155, 1));
  EXPECT_THAT(race_launches({300, 2000}, 31), ElementsAre(31, 31));
  EXPECT_THAT(race_launches({300, 2500}, 31), ElementsAre(31, 1));
  EXPECT_THAT(race_launches({2, 20, 30}, 1), ElementsAre(512, 512, 50));  // 12 ms at least
}

TEST(Race, EveryRoundHasEachContestantOnce) {
  for (int count = 1; count <= 9; ++count) {
    const auto orders = race_orders(count, 7);
    ASSERT_EQ(orders.size(), 7U);
    for (std::vector<int> order : orders) {
      std::sort(order.begin(), order.end());
      ASSERT_EQ(order.size(), static_cast<std::size_t>(count));
      for (int i = 0; i < count; ++i) EXPECT_EQ(order[static_cast<std::size_t>(i)], i);
    }
  }
  EXPECT_THAT(race_orders(4, 3), ElementsAre(ElementsAre(0, 3, 1, 2), ElementsAre(2, 1, 3, 0),
                                             ElementsAre(1, 0, 2, 3)));
}

TEST(Race, DriftCancelsInPairsOfRounds) {
  for (int count = 1; count <= 9; ++count) {
    const auto orders = race_orders(count, 6);
    for (std::size_t round = 0; round < orders.size(); round += 2) {
      const std::vector<int> mirror(orders[round + 1].rbegin(), orders[round + 1].rend());
      EXPECT_EQ(orders[round], mirror) << count << " " << round;
    }
  }
}

TEST(Race, PlacesAndNeighboursAreBalanced) {
  for (int count = 2; count <= 9; ++count) {
    std::map<std::pair<int, std::size_t>, int> places;
    std::map<std::pair<int, int>, int> neighbours;
    for (const std::vector<int>& order : race_orders(count, 2 * count)) {
      for (std::size_t place = 0; place < order.size(); ++place) {
        ++places[{order[place], place}];
        if (place > 0) ++neighbours[{order[place - 1], order[place]}];
      }
    }
    EXPECT_EQ(places.size(), static_cast<std::size_t>(count * count));
    EXPECT_EQ(neighbours.size(), static_cast<std::size_t>(count * (count - 1)));
    for (const auto& [key, times] : places) EXPECT_EQ(times, 2) << count;
    for (const auto& [key, times] : neighbours) EXPECT_EQ(times, 2) << count;
  }
}

TEST(Race, RatiosArePairedByRound) {
  RaceTiming one, other;
  one.round_us = {10, 22, 36};  // the clock falls from round to round
  other.round_us = {10, 20, 30};
  EXPECT_DOUBLE_EQ(paired_ratio(one, other), 1.1);
  EXPECT_DOUBLE_EQ(paired_ratio(other, other), 1);
}

TEST(Verdict, EveryKindOfDamageIsAFinding) {
  const Check good{.m = 4, .relative_error = 3e-4};
  EXPECT_TRUE(good.ok(1e-3));
  EXPECT_EQ(good.findings(1e-3), "");
  const auto with = [&](auto change) {
    Check check = good;
    change(check);
    EXPECT_FALSE(check.ok(1e-3));
    return check.findings(1e-3);
  };
  EXPECT_EQ(with([](Check& c) { c.relative_error = 0.25; }), "relative error 0.25");
  EXPECT_EQ(with([](Check& c) { c.relative_error = std::nan(""); }), "relative error nan");
  EXPECT_THAT(with([](Check& c) { c.not_finite = 3; }), HasSubstr("3 results not finite"));
  EXPECT_THAT(with([](Check& c) { c.written_outside = 1; }), HasSubstr("1 words written outside"));
  EXPECT_THAT(with([](Check& c) { c.workspace_outside = 2; }), HasSubstr("after the workspace"));
  EXPECT_THAT(with([](Check& c) { c.not_repeated = 5; }), HasSubstr("5 results not repeated"));
  EXPECT_THAT(with([](Check& c) { c.dependent_differ = 6; }),
              HasSubstr("6 results differ in dependent launches"));
}

TEST(Verdict, TheToleranceItselfFails) {
  const Check check{.m = 1, .relative_error = 1e-3};
  EXPECT_FALSE(check.ok(1e-3));
  EXPECT_TRUE(check.ok(1.1e-3));
}

TEST(Verdict, BlocksAddUp) {
  const Check check = check_from({1, 100, 0.5, 0, 3, 300, 2.5, 4});
  EXPECT_DOUBLE_EQ(check.relative_error, 0.1);  // sqrt(4 / 400)
  EXPECT_DOUBLE_EQ(check.max_error, 2.5);
  EXPECT_EQ(check.not_finite, 4U);
}

TEST(Verdict, RowsForAKernelThatServesFewer) {
  const Problem rung{.shape = {.m = 24, .n = 64, .k = 64}};
  const std::vector<std::int64_t> rows = rows_to_check(rung, {20}, 7);
  EXPECT_TRUE(std::is_sorted(rows.begin(), rows.end()));
  EXPECT_EQ(std::set<std::int64_t>(rows.begin(), rows.end()).size(), rows.size());
  for (std::int64_t wanted : {1, 17, 20}) EXPECT_THAT(rows, testing::Contains(wanted));
  for (std::int64_t m : rows) EXPECT_TRUE(m == 1 || (m >= 17 && m <= 24)) << m;
}

TEST(Verdict, RowsForAnExactKernelAreItsOwn) {
  const Problem exact{.shape = {.m = 20, .n = 64, .k = 64, .exact_m = true},
                      .scheme = {.group = -1}};
  EXPECT_THAT(rows_to_check(exact, {20}, 7), ElementsAre(20));
}

TEST(Verdict, SamplesAreSpreadEvenly) {
  EXPECT_EQ(sample_evenly(5, 0, 1).size(), 5U);
  EXPECT_EQ(sample_evenly(5, 9, 1).size(), 5U);
  const std::vector<std::size_t> picks = sample_evenly(1003, 10, 42);
  ASSERT_EQ(picks.size(), 10U);
  for (std::size_t i = 0; i < picks.size(); ++i) {
    EXPECT_GE(picks[i], i * 1003 / 10);
    EXPECT_LT(picks[i], (i + 1) * 1003 / 10);
  }
  EXPECT_EQ(picks, sample_evenly(1003, 10, 42));
  EXPECT_NE(picks, sample_evenly(1003, 10, 43));
}

constexpr const char* kAnchors = R"({"gpu": "a GPU", "protocol": "words", "rows": [
  {"layer": "8B.o", "K": 4096, "N": 6144, "M": 16, "floor_us": 4.0, "orig_us": 12.0,
   "cublas_us": 15.5, "other": null},
  {"K": 64, "N": 128, "M": 1, "floor_us": 1, "orig_us": 2}]})";

TEST(AnchorFile, RowsAreFoundByShape) {
  const Anchors anchors = Anchors::parse(kAnchors);
  EXPECT_EQ(anchors.gpu(), "a GPU");
  EXPECT_EQ(anchors.size(), 2U);
  const AnchorRow* row = anchors.find(16, 6144, 4096);
  ASSERT_NE(row, nullptr);
  EXPECT_EQ(row->layer, "8B.o");
  EXPECT_EQ(row->orig_us, 12.0);
  EXPECT_EQ(row->floor_us, 4.0);
  EXPECT_EQ(row->cublas_us, 15.5);
  EXPECT_EQ(anchors.find(16, 4096, 6144), nullptr);
  EXPECT_EQ(anchors.find(8, 6144, 4096), nullptr);
}

TEST(AnchorFile, RefusalsNameRowAndField) {
  const auto refusal = [](const char* text) -> std::string {
    try {
      Anchors::parse(text);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
      return error.what();
    }
    return "accepted";
  };
  EXPECT_THAT(refusal(""), HasSubstr("\"rows\""));
  EXPECT_THAT(refusal("[]"), HasSubstr("\"rows\""));
  EXPECT_THAT(refusal(R"({"rows": {}})"), HasSubstr("\"rows\""));
  EXPECT_THAT(refusal(R"({"rows": [3]})"), HasSubstr("row 0"));
  EXPECT_THAT(refusal(R"({"rows": [{"K": 64, "N": 64, "M": 1, "floor_us": 1}]})"),
              HasSubstr("row 0: orig_us"));
  EXPECT_THAT(refusal(R"({"rows": [{"K": 64, "N": 64, "M": 1, "floor_us": 0, "orig_us": 1}]})"),
              HasSubstr("row 0: floor_us"));
  EXPECT_THAT(refusal(R"({"rows": [{"K": "64", "N": 64, "M": 1, "floor_us": 1, "orig_us": 1}]})"),
              HasSubstr("row 0: K"));
  EXPECT_THROW(Anchors::load("/no/such/file"), Error);
}

Timing timing(double us) {
  return {.median_us = us, .min_us = us, .max_us = us, .launches = 10, .replays = 7};
}

// 2 m n k = 2^31; weights 2^23, scales 2^18, activations and results 2 * 16 * 4096 * 2 bytes.
BenchCell cell_with(double ours, double floor, std::optional<double> cublas) {
  BenchCell cell;
  cell.layer = "8B.o";
  cell.problem = {.shape = {.m = 16, .n = 4096, .k = 4096}, .scheme = {.group = 128}};
  cell.rung = 16;
  cell.config = "some config";
  cell.ours = timing(ours);
  cell.floor = timing(floor);
  if (cublas) {
    cell.cublas = timing(*cublas);
    cell.cublas_layout = "TN";
  }
  return cell;
}

TEST(Report, RatesAndRatiosOfACell) {
  BenchCell cell = cell_with(8, 4, 12);
  EXPECT_DOUBLE_EQ(cell.flops(), 536870912.0);
  EXPECT_DOUBLE_EQ(cell.bytes(), 8388608.0 + 262144.0 + 131072.0 + 131072.0);
  EXPECT_DOUBLE_EQ(cell.gb_per_s(), cell.bytes() / 8e-6 / 1e9);
  EXPECT_DOUBLE_EQ(cell.tflop_per_s(), cell.flops() / 8e-6 / 1e12);
  EXPECT_DOUBLE_EQ(cell.roof_us(0), 4);
  EXPECT_DOUBLE_EQ(cell.roof_us(760), 4);                         // 0.7 us of arithmetic
  EXPECT_DOUBLE_EQ(cell.roof_us(10), 536870912.0 / 10e12 * 1e6);  // now the arithmetic rules
  EXPECT_DOUBLE_EQ(cell.over_roof(760), 2);
  EXPECT_DOUBLE_EQ(*cell.over_cublas(), 1.5);
  EXPECT_FALSE(cell.published_scaled_us());
  cell.published_us = 10;
  cell.published_floor_us = 5;
  EXPECT_DOUBLE_EQ(*cell.published_scaled_us(), 8);  // our floor is 4/5 of theirs
  EXPECT_DOUBLE_EQ(*cell.over_published(), 1);
  cell.problem.scheme.group = -1;
  EXPECT_DOUBLE_EQ(cell.bytes(), 8388608.0 + 8192.0 + 131072.0 + 131072.0);
}

TEST(Report, MeansAreGeometricAndByM) {
  BenchReport report;
  report.peak_tflops = 760;
  report.cells = {cell_with(8, 4, 16), cell_with(4, 4, 32), cell_with(2, 1, {})};
  report.cells[2].problem.shape.m = 1;
  report.cells[1].published_us = 6;
  report.cells[1].published_floor_us = 8;
  const std::vector<BenchSummary> summaries = report.summaries();
  ASSERT_EQ(summaries.size(), 2U);
  EXPECT_EQ(summaries[0].m, 1);
  EXPECT_EQ(summaries[0].over_cublas, 0);
  EXPECT_DOUBLE_EQ(summaries[0].over_floor, 2);
  EXPECT_EQ(summaries[1].m, 16);
  EXPECT_EQ(summaries[1].layers, 2);
  EXPECT_DOUBLE_EQ(summaries[1].over_floor, std::sqrt(2.0));
  EXPECT_DOUBLE_EQ(summaries[1].over_cublas, 4);  // sqrt(2 * 8)
  EXPECT_DOUBLE_EQ(summaries[1].over_published, 0.75);
  EXPECT_DOUBLE_EQ(summaries[1].over_published_plain, 1.5);
}

TEST(Report, WithoutCublasTheColumnSaysSo) {
  BenchReport report;
  report.cublas = "no libcublas found";
  report.cells = {cell_with(8, 4, {})};
  EXPECT_THAT(report.text(), HasSubstr("n/a"));
  EXPECT_THAT(report.text(), HasSubstr("no libcublas found"));
  const nlohmann::ordered_json json = report.json();
  EXPECT_FALSE(json["cells"][0].contains("cublas_us"));
  EXPECT_TRUE(report.plot().series.front().points.empty());
}

TEST(Report, JsonHoldsTheProtocolAndEveryCell) {
  BenchReport report;
  report.gpu = "a GPU";
  report.peak_tflops = 760;
  report.cells = {cell_with(8, 4, 16)};
  const nlohmann::ordered_json json = report.json();
  EXPECT_EQ(json["schema_version"], 1);
  EXPECT_EQ(json["verb"], "bench");
  EXPECT_EQ(json["protocol"], protocol_text());
  EXPECT_EQ(json["chained"], false);
  EXPECT_EQ(json["cells"][0]["shape"]["n"], 4096);
  EXPECT_EQ(json["cells"][0]["speedup_over_cublas"], 2.0);
  EXPECT_EQ(json["cells"][0]["over_roof"], 2.0);
  EXPECT_EQ(json["geometric_means"][0]["m"], 16);
}

TEST(Report, AChainedOneSaysSo) {
  BenchReport report;
  report.chained = true;
  report.cells = {cell_with(8, 4, {})};
  EXPECT_EQ(report.json()["chained"], true);
  EXPECT_EQ(report.json()["protocol"], protocol_text(true));
  EXPECT_THAT(report.text(), HasSubstr(protocol_text(true)));
}

TEST(Report, PlotIsOfSpeedupsOverCublas) {
  BenchReport report;
  report.peak_tflops = 760;
  report.cells = {cell_with(8, 4, 16)};
  const Plot plot = report.plot();
  EXPECT_THAT(plot.series[0].points, ElementsAre(std::pair(16.0, 2.0)));
  EXPECT_TRUE(plot.series[1].points.empty());  // no anchors
  EXPECT_THAT(plot.series[2].points, ElementsAre(std::pair(16.0, 4.0)));
}

std::vector<SweepEntry> screened(std::initializer_list<double> times) {
  std::vector<SweepEntry> entries;
  for (double us : times) {
    SweepEntry entry;
    entry.config = "c" + std::to_string(entries.size());
    entry.screen_us = us;
    entries.push_back(entry);
  }
  return entries;
}

TEST(SweepRanking, FinalistsAreFastFewAndTheChosenOne) {
  std::vector<SweepEntry> entries = screened({20, 10, 12, 13.1, 11, 0});
  entries[4].error = "failed";
  EXPECT_THAT(finalists(entries, {.finals = 10, .within = 1.3}, ""), ElementsAre(1, 2));
  EXPECT_THAT(finalists(entries, {.finals = 1, .within = 1.3}, ""), ElementsAre(1));
  EXPECT_THAT(finalists(entries, {.finals = 1, .within = 1.3}, "c0"), ElementsAre(1, 0));
  EXPECT_THAT(finalists(entries, {.finals = 1, .within = 1.3}, "c4"), ElementsAre(1));
  EXPECT_TRUE(finalists({}, {}, "c0").empty());
}

TEST(SweepRanking, TimedBeforeScreenedBeforeFailed) {
  std::vector<SweepEntry> entries = screened({9, 10, 12, 11});
  entries[0].error = "failed";
  entries[1].timing = timing(10.5);
  entries[2].timing = timing(10.2);
  rank(entries);
  std::vector<std::string> order;
  for (const SweepEntry& entry : entries) order.push_back(entry.config);
  EXPECT_THAT(order, ElementsAre("c2", "c1", "c3", "c0"));
}

}  // namespace
}  // namespace marlin
