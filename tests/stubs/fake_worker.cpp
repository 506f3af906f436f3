// A worker whose device does as the config says: what is 256 columns wide crashes, 128 hangs, and
// a group of the whole k finds no memory. Its times are the tile's rows in microseconds.
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "tuner/search/tune_bench.h"
#include "tuner/search/tune_worker.h"

namespace {

class FakeDevice : public marlin::TuneDevice {
 public:
  marlin::Trial try_out(const marlin::Problem& problem, const marlin::Config& config) override {
    if (problem.scheme.group == -1) throw marlin::DeviceFailure("out of memory");
    if (config.tile_n == 256) std::abort();
    if (config.tile_n == 128) pause();
    marlin::Trial trial;
    trial.timing = timing(config);
    if (config.stages == 2) trial.failure = "relative error 0.5";
    return trial;
  }

  std::optional<std::vector<marlin::RaceTiming>> race(const marlin::Problem&,
                                                      const std::vector<marlin::Config>& configs,
                                                      int rounds) override {
    std::vector<marlin::RaceTiming> lanes;
    for (const marlin::Config& config : configs) {
      if (config.stages == 4) throw marlin::DeviceLost("illegal address");
      const std::vector<double> round_us(static_cast<std::size_t>(rounds), config.tile_m);
      lanes.push_back({timing(config), round_us});
    }
    return lanes;
  }

 private:
  static marlin::Timing timing(const marlin::Config& config) {
    const double us = config.tile_m;
    return {us, us, us, 4, 1};
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "--refuse") == 0) return 3;
  FakeDevice device;
  marlin::serve(device, {"NVIDIA Fake", {"sm_80", 108}, 13000}, 0, 1);
  return 0;
}
