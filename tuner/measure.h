// The measuring protocol: replays of a CUDA graph of launches over cold weights, timed by events.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "tuner/gpu.h"

namespace marlin {

// As printed beside every result.
std::string_view protocol_text();

// Microseconds of one launch, over the timed replays of one graph.
struct Timing {
  double median_us = 0, min_us = 0, max_us = 0;
  int launches = 0;  // in one replay
  int replays = 0;   // timed
};

// The middle of the values, or the mean of the two in the middle; values must not be empty.
double median(std::vector<double> values);
// 0 for no values; each must be > 0.
double geometric_mean(const std::vector<double>& values);
// From the microseconds of whole replays of so many launches.
Timing summarise(const std::vector<double>& replay_us, int launches);

// How many buffers of this size the launches must rotate over, so that each finds its weights
// outside the L2 cache: enough for 260 MB.
int distinct_buffers(std::size_t bytes);

// The launches of one replay: a multiple of `distinct`, so that the rotation goes on unbroken from
// one replay to the next, and long enough (4 ms or 128 launches) for the events' resolution.
int launches_for(double launch_us, int distinct);

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

// Times launches on its own stream.
class Timer {
 public:
  static constexpr int kReplays = 7;

  const Stream& stream() const { return stream_; }

  // launch(i) enqueues the i-th launch of a replay on stream(); it works on buffer i % distinct.
  // The first call of all is outside any graph. Throws GpuStuck and Error{driver_failed}.
  using Launch = std::function<void(int)>;
  Timing time(int distinct, const Launch& launch, int replays = kReplays);
  // One timed replay over each buffer once (or 4 launches): to tell the slow from the fast.
  Timing screen(int distinct, const Launch& launch);

 private:
  Timing replay(int launches, const Launch& launch, int replays);
  void wake(const Graph& graph);

  Stream stream_;
  double last_busy_ = -1e9;  // seconds on the steady clock
};

// The fastest read of so many bytes in one launch, over cold buffers; see templates/read_floor.cu.
class ReadFloor {
 public:
  explicit ReadFloor(const Gpu& gpu);
  // The weights' copies, each of `bytes` bytes.
  Timing measure(Timer& timer, const Rotation& data, std::size_t bytes) const;

 private:
  int sms_;
  KernelFile kernels_;
  DeviceBuffer sink_;
};

}  // namespace marlin
