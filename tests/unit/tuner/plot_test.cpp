// Plots as text and as SVG, by their structure.
// Entry point: the tests of suite PlotTest.
#include "tuner/report/plot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

namespace marlin {
namespace {

using testing::HasSubstr;
using testing::Not;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

Plot two_series() {
  return {.title = "Speed-up",
          .x_label = "M",
          .y_label = "ratio",
          .series = {{"ours", {{1, 4}, {16, 3.5}, {128, 1}}}, {"other", {{1, 2}, {128, 0.5}}}}};
}

TEST(PlotTest, AxesEndAtAWholeStep) {
  using Axis = std::pair<double, double>;
  EXPECT_EQ(axis_for(4), Axis(4, 0.5));
  EXPECT_EQ(axis_for(1), Axis(1, 0.2));
  EXPECT_EQ(axis_for(7.3), Axis(8, 1));
  EXPECT_EQ(axis_for(8.1), Axis(10, 2));
  EXPECT_EQ(axis_for(35), Axis(35, 5));
}

TEST(PlotTest, TerminalPlotHasItsRowsAxesAndLegend) {
  const std::vector<std::string> lines = lines_of(terminal_plot(two_series(), 40, 10));
  ASSERT_EQ(lines.size(), 2U + 10U + 2U + 2U);
  EXPECT_EQ(lines[0], "Speed-up");
  EXPECT_THAT(lines[2], HasSubstr("     4 |"));
  EXPECT_THAT(lines[11], HasSubstr("     0 |"));
  EXPECT_THAT(lines[13], HasSubstr("128"));
  EXPECT_THAT(lines[14], HasSubstr("a ours"));
  EXPECT_THAT(lines[15], HasSubstr("b other"));
}

TEST(PlotTest, SeriesEndAtTheRightInTheirLetters) {
  const std::vector<std::string> lines = lines_of(terminal_plot(two_series(), 40, 10));
  EXPECT_EQ(lines[9].back(), 'a');   // ratio 1 of 0..4: the third row from below
  EXPECT_EQ(lines[10].back(), 'b');  // ratio 0.5
}

TEST(PlotTest, LinesBeginWhereTheirFirstPointLies) {
  const std::vector<std::string> lines = lines_of(terminal_plot(two_series(), 40, 10));
  EXPECT_EQ(lines[2].substr(8, 1), "\xE2");  // ratio 4 at M = 1: a dot in the top left corner
  EXPECT_EQ(lines[3].substr(8, 1), " ");
}

TEST(PlotTest, NothingToPlotIsSaid) {
  EXPECT_THAT(terminal_plot({.title = "T", .y_label = "", .series = {{"empty", {}}}}),
              HasSubstr("nothing"));
  EXPECT_THAT(svg_plot({.title = "T", .y_label = "", .series = {}}), HasSubstr("</svg>"));
}

TEST(PlotTest, OnePointStandsInTheMiddle) {
  const Plot plot{.title = "T", .y_label = "r", .series = {{"s", {{16, 1}}}}};
  const std::vector<std::string> lines = lines_of(terminal_plot(plot, 41, 5));
  EXPECT_NE(lines[2].find('a'), std::string::npos);
}

TEST(PlotTest, SvgPlacesPointsAndEscapesText) {
  Plot plot = two_series();
  plot.title = "a < b & \"c\"";
  const std::string svg = svg_plot(plot);
  EXPECT_THAT(svg, HasSubstr("a &lt; b &amp; &quot;c&quot;"));
  EXPECT_THAT(svg, Not(HasSubstr("a < b")));
  EXPECT_THAT(svg, HasSubstr("points=\"60.0,50.0 "));  // M = 1 at the top of the axis
  EXPECT_THAT(svg, HasSubstr("560.0,282.5 "));         // M = 128, ratio 1 of 4
  EXPECT_EQ(svg.rfind("</svg>\n"), svg.size() - 7);
}

}  // namespace
}  // namespace marlin
