// Plan: every integer an emitted kernel uses, by name. Shape + Target + Config -> Plan.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "codegen/config.h"
#include "codegen/shape.h"
#include "codegen/target.h"

namespace marlin {

struct Plan {
  Shape shape;
  Target target;
  Config config;

  // Launch.
  std::string entry;  // the kernel's extern "C" name
  int threads = 0;
  int grid_x = 0, grid_y = 0, grid_z = 0;
  int shared_bytes = 0;             // dynamic shared memory
  std::int64_t workspace_bytes = 0; // 0: the kernel takes a null workspace
};

// Throws Error{invalid_config} with the broken rule when the config is not legal.
Plan make_plan(const Shape& shape, const Target& target, const Config& config);

// Every integer of the plan as (name, value), in a fixed order, for dumps.
std::vector<std::pair<std::string, std::int64_t>> named_values(const Plan& plan);

}  // namespace marlin
