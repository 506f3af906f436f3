// A TuneDevice whose true times are known: every config's is the cost model's estimate times a
// factor drawn by a hash, and a measurement adds noise drawn by another, so that it is the same
// whenever it is made.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "codegen/generator.h"
#include "tuner/search/search.h"

namespace marlin {

class Killed : public std::exception {};

class SimulatedDevice : public TuneDevice {
 public:
  Target target{"sm_90a", 132};
  double spread = 0.3;     // of the true times about the estimates
  double trial_noise = 0;  // relative
  double race_noise = 0;
  std::function<bool(const Config&)> fails = [](const Config&) { return false; };
  std::set<std::string>
      kills_race;            // configs: the first race that they run in dies, then they fail
  int operations_left = -1;  // throws Killed after so many; -1: never
  bool out_of_memory = false;

  std::map<std::string, int> tried;  // "shape config" -> trials
  int races = 0;

  double true_us(const Problem& problem, const Config& config) const {
    const double estimate = estimate_us(problem, target, gpu_model_of(target), config);
    return estimate * (1 + spread * draw(name(problem, config) + " true"));
  }

  Trial try_out(const Problem& problem, const Config& config) override {
    count_operation();
    if (out_of_memory) throw DeviceFailure("out of memory");
    ++tried[name(problem, config)];
    Trial trial;
    if (fails(config) || dead_.count(to_string(config)) > 0) {
      trial.failure = "relative error 0.5";
      return trial;
    }
    const double noise = trial_noise * draw(name(problem, config) + " trial");
    trial.timing.median_us = true_us(problem, config) * (1 + noise);
    trial.timing.min_us = trial.timing.max_us = trial.timing.median_us;
    return trial;
  }

  std::optional<std::vector<RaceTiming>> race(const Problem& problem,
                                              const std::vector<Config>& configs,
                                              int rounds) override {
    count_operation();
    ++races;
    std::vector<RaceTiming> times;
    for (const Config& config : configs) {
      if (kills_race.count(to_string(config)) > 0) {
        dead_.insert(to_string(config));
        return std::nullopt;
      }
      RaceTiming& lane = times.emplace_back();
      for (int round = 0; round < rounds; ++round) {
        const double noise = race_noise * draw(name(problem, config) + std::to_string(round));
        lane.round_us.push_back(true_us(problem, config) * (1 + noise));
      }
      lane.timing = summarise(lane.round_us, 1);
    }
    return times;
  }

 private:
  static std::string name(const Problem& problem, const Config& config) {
    return to_string(problem) + " " + to_string(config);
  }

  // In -1..1, by FNV-1a and a mixing step.
  static double draw(const std::string& text) {
    std::uint64_t hash = 0xcbf29ce484222325u;
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
    hash = (hash ^ (hash >> 32)) * 0x9e3779b97f4a7c15u;
    return double(hash >> 11) / double(std::uint64_t{1} << 52) - 1;
  }

  void count_operation() {
    if (operations_left == 0) throw Killed();
    if (operations_left > 0) --operations_left;
  }

  std::set<std::string> dead_;
};

}  // namespace marlin
