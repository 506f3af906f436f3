// A JSON file of measured kernels -> rows found by shape. Entry points: Anchors::load, find.
#include "tuner/report/anchors.h"

#include <fmt/format.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "codegen/base/error.h"

namespace marlin {
namespace {

double positive(const nlohmann::json& row, const char* field, std::size_t index) {
  const auto found = row.find(field);
  if (found == row.end() || !found->is_number() || !(found->get<double>() > 0) ||
      !std::isfinite(found->get<double>())) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("anchors: row {}: {} must be a positive number", index, field));
  }
  return found->get<double>();
}

AnchorRow parse_row(const nlohmann::json& row, std::size_t index) {
  if (!row.is_object()) {
    throw Error(ErrorCode::invalid_argument, fmt::format("anchors: row {} is no object", index));
  }
  AnchorRow parsed;
  if (row.contains("layer") && row["layer"].is_string()) parsed.layer = row["layer"];
  parsed.k = static_cast<std::int64_t>(positive(row, "K", index));
  parsed.n = static_cast<std::int64_t>(positive(row, "N", index));
  parsed.m = static_cast<std::int64_t>(positive(row, "M", index));
  parsed.floor_us = positive(row, "floor_us", index);
  parsed.orig_us = positive(row, "orig_us", index);
  if (row.contains("cublas_us")) parsed.cublas_us = positive(row, "cublas_us", index);
  return parsed;
}

}  // namespace

Anchors Anchors::parse(std::string_view text) {
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object() || !json.contains("rows") || !json["rows"].is_array()) {
    throw Error(ErrorCode::invalid_argument, "anchors: expected a JSON object with \"rows\"");
  }
  Anchors anchors;
  if (json.contains("gpu") && json["gpu"].is_string()) anchors.gpu_ = json["gpu"];
  for (const nlohmann::json& row : json["rows"]) {
    anchors.rows_.push_back(parse_row(row, anchors.rows_.size()));
  }
  return anchors;
}

Anchors Anchors::load(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file) throw Error(ErrorCode::io, fmt::format("cannot read the anchors in {}", path));
  return parse(text);
}

const AnchorRow* Anchors::find(std::int64_t m, std::int64_t n, std::int64_t k) const {
  for (const AnchorRow& row : rows_) {
    if (row.m == m && row.n == n && row.k == k) return &row;
  }
  return nullptr;
}

}  // namespace marlin
