// Shape + Target -> the config that an estimate of its time ranks first. Entry point:
// choose_config.
#include "runtime/select.h"

#include "codegen/cost.h"

namespace marlin {

Config choose_config(const Shape& shape, const Target& target) {
  return rank_configs(shape, target, board_of(target)).front().config;
}

}  // namespace marlin
