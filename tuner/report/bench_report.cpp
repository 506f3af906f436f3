// Measured cells -> rates, ratios, geometric means, text and JSON. Entry point: BenchReport.
#include "tuner/report/bench_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "tuner/report/json.h"
#include "tuner/report/table.h"

namespace marlin {
namespace {

std::string number(double value, int digits) { return fmt::format("{:.{}f}", value, digits); }

std::string number(const std::optional<double>& value, int digits) {
  return value ? number(*value, digits) : "n/a";
}

std::string mhz_text(double value) { return value > 0 ? number(value, 0) : "n/a"; }

std::string mean_text(double value) { return value > 0 ? number(value, 3) : "n/a"; }

std::optional<double> median_of(const std::optional<Timing>& timing) {
  if (!timing) return std::nullopt;
  return timing->median_us;
}

nlohmann::ordered_json to_json(const BenchCell& cell, double peak_tflops) {
  nlohmann::ordered_json json{{"layer", cell.layer},
                              {"shape", marlin::to_json(cell.problem)},
                              {"rung", cell.rung},
                              {"config", cell.config},
                              {"us", cell.ours.median_us},
                              {"timing", marlin::to_json(cell.ours)},
                              {"gb_per_s", cell.gb_per_s()},
                              {"tflop_per_s", cell.tflop_per_s()},
                              {"floor_us", cell.floor.median_us},
                              {"floor_timing", marlin::to_json(cell.floor)},
                              {"roof_us", cell.roof_us(peak_tflops)},
                              {"over_roof", cell.over_roof(peak_tflops)}};
  if (cell.cublas) {
    json["cublas_us"] = cell.cublas->median_us;
    json["cublas_timing"] = marlin::to_json(*cell.cublas);
    json["cublas_layout"] = cell.cublas_layout;
    json["speedup_over_cublas"] = *cell.over_cublas();
  }
  if (cell.ours_mhz > 0) json["mhz"] = cell.ours_mhz;
  if (cell.cublas_mhz > 0) json["cublas_mhz"] = cell.cublas_mhz;
  if (cell.published_us) {
    json["published_us"] = *cell.published_us;
    json["published_floor_us"] = *cell.published_floor_us;
    json["published_scaled_us"] = *cell.published_scaled_us();
    json["speedup_over_published"] = *cell.over_published();
  }
  return json;
}

nlohmann::ordered_json to_json(const BenchSummary& summary) {
  nlohmann::ordered_json json{{"m", summary.m},
                              {"layers", summary.layers},
                              {"over_floor", summary.over_floor},
                              {"over_roof", summary.over_roof}};
  if (summary.over_cublas > 0) json["speedup_over_cublas"] = summary.over_cublas;
  if (summary.over_published > 0) {
    json["speedup_over_published"] = summary.over_published;
    json["speedup_over_published_unscaled"] = summary.over_published_plain;
  }
  return json;
}

BenchSummary summarise(std::int64_t m, const std::vector<const BenchCell*>& cells,
                       double peak_tflops) {
  std::vector<double> floor, roof, cublas, published, plain;
  for (const BenchCell* cell : cells) {
    floor.push_back(cell->ours.median_us / cell->floor.median_us);
    roof.push_back(cell->over_roof(peak_tflops));
    if (cell->cublas) cublas.push_back(*cell->over_cublas());
    if (cell->published_us) {
      published.push_back(*cell->over_published());
      plain.push_back(*cell->published_us / cell->ours.median_us);
    }
  }
  return {.m = m,
          .layers = static_cast<int>(cells.size()),
          .over_floor = geometric_mean(floor),
          .over_roof = geometric_mean(roof),
          .over_cublas = geometric_mean(cublas),
          .over_published = geometric_mean(published),
          .over_published_plain = geometric_mean(plain)};
}

}  // namespace

std::string layer_name(const std::string& layer, const Problem& problem) {
  return layer.empty() ? fmt::format("{}x{}", problem.shape.k, problem.shape.n) : layer;
}

double BenchCell::flops() const {
  return 2.0 * static_cast<double>(problem.shape.m) * static_cast<double>(problem.shape.n) *
         static_cast<double>(problem.shape.k);
}

double BenchCell::bytes() const {
  const auto m = static_cast<double>(problem.shape.m), n = static_cast<double>(problem.shape.n),
             k = static_cast<double>(problem.shape.k);
  const double groups = problem.scheme.group == -1 ? 1 : k / problem.scheme.group;
  return k * n / 2 + groups * n * 2 + m * k * 2 + m * n * 2;
}

double BenchCell::gb_per_s() const { return bytes() / ours.median_us / 1e3; }

double BenchCell::tflop_per_s() const { return flops() / ours.median_us / 1e6; }

double BenchCell::roof_us(double peak_tflops) const {
  const double compute_us = peak_tflops > 0 ? flops() / (peak_tflops * 1e6) : 0;
  return std::max(floor.median_us, compute_us);
}

std::optional<double> BenchCell::over_cublas() const {
  if (!cublas) return std::nullopt;
  return cublas->median_us / ours.median_us;
}

std::optional<double> BenchCell::published_scaled_us() const {
  if (!published_us || !published_floor_us) return std::nullopt;
  return *published_us * floor.median_us / *published_floor_us;
}

std::optional<double> BenchCell::over_published() const {
  const std::optional<double> scaled = published_scaled_us();
  if (!scaled) return std::nullopt;
  return *scaled / ours.median_us;
}

std::vector<BenchSummary> BenchReport::summaries() const {
  std::map<std::int64_t, std::vector<const BenchCell*>> by_m;
  for (const BenchCell& cell : cells) by_m[cell.problem.shape.m].push_back(&cell);
  std::vector<BenchSummary> result;
  result.reserve(by_m.size());
  for (const auto& [m, at_m] : by_m) result.push_back(summarise(m, at_m, peak_tflops));
  return result;
}

std::string BenchReport::text() const {
  std::vector<std::vector<std::string>> rows{
      {"layer", "K", "N", "M", "us", "GB/s", "TFLOP/s", "floor us", "time/roof", "cuBLAS us",
       "x cuBLAS", "published us", "x published", "MHz", "cuBLAS MHz", "config"}};
  for (const BenchCell& cell : cells) {
    rows.push_back({cell.layer, std::to_string(cell.problem.shape.k),
                    std::to_string(cell.problem.shape.n), std::to_string(cell.problem.shape.m),
                    number(cell.ours.median_us, 2), number(cell.gb_per_s(), 0),
                    number(cell.tflop_per_s(), 1), number(cell.floor.median_us, 2),
                    number(cell.over_roof(peak_tflops), 2), number(median_of(cell.cublas), 2),
                    number(cell.over_cublas(), 2), number(cell.published_scaled_us(), 2),
                    number(cell.over_published(), 2), mhz_text(cell.ours_mhz),
                    mhz_text(cell.cublas_mhz), cell.config});
  }
  std::vector<std::vector<std::string>> means{{"M", "layers", "time/floor", "time/roof", "x cuBLAS",
                                               "x published", "x published, unscaled"}};
  for (const BenchSummary& summary : summaries()) {
    means.push_back({std::to_string(summary.m), std::to_string(summary.layers),
                     mean_text(summary.over_floor), mean_text(summary.over_roof),
                     mean_text(summary.over_cublas), mean_text(summary.over_published),
                     mean_text(summary.over_published_plain)});
  }
  const std::string peak = peak_tflops > 0 ? fmt::format("{:.0f} TFLOP/s", peak_tflops) : "unknown";
  return fmt::format("{} ({}), peak {}, cuBLAS: {}\n{}\n\n{}\nGeometric means over the layers\n{}",
                     gpu, target, peak, cublas, protocol_text(chained, pace), table(rows),
                     table(means));
}

nlohmann::ordered_json BenchReport::json() const {
  nlohmann::ordered_json json = json_result("bench");
  json["gpu"] = gpu;
  json["target"] = target;
  json["chained"] = chained;
  json["pace"] = name_of(pace);
  json["protocol"] = protocol_text(chained, pace);
  json["peak_tflops"] = peak_tflops;
  json["cublas"] = cublas;
  if (!anchors_gpu.empty()) json["anchors_gpu"] = anchors_gpu;
  json["cells"] = nlohmann::ordered_json::array();
  for (const BenchCell& cell : cells) json["cells"].push_back(to_json(cell, peak_tflops));
  json["geometric_means"] = nlohmann::ordered_json::array();
  for (const BenchSummary& summary : summaries()) {
    json["geometric_means"].push_back(to_json(summary));
  }
  return json;
}

Plot BenchReport::plot() const {
  std::map<std::int64_t, std::vector<double>> ours, published, roof;
  for (const BenchCell& cell : cells) {
    if (!cell.cublas) continue;
    const std::int64_t m = cell.problem.shape.m;
    ours[m].push_back(*cell.over_cublas());
    roof[m].push_back(cell.cublas->median_us / cell.roof_us(peak_tflops));
    if (cell.published_us) {
      published[m].push_back(cell.cublas->median_us / *cell.published_scaled_us());
    }
  }
  Plot plot{.title = "Speed-up over cuBLAS FP16, " + gpu,
            .x_label = "M (tokens)",
            .y_label = "cuBLAS time / time, geometric mean over the layers",
            .series = {}};
  const auto add = [&](const char* name, const auto& by_m) {
    PlotSeries& series = plot.series.emplace_back();
    series.name = name;
    for (const auto& [m, ratios] : by_m) {
      series.points.emplace_back(static_cast<double>(m), geometric_mean(ratios));
    }
  };
  add("this compiler", ours);
  add("published Marlin", published);
  add("roof", roof);
  return plot;
}

}  // namespace marlin
