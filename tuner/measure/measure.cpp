// Launches -> microseconds: CUDA graph, cold L2 by rotating weights, median of the replays.
// Entry points: Timer::time, Timer::screen, Timer::race, Timer::pace, ReadFloor::measure.
#include "tuner/measure/measure.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <thread>

#include "tuner/measure/clock.h"

namespace marlin {
namespace {

constexpr double kColdBytes = 260e6;
// How long a replay takes, and the launches of fast kernels that are held to be enough.
struct Window {
  double us;
  int most_launches;
};
constexpr Window kReplay{.us = 4000, .most_launches = 128};
// Shorter, as many contestants take turns; yet long beside the time a busy processor takes to
// enqueue it, also for the fastest kernels.
constexpr Window kRaceReplay{.us = 1500, .most_launches = 512};
constexpr double kMostRaceWindows = 8;
constexpr double kLongLaunchMicroseconds = 1000;
constexpr double kFinishSeconds = 30;
// A GPU that idled this long has lowered its clocks, and needs work this long to raise them.
constexpr double kIdleSeconds = 0.02;
constexpr double kWakeSeconds = 0.05;
constexpr std::chrono::milliseconds kBurstIdle{50};
constexpr double kHeatSeconds = 0.5;

constexpr std::array<const char*, 2> kReaders = {"read_floor_4", "read_floor_8"};
constexpr std::array<const char*, 2> kChainedReaders = {"chained_read_floor_4",
                                                        "chained_read_floor_8"};
// The word that is hardly ever written, and, as far behind, the one that chained reads wait for.
constexpr std::size_t kSinkBytes = 256;

std::vector<std::string> entries_for(const Target& target) {
  std::vector<std::string> entries(kReaders.begin(), kReaders.end());
  if (can_chain(target)) {
    entries.insert(entries.end(), kChainedReaders.begin(), kChainedReaders.end());
  }
  return entries;
}

int round_up(int value, int multiple) { return (value + multiple - 1) / multiple * multiple; }

std::size_t stride_of(std::size_t bytes) { return (bytes + 511) / 512 * 512; }

int launches_within(const Window& window, double launch_us, int distinct) {
  const double wanted = std::ceil(window.us / std::max(launch_us, 1.0));
  if (launch_us >= kLongLaunchMicroseconds) return static_cast<int>(wanted);
  return round_up(static_cast<int>(std::min<double>(wanted, window.most_launches)), distinct);
}

// Each contestant's times between the events, which follow the orders; one event comes before all.
std::vector<RaceTiming> timings_of(const std::vector<Event>& events,
                                   const std::vector<std::vector<int>>& orders,
                                   const std::vector<int>& launches) {
  std::vector<std::vector<double>> replay_us(launches.size());
  std::size_t event = 0;
  for (const std::vector<int>& order : orders) {
    for (const int contestant : order) {
      const double us = events[event + 1].microseconds_since(events[event]);
      replay_us[static_cast<std::size_t>(contestant)].push_back(us);
      ++event;
    }
  }
  std::vector<RaceTiming> timings(launches.size());
  for (std::size_t i = 0; i < timings.size(); ++i) {
    timings[i].timing = summarise(replay_us[i], launches[i]);
    for (const double us : replay_us[i]) timings[i].round_us.push_back(us / launches[i]);
  }
  return timings;
}

std::string paces_text(Pace pace) {
  switch (pace) {
    case Pace::burst:
      return "CUDA graph replay of 4 ms after 50 ms without work and a warm-up replay, in turns "
             "with both layouts of cuBLAS; median over the rounds; ";
    case Pace::sustained:
      return "CUDA graph replays of 4 ms without a pause, in turns with both layouts of cuBLAS, "
             "after half a second of the same; median over the rounds; ";
    default: return "CUDA graph replay, median of 7 after a warm-up replay; ";
  }
}

// What is launched, and how, in either protocol.
std::string operands_text(bool chained) {
  return fmt::format(
      "weights and scales rotate over >= 260 MB of distinct buffers so that L2 is cold (but for "
      "launches of 1 ms or more, which hardly depend on it); random data; {}.",
      chained ? "chained by programmatic dependent launch: a kernel that can do so requests its "
                "weights before the previous launch is done"
              : "no programmatic dependent launch");
}

}  // namespace

std::string_view name_of(Pace pace) {
  constexpr std::array<std::string_view, 3> kNames = {"plain", "burst", "sustained"};
  return kNames.at(static_cast<std::size_t>(pace));
}

std::string protocol_text(bool chained, Pace pace) {
  std::string text = paces_text(pace) + operands_text(chained);
  if (!chained) {
    text +=
        " cublas = FP16 GemmEx with FP32 accumulation, the faster of the NN and TN layouts, in the "
        "same run.";
  }
  return text + fmt::format(
                    " floor = fastest plain read of the packed weights (N*K/2 bytes) in the same "
                    "run{}. roof = max(floor, 2*M*N*K / peak).",
                    chained ? ", chained as well" : "");
}

std::string race_protocol_text(bool chained) {
  return "race: each kernel has a CUDA graph of as many launches, 1.5 ms of the fastest; after a "
         "warm-up replay of each, every round replays each graph once, in mirrored and rotated "
         "orders; median over the rounds, ratios paired by round; " +
         operands_text(chained);
}

bool can_chain(const Target& target) { return limits_of(target).compute_capability >= 90; }

void require_can_chain(const Target& target) {
  if (can_chain(target)) return;
  throw Error(ErrorCode::invalid_target,
              fmt::format("{} has no programmatic dependent launch: chained launches need sm_90 or "
                          "newer",
                          target.arch));
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
  return launches_within(kReplay, launch_us, distinct);
}

std::vector<int> race_launches(const std::vector<double>& launch_us, int distinct) {
  if (launch_us.empty()) return {};
  const double fastest = *std::min_element(launch_us.begin(), launch_us.end());
  const int common = launches_within(kRaceReplay, fastest, distinct);
  const double longest_us = kMostRaceWindows * std::max(common * fastest, kRaceReplay.us);
  std::vector<int> launches;
  for (const double us : launch_us) {
    const bool holds_up = common * us > longest_us;
    launches.push_back(holds_up ? launches_within(kRaceReplay, us, distinct) : common);
  }
  return launches;
}

// The zigzag 0, count - 1, 1, count - 2, ... and its mirror image have every difference between
// neighbours twice, so all their shifts have every pair of neighbours twice.
std::vector<std::vector<int>> race_orders(int count, int rounds) {
  std::vector<std::vector<int>> orders;
  for (int round = 0; round < rounds; ++round) {
    std::vector<int> order;
    for (int place = 0; place < count; ++place) {
      const int zigzag = place % 2 == 0 ? place / 2 : count - (place + 1) / 2;
      order.push_back((zigzag + round / 2) % count);
    }
    if (round % 2 == 1) std::reverse(order.begin(), order.end());
    orders.push_back(std::move(order));
  }
  return orders;
}

double paired_ratio(const RaceTiming& one, const RaceTiming& other) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < one.round_us.size(); ++i) {
    ratios.push_back(one.round_us[i] / other.round_us[i]);
  }
  return median(std::move(ratios));
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
  // A launch may seem long because the GPU slept or the processor was busy, so that is asked twice.
  if (once_us(launch) >= kLongLaunchMicroseconds) {
    const Timing alone = replay(1, launch, 1);
    if (alone.median_us >= kLongLaunchMicroseconds) return alone;
  }
  return replay(round_up(4, distinct), launch, 1);
}

double Timer::once_us(const Launch& launch) {
  const Event begin, end;
  begin.record(stream_);
  launch(0);
  end.record(stream_);
  stream_.finish();
  return end.microseconds_since(begin);
}

Graph Timer::capture(int launches, const Launch& launch) const {
  return {stream_, [&] {
            for (int i = 0; i < launches; ++i) launch(i);
          }};
}

// The replays and the events between them are enqueued together, so that the GPU goes from one to
// the next without waiting for the host.
Timing Timer::replay(int launches, const Launch& launch, int replays) {
  const Graph graph = capture(launches, launch);
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

std::vector<RaceTiming> Timer::race(int distinct, const std::vector<Launch>& contestants,
                                    int rounds) {
  if (contestants.empty()) return {};
  std::vector<double> launch_us;
  launch_us.reserve(contestants.size());
  for (const Launch& launch : contestants) launch_us.push_back(screen(distinct, launch).median_us);
  const std::vector<int> launches = race_launches(launch_us, distinct);
  std::vector<Graph> graphs;
  double round_us = 0;
  for (std::size_t i = 0; i < contestants.size(); ++i) {
    graphs.push_back(capture(launches[i], contestants[i]));
    round_us += launches[i] * launch_us[i];
  }
  const std::vector<std::vector<int>> orders = race_orders(static_cast<int>(graphs.size()), rounds);
  std::vector<Event> events(1 + graphs.size() * orders.size());
  wake(graphs.front());
  for (const Graph& graph : graphs) graph.launch(stream_);
  auto event = events.begin();
  event->record(stream_);
  for (const std::vector<int>& order : orders) {
    for (const int contestant : order) {
      graphs[static_cast<std::size_t>(contestant)].launch(stream_);
      (++event)->record(stream_);
    }
  }
  stream_.finish(kFinishSeconds + 4 * (rounds + 1) * round_us / 1e6);
  last_busy_ = now();
  return timings_of(events, orders, launches);
}

void Timer::heat(const std::vector<Graph>& graphs) const {
  const double begin = now();
  do {
    for (const Graph& graph : graphs) graph.launch(stream_);
    stream_.finish();
  } while (now() - begin < kHeatSeconds);
}

std::vector<PacedTiming> Timer::pace(Pace pace, const std::vector<Contestant>& contestants,
                                     int rounds, const std::function<void(int)>& read_clocks) {
  std::vector<Graph> graphs;
  std::vector<int> launches;
  for (const Contestant& contestant : contestants) {
    const double us = screen(contestant.distinct, contestant.launch).median_us;
    launches.push_back(launches_for(us, contestant.distinct));
    graphs.push_back(capture(launches.back(), contestant.launch));
  }
  if (pace == Pace::sustained) heat(graphs);
  std::vector<PacedTiming> timings(contestants.size());
  std::vector<std::vector<double>> replay_us(contestants.size());
  int reading = 0;
  for (const std::vector<int>& order : race_orders(static_cast<int>(graphs.size()), rounds)) {
    for (const int which : order) {
      const auto i = static_cast<std::size_t>(which);
      const Event begin, end;
      if (pace == Pace::burst) std::this_thread::sleep_for(kBurstIdle);
      graphs[i].launch(stream_);
      read_clocks(reading);
      begin.record(stream_);
      graphs[i].launch(stream_);
      end.record(stream_);
      read_clocks(reading + 1);
      stream_.finish();
      replay_us[i].push_back(end.microseconds_since(begin));
      timings[i].readings.push_back(reading);
      reading += 2;
    }
  }
  last_busy_ = now();
  for (std::size_t i = 0; i < timings.size(); ++i) {
    timings[i].timing = summarise(replay_us[i], launches[i]);
  }
  return timings;
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
      kernels_(gpu, "read_floor.cu", entries_for(gpu.target())),
      sink_(kSinkBytes) {
  check(driver().cuMemsetD8(sink_.address(), 0, sink_.bytes()), "cuMemsetD8");
}

void ReadFloor::launch(const Reader& reader, const Stream& stream, CUdeviceptr data,
                       std::size_t bytes) const {
  const KernelFile::Grid grid{.x = static_cast<unsigned>(sms_ * reader.blocks_per_sm),
                              .dependent = reader.chained};
  const std::uint64_t count = bytes / 16;
  if (reader.chained) {
    kernels_.launch(reader.entry, grid, stream, data, count, sink_.address(),
                    sink_.address(kSinkBytes / 2));
  } else {
    kernels_.launch(reader.entry, grid, stream, data, count, sink_.address());
  }
}

Timing ReadFloor::measure(Timer& timer, const Rotation& data, std::size_t bytes,
                          bool chained) const {
  Timing best{.median_us = 1e30};
  for (const char* entry : chained ? kChainedReaders : kReaders) {
    for (const int blocks_per_sm : {1, 2, 4, 6, 8}) {
      const Reader reader{entry, blocks_per_sm, chained};
      const Timing timing = timer.time(
          data.count(), [&](int i) { launch(reader, timer.stream(), data.address(i), bytes); });
      if (timing.median_us < best.median_us) best = timing;
    }
  }
  return best;
}

}  // namespace marlin
