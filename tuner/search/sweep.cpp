// Compiled configs of one layer and M -> a ranking by time. Entry point: sweep.
#include "tuner/search/sweep.h"

#include <algorithm>
#include <tuple>

namespace marlin {
std::vector<std::size_t> finalists(const std::vector<SweepEntry>& entries, const SweepRules& rules,
                                   const std::string& always) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (entries[i].error.empty() && entries[i].screen_us > 0) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(), [&](std::size_t x, std::size_t y) {
    return entries[x].screen_us < entries[y].screen_us;
  });
  std::vector<std::size_t> chosen;
  for (std::size_t place = 0; place < order.size(); ++place) {
    const SweepEntry& entry = entries[order[place]];
    const bool fast = entry.screen_us <= rules.within * entries[order[0]].screen_us;
    if ((place < rules.finals && fast) || entry.config == always) chosen.push_back(order[place]);
  }
  return chosen;
}

void rank(std::vector<SweepEntry>& entries) {
  const auto key = [](const SweepEntry& entry) {
    const int kind = !entry.error.empty() ? 3 : entry.timed() ? 0 : entry.screen_us > 0 ? 1 : 2;
    return std::make_tuple(kind, kind == 0 ? entry.timing.median_us : entry.screen_us);
  };
  std::stable_sort(entries.begin(), entries.end(),
                   [&](const SweepEntry& x, const SweepEntry& y) { return key(x) < key(y); });
}

std::vector<SweepEntry> sweep(LayerBench& bench, CompileQueue& queue, std::size_t first,
                              std::size_t count, std::int64_t m, const std::string& chosen,
                              const SweepRules& rules, bool (*stop)()) {
  std::vector<SweepEntry> entries;
  for (std::size_t i = 0; i < count; ++i) {
    if (stop()) break;
    const CompileResult& compiled = queue.wait(first + i);
    SweepEntry& entry = entries.emplace_back();
    entry.config = queue.job(first + i).config;
    entry.error = compiled.error;
    if (!compiled.kernel) continue;
    entry.error = attempt(bench, entry.config,
                          [&] { entry.screen_us = bench.screen(*compiled.kernel, m).median_us; });
  }
  for (std::size_t index : finalists(entries, rules, chosen)) {
    if (stop()) break;
    SweepEntry& entry = entries[index];
    entry.error = attempt(bench, entry.config,
                          [&] { entry.timing = bench.time(*queue.wait(first + index).kernel, m); });
  }
  rank(entries);
  return entries;
}

}  // namespace marlin
