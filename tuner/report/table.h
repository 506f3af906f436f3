// Rows of cells -> a table as text.
#pragma once

#include <string>
#include <vector>

namespace marlin {

// Rows of text in columns two blanks apart; the first row is the head. Columns whose cells below
// the head are all numbers are aligned right.
std::string table(const std::vector<std::vector<std::string>>& rows);

}  // namespace marlin
