// Shape + Target -> legal configs -> plans, texts and estimates, by way of the families.
// Entry points: the functions of generator.h.
#include "codegen/generator.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <mutex>
#include <tuple>

#include "codegen/base/error.h"
#include "codegen/families/family.h"

namespace marlin {

namespace {

// Of all families, in their order.
std::vector<Config> proposed(const Problem& problem, const Target& target) {
  std::vector<Config> configs;
  for (const KernelFamily& family : families()) {
    const std::vector<Config> more = family.configs(problem, target);
    configs.insert(configs.end(), more.begin(), more.end());
  }
  return configs;
}

Plan lay_out(const Problem& problem, const Target& target, const Config& config) {
  return info(config.family()).lay_out(problem, target, config);
}

std::string entry_name(const Plan& plan) {
  const Problem& problem = plan.problem;
  return fmt::format("marlin_{}_{}x{}x{}_g{}", name_of(plan.config.family()), problem.shape.m,
                     problem.shape.n, problem.shape.k,
                     problem.scheme.group > 0 ? std::to_string(problem.scheme.group) : "all");
}

}  // namespace

int schema_of(Family family) { return info(family).schema; }

std::string searched_families() {
  std::string text;
  for (const Family family : kFamilies) {
    text += fmt::format("{}{}/{}", text.empty() ? "" : ",", name_of(family), schema_of(family));
  }
  return text;
}

std::optional<std::string> why_illegal(const Problem& problem, const Target& target,
                                       const Config& config) {
  if (auto rule = broken_rule(problem)) return rule;
  require_valid(target);
  if (auto rule = info(config.family()).why_illegal(problem, target, config)) return rule;
  if (!problem.batch_invariant) return std::nullopt;
  const SumOrder asked = invariant_order(problem, target);
  const auto order = sum_order(problem, target, config);
  if (order == asked) return std::nullopt;
  return fmt::format("it adds up K as '{}', batch-invariant kernels of this matrix as '{}'",
                     order ? to_string(*order) : "its tiles are", to_string(asked));
}

std::vector<Config> legal_configs(const Problem& problem, const Target& target) {
  require_valid(problem);
  require_valid(target);
  std::vector<Config> configs = proposed(problem, target);
  if (!problem.batch_invariant) return configs;
  const SumOrder order = invariant_order(problem, target);
  std::erase_if(configs,
                [&](const Config& config) { return sum_order(problem, target, config) != order; });
  return configs;
}

Plan make_plan(const Problem& problem, const Target& target, const Config& config) {
  if (auto rule = why_illegal(problem, target, config)) {
    require_valid(problem);
    throw Error(ErrorCode::invalid_config, fmt::format("config {}: {}", to_string(config), *rule));
  }
  Plan plan = lay_out(problem, target, config);
  plan.launch.entry = entry_name(plan);
  return plan;
}

std::string emit_source(const Plan& plan) { return info(plan.config.family()).emit_source(plan); }

double estimate_us(const Problem& problem, const Target& target, const GpuModel& gpu,
                   const Config& config, bool chained) {
  const Cost cost = info(config.family()).cost(lay_out(problem, target, config), gpu, chained);
  return cost.clocks() / gpu.clock_mhz;
}

int least_nvrtc(const Target& target, const Config& config) {
  // Blocks of a cluster that split K send their sums by st.async: PTX ISA 8.1, of CUDA 12.1.
  constexpr int kStAsync = 12010;
  const bool sends =
      config.partition.kind == Partition::Kind::cluster && config.partition.count > 1;
  return std::max(limits_of(target).least_nvrtc, sends ? kStAsync : 0);
}

namespace {

// The configs that this NVRTC compiles, the fastest by the estimate first.
std::vector<Estimate> ranked(const std::vector<Config>& configs, const Problem& problem,
                             const Target& target, const GpuModel& gpu, bool chained, int nvrtc) {
  // An architecture that the NVRTC does not know is another error than a config that it cannot
  // have.
  const int most = std::max(nvrtc, limits_of(target).least_nvrtc);
  std::vector<Estimate> ranked;
  for (const Config& config : configs) {
    if (nvrtc != 0 && least_nvrtc(target, config) > most) continue;
    ranked.push_back({config, estimate_us(problem, target, gpu, config, chained)});
  }
  if (ranked.empty()) {
    throw Error(
        ErrorCode::invalid_config,
        configs.empty()
            ? fmt::format("no config is legal for {} on {}", to_string(problem), to_string(target))
            : fmt::format("no config for {} on {} is for NVRTC {}.{}", to_string(problem),
                          to_string(target), most / 1000, most % 1000 / 10));
  }
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const Estimate& x, const Estimate& y) { return x.us < y.us; });
  return ranked;
}

// An order of summation and the sum of the logarithms of its best times.
struct OrderTime {
  SumOrder order;
  double log_us = 0;
  int rows = 0;  // for how many row counts it has a config
};

OrderTime& of_order(std::vector<OrderTime>& orders, const SumOrder& order) {
  const auto found = std::find_if(orders.begin(), orders.end(),
                                  [&](const OrderTime& one) { return one.order == order; });
  if (found != orders.end()) return *found;
  return orders.emplace_back(OrderTime{order});
}

}  // namespace

std::vector<Estimate> rank_configs(const Problem& problem, const Target& target,
                                   const GpuModel& gpu, bool chained, int nvrtc) {
  return ranked(legal_configs(problem, target), problem, target, gpu, chained, nvrtc);
}

std::optional<SumOrder> sum_order(const Problem& problem, const Target& target,
                                  const Config& config) {
  return info(config.family()).sum_order(lay_out(problem, target, config));
}

namespace {

SumOrder find_invariant_order(Problem problem, const Target& target) {
  constexpr std::array<std::int64_t, 9> kRows = {1, 8, 16, 32, 64, 128, 256, 2048, kMaxM};
  std::vector<OrderTime> orders;
  for (int i = 0; i < static_cast<int>(kRows.size()); ++i) {
    problem.shape.m = kRows.at(static_cast<std::size_t>(i));
    require_valid(problem);
    const auto best =
        ranked(proposed(problem, target), problem, target, gpu_model_of(target), false, 0);
    for (const Estimate& estimate : best) {
      const auto order = sum_order(problem, target, estimate.config);
      if (!order) continue;
      OrderTime& time = of_order(orders, *order);
      if (time.rows != i) continue;  // a faster one was first, or a row count has none
      time.log_us += std::log(estimate.us);
      ++time.rows;
    }
  }
  std::erase_if(orders,
                [&](const OrderTime& one) { return one.rows < static_cast<int>(kRows.size()); });
  if (orders.empty()) {
    throw Error(ErrorCode::invalid_config,
                fmt::format("no order of summation serves all row counts of {} on {}",
                            to_string(problem), to_string(target)));
  }
  // Of equal ones that with fewer parts of K.
  const auto before = [](const OrderTime& x, const OrderTime& y) {
    return std::tie(x.log_us, x.order.splits) < std::tie(y.log_us, y.order.splits);
  };
  return std::min_element(orders.begin(), orders.end(), before)->order;
}

}  // namespace

SumOrder invariant_order(const Problem& asked, const Target& target) {
  Problem problem = asked;
  problem.shape.m = 1;
  problem.shape.exact_m = false;
  problem.batch_invariant = true;
  require_valid(problem);
  require_valid(target);
  static std::mutex mutex;
  static std::map<std::string, SumOrder> known;
  const std::string key = to_string(problem) + to_string(problem.scheme) + to_string(target);
  const std::lock_guard lock(mutex);
  if (const auto found = known.find(key); found != known.end()) return found->second;
  return known.emplace(key, find_invariant_order(problem, target)).first->second;
}

}  // namespace marlin
