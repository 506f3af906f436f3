// Rows of a matrix -> the heights of tiles that cover them well.
#pragma once

#include <cstdint>
#include <vector>

#include "codegen/problem/shape.h"

namespace marlin {

// Rows of `tile_m` x (as many as it takes) tiles that the shape does not have.
std::int64_t rows_beyond(const Shape& shape, int tile_m);

// Heights in least..most, multiples of eight, ascending: of one, two, three ... tiles of nearly
// equal height that hold m rows. For exactly m rows instead the largest few that have fewer than
// eight rows too many (sixteen above 256), where any has.
std::vector<int> tile_heights(const Shape& shape, int least, int most);

}  // namespace marlin
