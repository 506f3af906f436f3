// Problems by their numbers, as tests write them.
#pragma once

#include <cstdint>

#include "codegen/problem/problem.h"

namespace marlin {

inline Problem problem_of(std::int64_t m, std::int64_t n, std::int64_t k, int group = 128,
                          bool exact_m = false) {
  return {.shape = {.m = m, .n = n, .k = k, .exact_m = exact_m}, .scheme = {.group = group}};
}

}  // namespace marlin
