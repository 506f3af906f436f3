// Problem -> the rule it breaks, or the problem its kernel is written for.
// Entry points: broken_rule, kernel_problem.
#include "codegen/problem/problem.h"

#include <fmt/format.h>

#include <algorithm>

#include "codegen/base/error.h"

namespace marlin {

std::optional<std::string> broken_rule(const Problem& problem) {
  if (auto rule = broken_rule(problem.shape)) return rule;
  const int group = problem.scheme.group;
  const auto& all = schemes();
  if (std::find(all.begin(), all.end(), problem.scheme) == all.end()) {
    return fmt::format("group = {} is none of 32, 64, 128, -1 (one scale for the whole k)", group);
  }
  if (group > 0 && problem.shape.k % group != 0) {
    return fmt::format("k = {} is not a multiple of the group, {}", problem.shape.k, group);
  }
  return std::nullopt;
}

void require_valid(const Problem& problem) {
  if (auto rule = broken_rule(problem)) throw Error(ErrorCode::invalid_shape, *rule);
}

bool one_group(const Problem& problem) {
  return problem.scheme.group < 0 || problem.scheme.group == problem.shape.k;
}

Problem kernel_problem(Problem problem) {
  Shape& shape = problem.shape;
  if (!shape.exact_m && shape.m >= 1 && shape.m <= kMaxM) shape.m = rung_for(shape.m);
  if (shape.a_stride == shape.k) shape.a_stride = 0;
  if (shape.c_stride == shape.n) shape.c_stride = 0;
  return problem;
}

std::string to_string(const Problem& problem) {
  const Shape& shape = problem.shape;
  std::string text = fmt::format("{} g{}{}", to_string(shape), problem.scheme.group,
                                 shape.exact_m ? " exact" : "");
  if (shape.a_stride != 0) text += fmt::format(" a{}", shape.a_stride);
  if (shape.c_stride != 0) text += fmt::format(" c{}", shape.c_stride);
  if (problem.batch_invariant) text += " batch-invariant";
  return text;
}

}  // namespace marlin
