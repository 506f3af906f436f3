// Series of (M, ratio) -> braille text and SVG. Entry points: terminal_plot, svg_plot.
#include "tuner/report/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <set>
#include <tuple>

namespace marlin {
namespace {

// The plot's area in its own units: log2(M) from left to right, the ratio from 0 to top.
struct Frame {
  double left = 0, right = 1, top = 1, step = 1;
  std::vector<double> ticks;  // every M that has a point

  double x(double m) const { return (std::log2(m) - left) / (right - left); }  // 0..1
  double y(double ratio) const { return std::clamp(ratio / top, 0.0, 1.0); }   // 0..1
};

std::vector<PlotSeries> with_points(const Plot& plot) {
  std::vector<PlotSeries> drawn;
  for (const PlotSeries& series : plot.series) {
    if (!series.points.empty()) drawn.push_back(series);
  }
  return drawn;
}

Frame frame_of(const std::vector<PlotSeries>& series) {
  std::set<double> ticks;
  double most = 1;
  for (const PlotSeries& one : series) {
    for (const auto& [m, ratio] : one.points) {
      ticks.insert(m);
      most = std::max(most, ratio);
    }
  }
  Frame frame;
  frame.ticks.assign(ticks.begin(), ticks.end());
  frame.left = std::log2(frame.ticks.front());
  frame.right = std::log2(frame.ticks.back());
  if (frame.right == frame.left) {  // a single M stands in the middle
    frame.left -= 1;
    frame.right += 1;
  }
  std::tie(frame.top, frame.step) = axis_for(most);
  return frame;
}

std::string short_number(double value) { return fmt::format("{:g}", value); }

// Characters of 2 x 4 dots each.
class Canvas {
 public:
  Canvas(int columns, int rows)
      : columns_(columns),
        rows_(rows),
        dots_(static_cast<std::size_t>(columns) * static_cast<std::size_t>(rows), 0),
        letters_(dots_.size(), 0) {}

  // Fractions of the canvas, from the left and from the bottom.
  void dot(double x, double y) { dots_[cell(x, y)] |= bit(x, y); }
  void letter(double x, double y, char c) { letters_[cell(x, y)] = c; }

  void line(double x0, double y0, double x1, double y1) {
    const int steps = 8 * std::max(columns_, rows_);
    for (int i = 0; i <= steps; ++i) {
      const double t = static_cast<double>(i) / steps;
      dot(x0 + t * (x1 - x0), y0 + t * (y1 - y0));
    }
  }

  int row_of(double y) const { return dot_row(y) / 4; }

  std::string row(int r) const {
    std::string text;
    for (int c = 0; c < columns_; ++c) {
      const std::size_t at = index(r, c);
      if (letters_[at] != 0) {
        text += letters_[at];
      } else if (dots_[at] == 0) {
        text += ' ';
      } else {  // U+2800 + dots in UTF-8
        text += static_cast<char>(0xE2);
        text += static_cast<char>(0xA0 | (dots_[at] >> 6));
        text += static_cast<char>(0x80 | (dots_[at] & 0x3F));
      }
    }
    return text;
  }

 private:
  int dot_column(double x) const {
    return std::clamp(static_cast<int>(std::lround(x * (2 * columns_ - 1))), 0, 2 * columns_ - 1);
  }
  int dot_row(double y) const {
    const int last = 4 * rows_ - 1;
    return last - std::clamp(static_cast<int>(std::lround(y * last)), 0, last);
  }
  std::size_t index(int row, int column) const {
    return static_cast<std::size_t>(row) * static_cast<std::size_t>(columns_) +
           static_cast<std::size_t>(column);
  }
  std::size_t cell(double x, double y) const { return index(dot_row(y) / 4, dot_column(x) / 2); }
  unsigned char bit(double x, double y) const {
    static constexpr unsigned char kBits[4][2] = {
        {0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};
    return kBits[dot_row(y) % 4][dot_column(x) % 2];
  }

  int columns_, rows_;
  std::vector<unsigned char> dots_;
  std::vector<char> letters_;
};

void draw(Canvas& canvas, const Frame& frame, const std::vector<PlotSeries>& series, int columns) {
  for (int c = 0; c < columns; c += 2) canvas.dot((c + 0.5) / columns, frame.y(1));
  char letter = 'a';
  for (const PlotSeries& one : series) {
    for (std::size_t i = 0; i < one.points.size(); ++i) {
      const auto& [m, ratio] = one.points[i];
      canvas.dot(frame.x(m), frame.y(ratio));
      if (i == 0) continue;
      const auto& [m0, ratio0] = one.points[i - 1];
      canvas.line(frame.x(m0), frame.y(ratio0), frame.x(m), frame.y(ratio));
    }
    canvas.letter(frame.x(one.points.back().first), frame.y(one.points.back().second), letter);
    letter = letter == 'z' ? 'a' : static_cast<char>(letter + 1);
  }
}

// The Ms under the axis, each at its place where the one before leaves room.
std::string tick_row(const Frame& frame, int columns) {
  std::string text;
  for (double m : frame.ticks) {
    const std::string label = short_number(m);
    const auto place = static_cast<std::size_t>(std::lround(frame.x(m) * (columns - 1)));
    if (!text.empty() && place < text.size() + 1) continue;
    text.resize(place, ' ');
    text += label;
  }
  return text;
}

std::string escape(const std::string& text) {
  std::string escaped;
  for (char c : text) {
    switch (c) {
      case '&': escaped += "&amp;"; break;
      case '<': escaped += "&lt;"; break;
      case '>': escaped += "&gt;"; break;
      case '"': escaped += "&quot;"; break;
      default: escaped += c;
    }
  }
  return escaped;
}

// The SVG's plot area in its pixels.
constexpr double kLeft = 60, kRight = 560, kTop = 50, kBottom = 360;
constexpr const char* kColours[] = {"#1f6fb2", "#d1495b", "#2e933c", "#8e5ea2",
                                    "#e08e00", "#00798c", "#6b705c", "#444444"};

double pixel_x(const Frame& frame, double m) { return kLeft + frame.x(m) * (kRight - kLeft); }
double pixel_y(const Frame& frame, double ratio) {
  return kBottom - frame.y(ratio) * (kBottom - kTop);
}

std::string svg_axes(const Frame& frame) {
  std::string svg;
  const int steps = static_cast<int>(std::lround(frame.top / frame.step));
  for (int i = 0; i <= steps; ++i) {
    const double ratio = i * frame.step, y = pixel_y(frame, ratio);
    svg += fmt::format(
        "<line x1=\"{0:.1f}\" y1=\"{2:.1f}\" x2=\"{1:.1f}\" y2=\"{2:.1f}\" stroke=\"#ddd\"/>\n"
        "<text x=\"{3:.1f}\" y=\"{4:.1f}\" text-anchor=\"end\">{5}</text>\n",
        kLeft, kRight, y, kLeft - 8, y + 4, short_number(ratio));
  }
  svg += fmt::format(
      "<line x1=\"{0:.1f}\" y1=\"{2:.1f}\" x2=\"{1:.1f}\" y2=\"{2:.1f}\" stroke=\"#888\" "
      "stroke-dasharray=\"4 4\"/>\n",
      kLeft, kRight, pixel_y(frame, 1));
  double free_from = 0;
  for (double m : frame.ticks) {
    const double x = pixel_x(frame, m);
    if (x < free_from) continue;
    free_from = x + 30;
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n", x,
                       kBottom + 18, short_number(m));
  }
  return svg;
}

std::string svg_series(const Frame& frame, const PlotSeries& series, std::size_t index) {
  const char* colour = kColours[index % std::size(kColours)];
  std::string points, marks;
  for (const auto& [m, ratio] : series.points) {
    const double x = pixel_x(frame, m), y = pixel_y(frame, ratio);
    points += fmt::format("{:.1f},{:.1f} ", x, y);
    marks +=
        fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\" fill=\"{}\"/>\n", x, y, colour);
  }
  const double legend_y = kTop + 10 + 20 * static_cast<double>(index);
  return fmt::format(
      "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"/>\n{}"
      "<text x=\"{:.1f}\" y=\"{:.1f}\" fill=\"{}\">{}</text>\n",
      points, colour, marks, kRight + 15, legend_y, colour, escape(series.name));
}

}  // namespace

std::pair<double, double> axis_for(double most) {
  const double least_step = std::max(most, 1e-9) / 8;
  const double power = std::pow(10.0, std::floor(std::log10(least_step)));
  double step = 10 * power;
  for (double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= least_step * (1 - 1e-9)) {
      step = factor * power;
      break;
    }
  }
  return {step * std::ceil(most / step - 1e-9), step};
}

std::string terminal_plot(const Plot& plot, int columns, int rows) {
  const std::vector<PlotSeries> series = with_points(plot);
  if (series.empty()) return plot.title + "\n(nothing to plot)\n";
  const Frame frame = frame_of(series);
  Canvas canvas(columns, rows);
  draw(canvas, frame, series, columns);

  std::string text = fmt::format("{}\n{}\n", plot.title, plot.y_label);
  std::vector<std::string> labels(static_cast<std::size_t>(rows));
  for (double ratio = 0; ratio < frame.top + frame.step / 2; ratio += frame.step) {
    labels[static_cast<std::size_t>(canvas.row_of(frame.y(ratio)))] = short_number(ratio);
  }
  for (int r = 0; r < rows; ++r) {
    text += fmt::format("{:>6} |{}\n", labels[static_cast<std::size_t>(r)], canvas.row(r));
  }
  text += fmt::format("{:>6} +{}\n", "", std::string(static_cast<std::size_t>(columns), '-'));
  text += fmt::format("{:>8}{}  {}\n", "", tick_row(frame, columns), plot.x_label);
  char letter = 'a';
  for (const PlotSeries& one : series) {
    text += fmt::format("{:>8}{} {}\n", "", letter, one.name);
    letter = letter == 'z' ? 'a' : static_cast<char>(letter + 1);
  }
  return text;
}

std::string svg_plot(const Plot& plot) {
  const std::vector<PlotSeries> series = with_points(plot);
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"760\" height=\"420\" "
      "viewBox=\"0 0 760 420\" font-family=\"sans-serif\" font-size=\"12\">\n"
      "<rect width=\"760\" height=\"420\" fill=\"white\"/>\n"
      "<text x=\"{:.1f}\" y=\"24\" font-size=\"16\">{}</text>\n"
      "<text x=\"{:.1f}\" y=\"42\">{}</text>\n"
      "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n",
      kLeft, escape(plot.title), kLeft, escape(plot.y_label), (kLeft + kRight) / 2, kBottom + 40,
      escape(plot.x_label));
  if (!series.empty()) {
    const Frame frame = frame_of(series);
    svg += svg_axes(frame);
    for (std::size_t i = 0; i < series.size(); ++i) svg += svg_series(frame, series[i], i);
  }
  return svg + "</svg>\n";
}

}  // namespace marlin
