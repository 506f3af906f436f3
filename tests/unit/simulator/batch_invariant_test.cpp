// Kernels of one order of summation, run on the CPU by tests/simulator: a row has the same bits for
// every m and beside any other rows. Entry point: the tests of suite BatchInvariant.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "codegen/generator.h"
#include "tests/reference/model.h"
#include "tests/simulator/trial.h"
#include "tests/unit/problems.h"

namespace marlin {

static std::ostream& operator<<(std::ostream& out, const Problem& problem) {
  return out << to_string(problem);
}

namespace {

using Row = std::vector<std::uint16_t>;
using reference::Operands;

constexpr std::int64_t kMostRows = 70;

Row row_of(const std::vector<std::uint16_t>& matrix, std::int64_t row, std::int64_t columns) {
  return {matrix.begin() + row * columns, matrix.begin() + (row + 1) * columns};
}

// The rows of A in another order: rotated, so that each has other neighbours and another place in
// its tile.
Operands rotated(const Operands& operands, std::int64_t rows, std::int64_t by) {
  const std::int64_t k = operands.weights.k;
  Operands out = operands;
  for (std::int64_t row = 0; row < rows; ++row) {
    const Row from = row_of(operands.a, (row + by) % rows, k);
    std::copy(from.begin(), from.end(), out.a.begin() + row * k);
  }
  return out;
}

// The second half of K takes away what the first one brings, in another order: what is left of the
// sums is how they were rounded, and hardly any two orders leave the same.
Operands operands_of(const Problem& problem) {
  constexpr std::int64_t kTurned = 32;  // k that change places with each other, all of one group
  const std::int64_t k = problem.shape.k, n = problem.shape.n;
  Operands out =
      reference::make_operands(reference::Inputs::random, kMostRows, k, n, problem.scheme.group, 7);
  for (std::uint16_t& half : out.a)
    half = reference::nearest_half(256 * reference::half_value(half));
  std::vector<std::uint16_t>& scales = out.weights.scales;
  for (std::uint16_t& half : scales)
    half = reference::nearest_half(8 * reference::half_value(half));
  const auto middle = static_cast<std::int64_t>(scales.size()) / n / 2 * n;
  if (problem.scheme.group > 0) {
    std::copy(scales.begin(), scales.begin() + middle, scales.begin() + middle);
  }
  for (std::int64_t to = k / 2; to < k; ++to) {
    const std::int64_t at = to - k / 2, from = at / kTurned * kTurned + kTurned - 1 - at % kTurned;
    for (std::int64_t column = 0; column < n; ++column) {
      out.weights.codes[to * n + column] = out.weights.codes[from * n + column];
    }
    for (std::int64_t row = 0; row < kMostRows; ++row) {
      out.a[row * k + to] = out.a[row * k + from] ^ 0x8000;
    }
  }
  return out;
}

std::vector<std::uint16_t> run(const Problem& problem, const Target& target, const Config& config,
                               const Operands& operands, std::int64_t m) {
  const Plan plan = make_plan(problem, target, config);
  return simulator::product_of(plan, emit_source(plan), operands, static_cast<int>(m), 1);
}

// The kernel that a batch of m rows has.
std::vector<std::uint16_t> chosen(Problem problem, const Target& target, const Operands& operands,
                                  std::int64_t m) {
  problem.shape.m = m;
  problem = kernel_problem(problem);
  const GpuModel gpu = gpu_model_of(target);
  return run(problem, target, rank_configs(problem, target, gpu).front().config, operands, m);
}

struct Case {
  Problem problem;
  Target target;

  friend std::ostream& operator<<(std::ostream& out, const Case& one) {
    return out << one.problem << ", " << to_string(one.target);
  }
};

Case case_of(std::int64_t n, std::int64_t k, int group, const char* arch, int sms) {
  Problem problem = problem_of(1, n, k, group);
  problem.batch_invariant = true;
  return {problem, {arch, sms}};
}

class BatchInvariant : public testing::TestWithParam<Case> {};

TEST_P(BatchInvariant, ARowHasTheSameBitsInEveryBatch) {
  const auto& [problem, target] = GetParam();
  const std::int64_t n = problem.shape.n;
  const Operands operands = operands_of(problem);
  const std::vector<std::uint16_t> expected = chosen(problem, target, operands, kMostRows);
  for (const std::int64_t m :
       {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 24, 25, 31, 33, 40, 48, 63, 64}) {
    const auto batch = chosen(problem, target, operands, m);
    const std::int64_t by = m / 2 + 1;
    const auto others = chosen(problem, target, rotated(operands, kMostRows, by), m);
    for (std::int64_t row = 0; row < m; ++row) {
      ASSERT_EQ(row_of(batch, row, n), row_of(expected, row, n)) << "m " << m << " row " << row;
      ASSERT_EQ(row_of(others, row, n), row_of(expected, (row + by) % kMostRows, n))
          << "m " << m << " row " << row << " beside other rows";
    }
  }
}

// Evenly drawn, at most so many.
template <typename T>
std::vector<T> some_of(const std::vector<T>& all, std::size_t most) {
  if (all.size() <= most) return all;
  std::vector<T> some;
  for (std::size_t i = 0; i < most; ++i) some.push_back(all[i * all.size() / most]);
  return some;
}

// What configs can be had, by their order.
std::map<std::string, std::vector<Config>> by_order(const Problem& problem, const Target& target) {
  std::map<std::string, std::vector<Config>> orders;
  for (const Config& config : legal_configs(problem, target)) {
    if (const auto order = sum_order(problem, target, config)) {
      orders[to_string(*order)].push_back(config);
    }
  }
  return orders;
}

// Of all configs that are proposed for some m, and not of those of the layer's order alone.
TEST_P(BatchInvariant, ConfigsOfOneOrderGiveTheSameBitsAndThoseOfOthersDoNot) {
  constexpr std::size_t kConfigs = 5;  // of each order
  const auto& [invariant, target] = GetParam();
  const Operands operands = operands_of(invariant);
  std::map<std::string, Row> bits;
  for (const std::int64_t m : {8, 40}) {
    const Problem problem =
        problem_of(m, invariant.shape.n, invariant.shape.k, invariant.scheme.group);
    for (const auto& [order, configs] : by_order(problem, target)) {
      for (const Config& config : some_of(configs, kConfigs)) {
        const auto c = run(problem, target, config, operands, m);
        const Row rows(c.begin(), c.begin() + 8 * problem.shape.n);
        EXPECT_EQ(rows, bits.emplace(order, rows).first->second)
            << order << ": " << to_string(config);
      }
    }
  }
  for (const auto& [order, rows] : bits) {
    for (const auto& [other, others] : bits) {
      // The simulator's products of both families are the same.
      if (order >= other || order.substr(0, 5) != other.substr(0, 5)) continue;
      EXPECT_NE(rows, others) << order << " and " << other;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    SmallLayers, BatchInvariant,
    testing::Values(case_of(256, 512, 128, "sm_90a", 4), case_of(128, 512, 64, "sm_90a", 3),
                    case_of(192, 320, 32, "sm_90a", 5), case_of(128, 384, -1, "sm_90a", 2),
                    case_of(128, 512, 128, "sm_80", 3), case_of(64, 320, -1, "sm_89", 2)));

// Blocks that exchange sums through L2 add up two parts as those of a cluster do, in either order.
TEST(BatchInvariantParts, TwoOfAClusterAndTwoThatMeetInL2AreOneOrder) {
  const Target target{"sm_90a", 8};
  const Problem problem = problem_of(16, 256, 640);
  const Operands operands = operands_of(problem);
  const Config whole = parse_config("wgmma m16 n128 w4x1 k64 s3 accumulators split1 b1");
  const Config cluster = parse_config("wgmma m16 n128 w4x1 k64 s3 accumulators cluster2 b1");
  const Config split = parse_config("wgmma m16 n128 w8x1 k128 s2 accumulators split2 b1");
  const Config same = parse_config("wgmma m16 n128 w8x1 k64 s2 accumulators split2 b1");
  for (const Config& config : {whole, cluster, split, same}) {
    ASSERT_EQ(why_illegal(problem, target, config), std::nullopt) << to_string(config);
  }
  EXPECT_EQ(sum_order(problem, target, cluster), sum_order(problem, target, same));
  EXPECT_NE(sum_order(problem, target, cluster), sum_order(problem, target, split));
  const auto c = run(problem, target, cluster, operands, 16);
  EXPECT_EQ(c, run(problem, target, same, operands, 16));
  EXPECT_NE(c, run(problem, target, whole, operands, 16));
}

}  // namespace
}  // namespace marlin
