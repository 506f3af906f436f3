// Raced cells -> ratios, geometric means, worst cells, text, JSON and plot. Entry point:
// CompareReport.
#include "tuner/report/compare_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "tuner/report/json.h"
#include "tuner/report/table.h"

namespace marlin {
namespace {

std::string fixed(double value, int digits) { return fmt::format("{:.{}f}", value, digits); }

CompareMeans means_of(std::int64_t m, const std::vector<const ComparedCell*>& cells,
                      std::size_t choosers) {
  CompareMeans means{.m = m, .cells = cells.size(), .over_floor = {}, .ratio = {}};
  for (std::size_t i = 0; i < choosers; ++i) {
    std::vector<double> over_floor, ratio;
    for (const ComparedCell* cell : cells) {
      over_floor.push_back(cell->over_floor(i));
      ratio.push_back(cell->ratio(i));
    }
    means.over_floor.push_back(geometric_mean(over_floor));
    means.ratio.push_back(geometric_mean(ratio));
  }
  return means;
}

nlohmann::ordered_json to_json(const ComparedCell& cell) {
  nlohmann::ordered_json json{{"layer", cell.layer},
                              {"shape", marlin::to_json(cell.problem)},
                              {"rung", cell.rung},
                              {"floor_us", cell.floor.median_us},
                              {"choices", nlohmann::ordered_json::array()}};
  for (std::size_t i = 0; i < cell.choices.size(); ++i) {
    const ComparedChoice& choice = cell.choices[i];
    const Timing& timing = choice.race.timing;
    nlohmann::ordered_json one{{"chooser", choice.chooser}, {"config", choice.config},
                               {"us", timing.median_us},    {"min_us", timing.min_us},
                               {"max_us", timing.max_us},   {"launches", timing.launches},
                               {"rounds", timing.replays},  {"over_floor", cell.over_floor(i)},
                               {"ratio", cell.ratio(i)}};
    if (!choice.source.empty()) one["source"] = choice.source;
    json["choices"].push_back(std::move(one));
  }
  return json;
}

nlohmann::ordered_json to_json(const CompareMeans& means,
                               const std::vector<std::string>& choosers) {
  nlohmann::ordered_json json{{"m", means.m}, {"cells", means.cells}};
  if (means.m == 0) json["m"] = "all";
  for (std::size_t i = 0; i < choosers.size(); ++i) {
    json[choosers[i]] = {{"over_floor", means.over_floor[i]}, {"ratio", means.ratio[i]}};
  }
  return json;
}

// "model/tuned" and so on: the heads of the ratios.
std::string ratio_head(const CompareReport& report, std::size_t choice) {
  return report.choosers[choice] + "/" + report.choosers.front();
}

std::string cells_text(const CompareReport& report) {
  std::vector<std::vector<std::string>> rows{{"layer", "K", "N", "M", "floor us"}};
  std::vector<std::string>& head = rows.front();
  for (const std::string& chooser : report.choosers) head.push_back(chooser + " us");
  for (std::size_t i = 1; i < report.choosers.size(); ++i) head.push_back(ratio_head(report, i));
  head.push_back(report.choosers.front() + " config");
  head.emplace_back("from");
  for (const ComparedCell& cell : report.cells) {
    std::vector<std::string> row{
        cell.layer, std::to_string(cell.problem.shape.k), std::to_string(cell.problem.shape.n),
        std::to_string(cell.problem.shape.m), fixed(cell.floor.median_us, 2)};
    for (const ComparedChoice& choice : cell.choices) {
      row.push_back(fixed(choice.race.timing.median_us, 2));
    }
    for (std::size_t i = 1; i < cell.choices.size(); ++i) row.push_back(fixed(cell.ratio(i), 3));
    row.push_back(cell.choices.front().config);
    row.push_back(cell.choices.front().source);
    rows.push_back(std::move(row));
  }
  return table(rows);
}

std::string means_text(const CompareReport& report) {
  std::vector<std::vector<std::string>> rows{{"M", "cells"}};
  for (const std::string& chooser : report.choosers) rows.front().push_back(chooser + "/floor");
  for (std::size_t i = 1; i < report.choosers.size(); ++i) {
    rows.front().push_back(ratio_head(report, i));
  }
  for (const CompareMeans& means : report.means()) {
    std::vector<std::string> row{means.m == 0 ? "all" : std::to_string(means.m),
                                 std::to_string(means.cells)};
    for (const double value : means.over_floor) row.push_back(fixed(value, 3));
    for (std::size_t i = 1; i < means.ratio.size(); ++i) row.push_back(fixed(means.ratio[i], 3));
    rows.push_back(std::move(row));
  }
  return table(rows);
}

std::string worst_text(const CompareReport& report) {
  std::string text;
  if (report.cells.empty()) return text;
  for (std::size_t i = 1; i < report.choosers.size(); ++i) {
    const ComparedCell& cell = report.worst_cell(i);
    text += fmt::format("largest {}: {:.3f}, {} {} [{}]\n", ratio_head(report, i), cell.ratio(i),
                        cell.layer, to_string(cell.problem), cell.choices[i].config);
  }
  return text;
}

}  // namespace

double ComparedCell::over_floor(std::size_t choice) const {
  return choices[choice].race.timing.median_us / floor.median_us;
}

double ComparedCell::ratio(std::size_t choice) const {
  return paired_ratio(choices[choice].race, choices.front().race);
}

std::vector<CompareMeans> CompareReport::means() const {
  std::map<std::int64_t, std::vector<const ComparedCell*>> by_m;
  std::vector<const ComparedCell*> all;
  for (const ComparedCell& cell : cells) {
    by_m[cell.problem.shape.m].push_back(&cell);
    all.push_back(&cell);
  }
  std::vector<CompareMeans> result;
  result.reserve(by_m.size() + 1);
  for (const auto& [m, at_m] : by_m) result.push_back(means_of(m, at_m, choosers.size()));
  if (!all.empty()) result.push_back(means_of(0, all, choosers.size()));
  return result;
}

const ComparedCell& CompareReport::worst_cell(std::size_t choice) const {
  return *std::max_element(cells.begin(), cells.end(),
                           [&](const ComparedCell& x, const ComparedCell& y) {
                             return x.ratio(choice) < y.ratio(choice);
                           });
}

std::string CompareReport::text() const {
  return fmt::format(
      "{} ({})\n{} floor = fastest plain read of the packed weights{}.\n\n{}\n"
      "Geometric means over the layers\n{}\n{}",
      gpu, target, race_protocol_text(chained), chained ? ", chained as well" : "",
      cells_text(*this), means_text(*this), worst_text(*this));
}

nlohmann::ordered_json CompareReport::json() const {
  nlohmann::ordered_json json = json_result("bench");
  json["gpu"] = gpu;
  json["target"] = target;
  json["chained"] = chained;
  json["protocol"] = race_protocol_text(chained);
  json["compare"] = choosers;
  json["cells"] = nlohmann::ordered_json::array();
  for (const ComparedCell& cell : cells) json["cells"].push_back(to_json(cell));
  json["geometric_means"] = nlohmann::ordered_json::array();
  for (const CompareMeans& mean : means()) {
    json["geometric_means"].push_back(to_json(mean, choosers));
  }
  json["largest_ratios"] = nlohmann::ordered_json::array();
  for (std::size_t i = 1; i < choosers.size() && !cells.empty(); ++i) {
    const ComparedCell& cell = worst_cell(i);
    json["largest_ratios"].push_back({{"chooser", choosers[i]},
                                      {"ratio", cell.ratio(i)},
                                      {"layer", cell.layer},
                                      {"shape", marlin::to_json(cell.problem)}});
  }
  return json;
}

Plot CompareReport::plot() const {
  Plot plot{.title = fmt::format("Time over the read floor{}, {}", chained ? ", chained" : "", gpu),
            .x_label = "M (tokens)",
            .y_label = "time / read floor, geometric mean over the layers",
            .series = {}};
  const std::vector<CompareMeans> all = means();
  for (std::size_t i = 0; i < choosers.size(); ++i) {
    PlotSeries series{.name = choosers[i], .points = {}};
    for (const CompareMeans& mean : all) {
      if (mean.m > 0) series.points.emplace_back(static_cast<double>(mean.m), mean.over_floor[i]);
    }
    plot.series.push_back(std::move(series));
  }
  return plot;
}

}  // namespace marlin
