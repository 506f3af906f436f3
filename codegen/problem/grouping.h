// Grouping: how tiles are numbered.
#pragma once

namespace marlin {

enum class Grouping { dense };  // one product, one weight matrix

}  // namespace marlin
