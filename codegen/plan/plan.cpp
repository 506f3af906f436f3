// Shape + Target + Config -> the integers of an emitted kernel that all families share.
// Entry points: start_plan, named_values.
#include "codegen/plan/plan.h"

#include <algorithm>
#include <tuple>

#include "codegen/base/integers.h"
#include "codegen/formats/elements.h"

namespace marlin {

namespace {

void set_tiles(Plan& plan) {
  const auto& [problem, config] = std::tie(plan.problem, plan.config);
  plan.tiles.m_tiles = ceil_div(problem.shape.m, config.tile_m);
  plan.tiles.n_tiles = static_cast<int>(problem.shape.n / config.tile_n);
  plan.tiles.k_tiles = static_cast<int>(problem.shape.k / config.tile_k());
  plan.tiles.rows = static_cast<int>(std::min<std::int64_t>(config.tile_m, problem.shape.m));
  plan.tiles.dynamic_m = !problem.shape.exact_m && problem.shape.m > 1;
  plan.tiles.guard_rows = plan.tiles.dynamic_m || problem.shape.m % plan.tiles.rows != 0;
  plan.scales.grouped = !one_group(problem);
}

void set_strides(Plan& plan) {
  const auto& [problem, config] = std::tie(plan.problem, plan.config);
  const int tile_k = config.tile_k(), warp_columns = config.tile_n / config.warps_n;
  GlobalMemory& global = plan.global;
  auto& packed = global.packed;
  packed.row = kPackedStepBytes * problem.shape.n;
  packed.k_tile = tile_k / kPackTileK * packed.row;
  packed.n_tile = std::int64_t{kPackedStepBytes} * config.tile_n;
  packed.column = problem.shape.k / kPackTileK * packed.row;
  packed.unit = config.warp_k / kPackTileK * packed.row;
  packed.warp_n = std::int64_t{kPackedStepBytes} * warp_columns;
  auto& activations = global.activations;
  activations.row = kHalfBytes * problem.shape.k;
  activations.k_tile = std::int64_t{kHalfBytes} * tile_k;
  activations.m_tile = config.tile_m * activations.row;
  activations.column = kHalfBytes * problem.shape.k;
  activations.warp_k = std::int64_t{kHalfBytes} * config.warp_k;
  auto& scales = global.scales;
  scales.row = kHalfBytes * problem.shape.n;
  scales.n_tile = std::int64_t{kHalfBytes} * config.tile_n;
  scales.warp_n = std::int64_t{kHalfBytes} * warp_columns;
  if (plan.scales.grouped) {
    scales.k_tile = tile_k / problem.scheme.group * scales.row;
    scales.column = problem.shape.k / problem.scheme.group * scales.row;
  }
  auto& output = global.output;
  output.row = kHalfBytes * problem.shape.n;
  output.n_tile = std::int64_t{kHalfBytes} * config.tile_n;
  output.m_tile = config.tile_m * output.row;
}

}  // namespace

Plan start_plan(const Problem& problem, const Target& target, const Config& config) {
  Plan plan;
  plan.problem = problem;
  plan.target = target;
  plan.config = config;
  plan.launch.threads = config.threads();
  plan.launch.parameters = {
      {Operand::a}, {Operand::b}, {Operand::scales}, {Operand::c}, {Operand::workspace}};
  set_tiles(plan);
  set_strides(plan);
  plan.tiles.k_steps = config.warp_k / kPackTileK;
  if (plan.scales.grouped) {
    plan.scales.rows = std::max(1, config.warp_k / problem.scheme.group);
    plan.scales.steps = plan.tiles.k_steps / plan.scales.rows;
  }
  return plan;
}

WarpTile warp_tile(const Plan& plan) {
  WarpTile warp;
  warp.columns = plan.config.tile_n / plan.config.warps_n;
  warp.blocks64 = warp.columns / kPackTileN;
  warp.n8_tiles = ceil_div(plan.tiles.rows, 8);
  return warp;
}

ActivationCopies activation_copies(int rows, int copiers, int row_bytes) {
  ActivationCopies copies;
  copies.copiers = copiers;
  copies.row_chunks = row_bytes / kChunkBytes;
  copies.pass_rows = std::max(1, copies.copiers / copies.row_chunks);
  copies.passes = ceil_div(rows, copies.pass_rows);
  copies.last_copiers = (rows - (copies.passes - 1) * copies.pass_rows) * copies.row_chunks;
  return copies;
}

std::vector<Reducer> even_reducers(int items, int blocks) {
  const auto first = [&](int rank) { return (rank * items + blocks - 1) / blocks; };
  std::vector<Reducer> reducers;
  reducers.reserve(blocks);
  for (int rank = 0; rank < blocks; ++rank) {
    reducers.push_back({first(rank), first(rank + 1) - first(rank)});
  }
  return reducers;
}

int most_of(const std::vector<Reducer>& reducers) {
  int most = 0;
  for (const Reducer& reducer : reducers) most = std::max(most, reducer.count);
  return most;
}

bool scales_accumulators(const Plan& plan) {
  return plan.scales.grouped && plan.config.scale_on == ScaleOn::accumulators;
}
bool scales_weights(const Plan& plan) {
  return plan.scales.grouped && plan.config.scale_on == ScaleOn::weights;
}

namespace {

// Prefixes the names of a part's fields with that of the part.
struct Lister {
  std::string prefix;
  std::vector<std::pair<std::string, std::int64_t>>& values;

  template <class Field>
  void operator()(const char* name, const Field& field) const {
    if constexpr (requires { Field::visit(field, *this); }) {
      Field::visit(field, Lister{prefix + name + ".", values});
    } else {
      values.emplace_back(prefix + name, static_cast<std::int64_t>(field));
    }
  }
};

}  // namespace

std::vector<std::pair<std::string, std::int64_t>> named_values(const Plan& plan) {
  std::vector<std::pair<std::string, std::int64_t>> values;
  Plan::visit(plan, Lister{"", values});
  return values;
}

}  // namespace marlin
