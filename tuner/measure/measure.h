// The measuring protocol: replays of CUDA graphs of launches over cold weights, timed by events.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tuner/measure/gpu.h"

namespace marlin {

// How hot the GPU is when a window is timed: large products are limited by power, so that it
// matters what ran before.
//   plain      as the protocol of Timer::time has it
//   burst      after 50 ms without work, one replay of the same and then the timed one
//   sustained  among windows of work without a pause, half a second of it before the first
enum class Pace { plain, burst, sustained };

std::string_view name_of(Pace pace);

// As printed beside every result; `chained` where the launches were.
std::string protocol_text(bool chained = false, Pace pace = Pace::plain);
// The same for Timer::race.
std::string race_protocol_text(bool chained = false);

// Launches are isolated, each beginning when the one before is done, or chained, as those of layers
// that follow each other in a model: by programmatic dependent launch, which sm_90 and newer have.
bool can_chain(const Target& target);
// Throws Error{invalid_target} with the rule.
void require_can_chain(const Target& target);

// Microseconds of one launch, over the timed replays of one graph.
struct Timing {
  double median_us = 0, min_us = 0, max_us = 0;
  int launches = 0;  // in one replay
  int replays = 0;   // timed
};

// What a race says of one contestant.
struct RaceTiming {
  Timing timing;                 // over the rounds
  std::vector<double> round_us;  // of one launch in each round
};

// The middle of the values, or the mean of the two in the middle; values must not be empty.
double median(std::vector<double> values);
// 0 for no values; each must be > 0.
double geometric_mean(const std::vector<double>& values);
// What a paced race says of one contestant.
struct PacedTiming {
  Timing timing;
  std::vector<int>
      readings;  // of the clocks at the begin of each window; the next one is its end's
};

// From the microseconds of whole replays of so many launches.
Timing summarise(const std::vector<double>& replay_us, int launches);

// How many buffers of this size the launches must rotate over, so that each finds its weights
// outside the L2 cache: enough for 260 MB.
int distinct_buffers(std::size_t bytes);

// The launches of one replay: a multiple of `distinct`, so that the rotation goes on unbroken from
// one replay to the next, and long enough (4 ms or 128 launches) for the events' resolution. A
// launch of 1 ms or more is worked off in 4 ms or one launch, whatever `distinct`: buffers that
// rotate hold less than 260 MB each, so that whatever part of them the L2 cache could keep is read
// in a few per cent of that time, while whole rotations could take seconds.
int launches_for(double launch_us, int distinct);

// The same for the contestants of a race, from the time of one launch of each: windows of 1.5 ms or
// 512 launches of the fastest, and as many launches for all others. Only one whose window would be
// more than 8 times as long gets its own count, so that it does not hold up the rounds.
std::vector<int> race_launches(const std::vector<double>& launch_us, int distinct);

// The order of the contestants 0..count-1 in each round. Rounds 2i and 2i + 1 are mirror images, so
// that a steady drift cancels between them; over 2 count rounds each contestant has every place
// twice, and each other contestant directly before it twice.
std::vector<std::vector<int>> race_orders(int count, int rounds);

// The median over the rounds of one contestant's time over the other's in the same round; both are
// of one race.
double paired_ratio(const RaceTiming& one, const RaceTiming& other);

// Copies of one operand, one after the other, each aligned to 512 bytes and filled by `fill`.
class Rotation {
 public:
  using Fill = std::function<void(CUdeviceptr out, std::size_t bytes)>;
  // Room for `count` copies of so many bytes; `fill` gets all of it at once.
  Rotation(std::size_t bytes, int count, const Fill& fill);

  CUdeviceptr address(int launch) const { return buffer_.address(offset(launch)); }
  void* pointer(int launch) const { return buffer_.pointer(offset(launch)); }
  int count() const { return count_; }

 private:
  std::size_t offset(int launch) const {
    return stride_ * static_cast<std::size_t>(launch % count_);
  }

  std::size_t stride_;
  int count_;
  DeviceBuffer buffer_;
};

// Times launches on a stream, its own unless it is given one.
class Timer {
 public:
  static constexpr int kReplays = 7;

  Timer() = default;
  // On this one, which stays its owner's and must be one that can be captured.
  explicit Timer(CUstream stream) : stream_(stream) {}

  const Stream& stream() const { return stream_; }

  // launch(i) enqueues the i-th launch of a replay on stream(); it works on buffer i % distinct.
  // The first call of all is outside any graph. Throws GpuStuck and Error{driver_failed}.
  using Launch = std::function<void(int)>;
  Timing time(int distinct, const Launch& launch, int replays = kReplays);
  // One timed replay over each buffer once (or 4 launches; only one of 1 ms or more): to tell the
  // slow from the fast.
  Timing screen(int distinct, const Launch& launch);
  // All contestants against each other: every round replays each of them once, in the order of
  // race_orders(), so that neither drift nor neighbours choose the winner. One result for each, in
  // the order given; rounds > 0. Everything is enqueued ahead of the GPU, so
  // the processor may be busy meanwhile. Throws as time() does.
  std::vector<RaceTiming> race(int distinct, const std::vector<Launch>& contestants, int rounds);

  // Contestants in turns, as race() has them, at burst or sustained pace. Each works on its own
  // number of distinct buffers. read_clocks(i) enqueues the i-th of 2 * contestants * rounds
  // readings of the clocks, before and after each window.
  struct Contestant {
    int distinct;
    Launch launch;
  };
  std::vector<PacedTiming> pace(Pace pace, const std::vector<Contestant>& contestants, int rounds,
                                const std::function<void(int)>& read_clocks);

 private:
  double once_us(const Launch& launch);
  Timing replay(int launches, const Launch& launch, int replays);
  Graph capture(int launches, const Launch& launch) const;
  void wake(const Graph& graph);
  void heat(const std::vector<Graph>& graphs) const;

  Stream stream_;
  double last_busy_ = -1e9;  // seconds on the steady clock
};

// The fastest read of so many bytes in one launch, over cold buffers; see templates/read_floor.cu.
class ReadFloor {
 public:
  explicit ReadFloor(const Gpu& gpu);
  // The weights' copies, each of `bytes` bytes; of chained reads where the GPU can chain.
  Timing measure(Timer& timer, const Rotation& data, std::size_t bytes, bool chained = false) const;

 private:
  struct Reader {
    const char* entry;
    int blocks_per_sm;
    bool chained;
  };
  void launch(const Reader& reader, const Stream& stream, CUdeviceptr data,
              std::size_t bytes) const;

  int sms_;
  KernelFile kernels_;
  DeviceBuffer sink_;
};

}  // namespace marlin
