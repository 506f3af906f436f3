// Launches -> microseconds: CUDA graph, cold L2 by rotating weights, median of the replays.
// Entry points: Timer::time, Timer::screen, ReadFloor::measure.
#include "tuner/measure.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace marlin {
namespace {

constexpr double kColdBytes = 260e6;
constexpr double kReplayMicroseconds = 4000;
constexpr int kMostLaunches = 128;
// A GPU that idled this long has lowered its clocks, and needs work this long to raise them.
constexpr double kIdleSeconds = 0.02;
constexpr double kWakeSeconds = 0.05;

double now() {
  const auto time = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(time).count();
}

int round_up(int value, int multiple) { return (value + multiple - 1) / multiple * multiple; }

std::size_t stride_of(std::size_t bytes) { return (bytes + 511) / 512 * 512; }

}  // namespace

std::string_view protocol_text() {
  return "CUDA graph replay, median of 7 after a warm-up replay; weights and scales rotate over "
         ">= 260 MB of distinct buffers so that L2 is cold; random data; no programmatic dependent "
         "launch. cublas = FP16 GemmEx with FP32 accumulation, the faster of the NN and TN "
         "layouts, in the same run. floor = fastest plain read of the packed weights (N*K/2 "
         "bytes) in the same run. roof = max(floor, 2*M*N*K / peak).";
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  if (values.size() % 2 == 1) return values[middle];
  return (values[middle - 1] + values[middle]) / 2;
}

double geometric_mean(const std::vector<double>& values) {
  if (values.empty()) return 0;
  double sum = 0;
  for (double value : values) sum += std::log(value);
  return std::exp(sum / static_cast<double>(values.size()));
}

Timing summarise(const std::vector<double>& replay_us, int launches) {
  const auto [least, most] = std::minmax_element(replay_us.begin(), replay_us.end());
  return {.median_us = median(replay_us) / launches,
          .min_us = *least / launches,
          .max_us = *most / launches,
          .launches = launches,
          .replays = static_cast<int>(replay_us.size())};
}

int distinct_buffers(std::size_t bytes) {
  return std::max(1, static_cast<int>(std::ceil(kColdBytes / static_cast<double>(bytes))));
}

int launches_for(double launch_us, int distinct) {
  const double wanted = std::ceil(kReplayMicroseconds / std::max(launch_us, 1.0));
  return round_up(static_cast<int>(std::min<double>(wanted, kMostLaunches)), distinct);
}

Rotation::Rotation(std::size_t bytes, int count, const Fill& fill)
    : stride_(stride_of(bytes)), count_(count), buffer_(stride_ * static_cast<std::size_t>(count)) {
  fill(buffer_.address(), buffer_.bytes());
}

Timing Timer::time(int distinct, const Launch& launch, int replays) {
  const Timing estimate = screen(distinct, launch);
  return replay(launches_for(estimate.median_us, distinct), launch, replays);
}

Timing Timer::screen(int distinct, const Launch& launch) {
  launch(0);
  stream_.finish();
  return replay(round_up(4, distinct), launch, 1);
}

// The replays and the events between them are enqueued together, so that the GPU goes from one to
// the next without waiting for the host.
Timing Timer::replay(int launches, const Launch& launch, int replays) {
  const Graph graph(stream_, [&] {
    for (int i = 0; i < launches; ++i) launch(i);
  });
  wake(graph);
  std::vector<Event> events(static_cast<std::size_t>(replays) + 1);
  graph.launch(stream_);
  for (std::size_t i = 0; i < events.size(); ++i) {
    if (i > 0) graph.launch(stream_);
    events[i].record(stream_);
  }
  stream_.finish();
  last_busy_ = now();
  std::vector<double> replay_us;
  for (std::size_t i = 1; i < events.size(); ++i) {
    replay_us.push_back(events[i].microseconds_since(events[i - 1]));
  }
  return summarise(replay_us, launches);
}

void Timer::wake(const Graph& graph) {
  if (now() - last_busy_ < kIdleSeconds) return;
  const double begin = now();
  do {
    graph.launch(stream_);
    stream_.finish();
  } while (now() - begin < kWakeSeconds);
}

ReadFloor::ReadFloor(const Gpu& gpu)
    : sms_(gpu.target().sms),
      kernels_(gpu, "read_floor.cu", {"read_floor_4", "read_floor_8"}),
      sink_(sizeof(unsigned)) {}

Timing ReadFloor::measure(Timer& timer, const Rotation& data, std::size_t bytes) const {
  const std::uint64_t count = bytes / 16;
  const auto launch_with = [&](const char* entry, int blocks_per_sm) {
    return [&, entry, blocks_per_sm](int i) {
      kernels_.launch(entry, {.x = static_cast<unsigned>(sms_ * blocks_per_sm)}, timer.stream(),
                      data.address(i), count, sink_.address());
    };
  };
  Timing best{.median_us = 1e30};
  for (const char* entry : {"read_floor_4", "read_floor_8"}) {
    for (int blocks_per_sm : {1, 2, 4, 6, 8}) {
      const Timing timing = timer.time(data.count(), launch_with(entry, blocks_per_sm));
      if (timing.median_us < best.median_us) best = timing;
    }
  }
  return best;
}

}  // namespace marlin
