// Rows of cells -> columns of text. Entry point: table.
#include "tuner/report/table.h"

#include <fmt/format.h>

#include <algorithm>

namespace marlin {
namespace {

bool is_number(const std::string& cell) {
  return cell.find_first_not_of("0123456789.+-%") == std::string::npos &&
         cell.find_first_of("0123456789") != std::string::npos;
}

struct Column {
  std::size_t width = 0;
  bool numbers = true;
};

std::vector<Column> measure_columns(const std::vector<std::vector<std::string>>& rows) {
  std::vector<Column> columns;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    columns.resize(std::max(columns.size(), rows[r].size()));
    for (std::size_t c = 0; c < rows[r].size(); ++c) {
      columns[c].width = std::max(columns[c].width, rows[r][c].size());
      if (r > 0 && !rows[r][c].empty() && !is_number(rows[r][c])) columns[c].numbers = false;
    }
  }
  return columns;
}

}  // namespace

std::string table(const std::vector<std::vector<std::string>>& rows) {
  const std::vector<Column> columns = measure_columns(rows);
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t c = 0; c < row.size(); ++c) {
      if (c > 0) line += "  ";
      line += columns[c].numbers ? fmt::format("{:>{}}", row[c], columns[c].width)
                                 : fmt::format("{:<{}}", row[c], columns[c].width);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

}  // namespace marlin
