// The clock that the SMs really had during a stretch of work, which power limits below the nominal
// one.
#pragma once

#include <cstdint>
#include <vector>

#include "tuner/measure/gpu.h"

namespace marlin {

// One SM at one time.
struct SmReading {
  std::uint64_t clocks = 0, nanoseconds = 0;
};

// MHz between two readings of all SMs, the median over those read both times; 0 when there are
// none.
double clock_mhz(const std::vector<SmReading>& begin, const std::vector<SmReading>& end);

class SmClock {
 public:
  // With room for so many readings.
  SmClock(const Gpu& gpu, int readings);

  // Enqueues the reading of this number.
  void read(const Stream& stream, int reading) const;
  // MHz between two of them; the stream must have finished both. Throws Error{driver_failed}.
  double mhz(int begin, int end) const;

 private:
  std::vector<SmReading> fetch(int reading) const;

  std::size_t sms_;
  KernelFile kernels_;
  DeviceBuffer readings_;
};

}  // namespace marlin
