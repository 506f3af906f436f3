// Shapes x targets -> a line of hashes each: of the text and the launch of every legal config, and
// of the order in which the cost model ranks them. What must not change a kernel must not change a
// line. Entry point: main.
//   oracle           prints the lines
//   oracle FILE      compares them with the file's; prints those that differ and exits 1
#include <fmt/format.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "codegen/generator.h"
#include "codegen/plan/config.h"
#include "codegen/plan/plan.h"
#include "tests/unit/problems.h"

namespace marlin {
namespace {

// FNV-1a, 64 bits; a length between texts keeps "ab", "c" apart from "a", "bc".
class Hash {
 public:
  void add(std::string_view text) {
    for (const unsigned char c : text) value_ = (value_ ^ c) * 0x100000001b3u;
    value_ = (value_ ^ text.size()) * 0x100000001b3u;
  }
  std::string str() const { return fmt::format("{:016x}", value_); }

 private:
  std::uint64_t value_ = 0xcbf29ce484222325u;
};

struct Machine {
  const char* arch;
  int sms;
};
constexpr Machine kMachines[] = {{"sm_80", 108}, {"sm_86", 84},   {"sm_87", 16},   {"sm_89", 142},
                                 {"sm_90", 132}, {"sm_90a", 132}, {"sm_100", 148}, {"sm_120", 170}};

// Layers of models, and small, odd and large ones; every group, rows from one to thousands.
std::vector<Problem> shapes() {
  std::vector<Problem> all;
  constexpr std::int64_t kLayers[][2] = {
      {4096, 4096}, {28672, 4096}, {8192, 28672}, {3584, 18944}, {10240, 8192}};
  for (const auto& [n, k] : kLayers) {
    for (const std::int64_t m : {1, 8, 16, 32, 64, 128, 384, 1024})
      all.push_back(problem_of(m, n, k, 128));
  }
  for (const int group : {32, 64, 128, -1}) {
    for (const std::int64_t m : {1, 4, 24, 48, 192, 512})
      all.push_back(problem_of(m, 768, 1024, group));
  }
  for (const std::int64_t m : {3, 13, 77, 300}) {
    all.push_back(problem_of(m, 576, 448, 64, true));
    all.push_back(problem_of(m, 64, 192, -1, true));
  }
  all.push_back(problem_of(8192, 6144, 4096, 128));
  all.push_back(problem_of(17, 320, 128, 128, true));
  all.push_back(problem_of(2, 192, 64, 64));
  all.push_back(problem_of(65536, 1024, 1024, -1));
  return all;
}

// Among the matrices that tensor maps are of.
int place_of(Operand operand) { return operand == Operand::a ? 0 : operand == Operand::b ? 1 : 2; }

std::string launch_text(const Plan& plan) {
  const Launch& launch = plan.launch;
  std::string text =
      fmt::format("{} {} {} {} {} {} {} {} {} {} {}", launch.entry, launch.threads, launch.grid_x,
                  launch.grid_y, launch.grid_z, launch.rows_on_x, launch.cooperative,
                  launch.shared_bytes, plan.workspace.bytes, launch.dependent, launch.cluster);
  for (const TensorBox& box : launch.tensor_maps) {
    text += fmt::format(" [{} {} {} {} {} {} {} {}]", place_of(box.of), box.element_bytes(),
                        box.columns, box.rows, box.row_bytes, box.box_columns, box.box_rows,
                        box.swizzled);
  }
  return text;
}

std::string rank_hash(const Problem& problem, const Target& target, bool chained) {
  Hash hash;
  for (const Estimate& estimate : rank_configs(problem, target, gpu_model_of(target), chained)) {
    hash.add(to_string(estimate.config));
  }
  return hash.str();
}

std::string line_of(const Problem& problem, const Target& target) {
  Hash texts, launches;
  const std::vector<Config> configs = legal_configs(problem, target);
  for (const Config& config : configs) {
    const Plan plan = make_plan(problem, target, config);
    texts.add(emit_source(plan));
    launches.add(launch_text(plan));
  }
  return fmt::format("{}, {}: {} configs, texts {}, launches {}, ranks {}, chained {}",
                     to_string(problem), to_string(target), configs.size(), texts.str(),
                     launches.str(), rank_hash(problem, target, false),
                     rank_hash(problem, target, true));
}

std::vector<std::string> all_lines() {
  std::vector<std::pair<Problem, Target>> problems;
  for (const Problem& problem : shapes()) {
    for (const Machine& machine : kMachines)
      problems.push_back({problem, {machine.arch, machine.sms}});
  }
  std::vector<std::string> lines(problems.size());
  std::atomic<std::size_t> next = 0;
  const auto work = [&] {
    for (std::size_t i; (i = next++) < problems.size();) {
      lines[i] = line_of(problems[i].first, problems[i].second);
    }
  };
  std::thread other(work);
  work();
  other.join();
  return lines;
}

int compare(const std::vector<std::string>& lines, const char* path) {
  std::ifstream file(path);
  if (!file) {
    fmt::print(stderr, "cannot read {}\n", path);
    return 2;
  }
  std::size_t at = 0, differ = 0;
  std::string expected;
  for (; std::getline(file, expected); ++at) {
    const std::string found = at < lines.size() ? lines[at] : "nothing";
    if (found == expected) continue;
    ++differ;
    fmt::print("expected {}\n   found {}\n", expected, found);
  }
  for (; at < lines.size(); ++at, ++differ) fmt::print("not in the file: {}\n", lines[at]);
  fmt::print("{} lines, {} differ\n", lines.size(), differ);
  return differ == 0 ? 0 : 1;
}

}  // namespace
}  // namespace marlin

int main(int argc, char** argv) {
  const std::vector<std::string> lines = marlin::all_lines();
  if (argc > 1) return marlin::compare(lines, argv[1]);
  for (const std::string& line : lines) std::cout << line << '\n';
}
