// Plots of a ratio against M: in the terminal, and as an SVG picture.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace marlin {

struct PlotSeries {
  std::string name;
  std::vector<std::pair<double, double>> points;  // (M, ratio), M > 0 ascending, ratio >= 0
};

struct Plot {
  std::string title;
  std::string x_label = "M";
  std::string y_label;
  std::vector<PlotSeries> series;  // those without points are left out
};

// The upper end and the step of an axis from 0 that holds `most`, with at most 8 steps of
// 1, 2 or 5 times a power of ten.
std::pair<double, double> axis_for(double most);

// Braille lines on a logarithmic M axis, `columns` characters wide and `rows` high without the
// axes; each series ends in its letter (a, b, ...), which the legend explains. Ends in a newline;
// a plot without points is its title and a remark.
std::string terminal_plot(const Plot& plot, int columns = 64, int rows = 16);

// A whole SVG document, 760 x 420. Text in titles and names is escaped.
std::string svg_plot(const Plot& plot);

}  // namespace marlin
