// Plan + its emitted text + random data -> product, error and counts of one simulated launch.
// Entry points: run_trial, product_of, first_fault.
#include "tests/simulator/trial.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <tuple>

namespace marlin::simulator {

namespace {

constexpr std::uint8_t kPoison = 0xff;  // NaN in FP16 and in FP32

template <typename Element>
Buffer buffer_of(const char* name, int number, const Element* data, std::int64_t size) {
  Buffer buffer(name, number, size * static_cast<std::int64_t>(sizeof(Element)), 16, 0);
  std::memcpy(buffer.bytes.data(), data, buffer.bytes.size());
  return buffer;
}

template <typename Element>
Buffer buffer_of(const char* name, int number, const std::vector<Element>& data) {
  return buffer_of(name, number, data.data(), static_cast<std::int64_t>(data.size()));
}

// What a test needs to know about one shape's data, for all rows; the product is slow to work out.
struct Data {
  std::vector<std::uint16_t> a;
  std::vector<std::uint32_t> words;
  std::vector<std::uint16_t> scales;
  std::vector<double> product;
};

Data make_data(const Problem& problem, unsigned seed, reference::Inputs inputs) {
  const reference::Operands operands = reference::make_operands(
      inputs, problem.shape.m, problem.shape.k, problem.shape.n, problem.scheme.group, seed);
  return {operands.a, reference::pack_codes(operands.weights),
          reference::permute_scales(operands.weights),
          reference::gemm(problem.shape.m, operands.a, operands.weights)};
}

const Data& data_for(const Problem& problem, unsigned seed, reference::Inputs inputs) {
  static std::optional<std::tuple<Problem, unsigned, reference::Inputs>> last;
  static Data data;
  const std::tuple wanted(problem, seed, inputs);
  if (last != wanted) {
    data = make_data(problem, seed, inputs);
    last = wanted;
  }
  return data;
}

// Of as many rows as C has.
double relative_error(const std::vector<std::uint16_t>& c, const std::vector<double>& product) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < c.size(); ++i) {
    const double off = reference::half_value(c[i]) - product[i];
    difference += off * off;
    norm += product[i] * product[i];
  }
  return std::sqrt(difference / norm);
}

void check_workspace(const Plan& plan, const Buffer& workspace) {
  const std::int64_t counters = plan.workspace.shared ? plan.workspace.partials_offset : 0;
  for (const int writes : workspace.writes) {
    if (writes > 1) throw std::runtime_error("partial sums are written twice");
  }
  for (std::int64_t i = 0; i < counters; ++i) {
    if (workspace.bytes[i] != 0) throw std::runtime_error("a counter is not back at zero");
  }
}

std::string uneven(const char* what, const std::vector<int>& counts, std::size_t from,
                   std::size_t to, int expected) {
  for (std::size_t i = from; i < to; ++i) {
    if (counts[i] != expected) {
      return fmt::format("{} {} is touched {} times, not {}", what, i, counts[i], expected);
    }
  }
  return "";
}

int bytes_of_store(const Plan& plan) {
  switch (plan.config.family()) {
    case Family::decode: return 4;
    case Family::wgmma: return 16;
    default: return 8;
  }
}

// Blocks that copy activations for one another.
int activation_sharers(const Plan& plan) {
  return plan.config.family() == Family::wgmma ? plan.config.wgmma().multicast : 1;
}

LaunchShape launch_of(const Plan& plan) {
  const Family family = plan.config.family();
  LaunchShape launch{plan.launch.grid_x, plan.launch.grid_y, plan.launch.grid_z,
                     plan.launch.threads, plan.launch.shared_bytes};
  launch.cluster = plan.launch.cluster;
  launch.group_warps = family == Family::wgmma    ? 4
                       : family == Family::decode ? plan.config.warps_n
                                                  : 1;
  launch.warpgroups_part = family == Family::wgmma;
  launch.all_at_once = family == Family::wgmma && plan.workspace.shared;
  launch.dependent = plan.launch.dependent;
  return launch;
}

void add_maps(const Plan& plan, Arguments& arguments) {
  for (const TensorBox& box : plan.launch.tensor_maps) {
    const std::int64_t rows = box.rows > 0 ? box.rows : arguments.m;
    switch (box.of) {
      case Operand::a: arguments.maps["activation_map"] = {arguments.a, box, rows}; break;
      case Operand::b: arguments.maps["packed_map"] = {arguments.b, box, rows}; break;
      case Operand::c: arguments.maps["output_map"] = {arguments.c, box, rows}; break;
      default: throw std::logic_error("a tensor map of an operand that has none");
    }
  }
}

// The operands of one launch and what it left there.
struct Launched {
  Buffer a, b, scales, c, workspace;
  BankCounts banks = {};

  std::vector<std::uint16_t> results() const {
    std::vector<std::uint16_t> halves(c.bytes.size() / 2);
    std::memcpy(halves.data(), c.bytes.data(), c.bytes.size());
    return halves;
  }
};

Launched launch(const Plan& plan, const std::string& source, const Data& data, int m,
                unsigned order_seed) {
  Launched one{buffer_of("a", 1, data.a.data(), m * plan.problem.shape.k),
               buffer_of("b", 2, data.words), buffer_of("scales", 3, data.scales),
               Buffer("c", 4, 2 * m * plan.problem.shape.n, bytes_of_store(plan), kPoison),
               Buffer("workspace", 5, plan.workspace.bytes, 16, kPoison)};
  if (plan.workspace.shared)
    std::fill_n(one.workspace.bytes.begin(), plan.workspace.partials_offset, 0);
  Arguments arguments{&one.a, &one.b, &one.scales, &one.c, &one.workspace, m, {}};
  add_maps(plan, arguments);
  one.banks = run(parse_kernel(source), launch_of(plan), arguments, order_seed);
  check_workspace(plan, one.workspace);
  return one;
}

// Where a warp has fewer than all four fragments of 64 columns, their words lie 16 bytes apart.
bool conflicts_known(const std::string& primitive) {
  return primitive == "ld_shared of 1" || primitive == "ld_shared of 2";
}

}  // namespace

Trial run_trial(const Plan& plan, const std::string& source, int m, unsigned data_seed,
                unsigned order_seed, reference::Inputs inputs) {
  const Data& data = data_for(plan.problem, data_seed, inputs);
  const Launched launched = launch(plan, source, data, m, order_seed);
  Trial trial;
  trial.banks = launched.banks;
  trial.c = launched.results();
  trial.error = relative_error(trial.c, data.product);
  trial.packed_reads = launched.b.reads;
  trial.activation_reads = launched.a.reads;
  trial.scale_reads = launched.scales.reads;
  trial.output_writes = launched.c.writes;
  return trial;
}

std::vector<std::uint16_t> product_of(const Plan& plan, const std::string& source,
                                      const reference::Operands& operands, int m,
                                      unsigned order_seed) {
  const Data data = {operands.a,
                     reference::pack_codes(operands.weights),
                     reference::permute_scales(operands.weights),
                     {}};
  return launch(plan, source, data, m, order_seed).results();
}

std::string first_fault(const Plan& plan, const Trial& trial, int m) {
  if (!(trial.error < 1e-3)) return fmt::format("relative error {}", trial.error);
  for (const auto& [primitive, count] : trial.banks) {
    if (count.extra != 0 && !conflicts_known(primitive)) {
      return fmt::format("{}: {} bank conflicts in {} accesses", primitive, count.extra,
                         count.accesses);
    }
  }
  // The wgmma family alone skips the rows of tiles beyond the true m, where a block has more than a
  // part of one tile to do.
  const bool skips = plan.config.family() == Family::wgmma && plan.wgmma().splits.count == 1;
  const int m_tiles =
      skips ? (m + plan.config.tile_m - 1) / plan.config.tile_m : plan.tiles.m_tiles;
  const auto whole = [](const std::vector<int>& counts) { return counts.size(); };
  std::string fault =
      uneven("packed chunk", trial.packed_reads, 0, whole(trial.packed_reads), m_tiles);
  if (fault.empty()) {
    fault = uneven("activation chunk", trial.activation_reads, 0, whole(trial.activation_reads),
                   plan.tiles.n_tiles / activation_sharers(plan));
  }
  if (fault.empty() && plan.scales.grouped) {
    const int warps_a_group = std::max(1, plan.problem.scheme.group / plan.config.warp_k);
    fault = uneven("scale chunk", trial.scale_reads, 0, whole(trial.scale_reads),
                   m_tiles * warps_a_group);
  }
  if (fault.empty()) {
    const int columns = bytes_of_store(plan) / 2;
    fault = uneven("output", trial.output_writes, 0,
                   static_cast<std::size_t>(m * plan.problem.shape.n / columns), 1);
  }
  return fault;
}

}  // namespace marlin::simulator
