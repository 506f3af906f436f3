// Two readings of every SM's clock -> MHz in between. Entry points: SmClock, clock_mhz.
#include "tuner/measure/sm_clock.h"

#include <algorithm>

#include "tuner/measure/measure.h"

namespace marlin {
namespace {

// SMs are numbered through what the chip has, of which a GPU may lack some.
constexpr std::size_t kMostSms = 1024;
constexpr unsigned kBlocksPerSm = 8;

std::size_t offset(int reading) {
  return static_cast<std::size_t>(reading) * kMostSms * sizeof(SmReading);
}

}  // namespace

double clock_mhz(const std::vector<SmReading>& begin, const std::vector<SmReading>& end) {
  std::vector<double> mhz;
  for (std::size_t i = 0; i < std::min(begin.size(), end.size()); ++i) {
    if (begin[i].nanoseconds == 0 || end[i].nanoseconds <= begin[i].nanoseconds) continue;
    mhz.push_back(1e3 * static_cast<double>(end[i].clocks - begin[i].clocks) /
                  static_cast<double>(end[i].nanoseconds - begin[i].nanoseconds));
  }
  return mhz.empty() ? 0 : median(std::move(mhz));
}

SmClock::SmClock(const Gpu& gpu, int readings)
    : sms_(static_cast<std::size_t>(gpu.target().sms)),
      kernels_(gpu, "sm_clock.cu", {"read_sm_clocks"}),
      readings_(offset(readings)) {
  check(driver().cuMemsetD8(readings_.address(), 0, readings_.bytes()), "cuMemsetD8");
}

void SmClock::read(const Stream& stream, int reading) const {
  const KernelFile::Grid grid{.x = static_cast<unsigned>(sms_) * kBlocksPerSm, .threads = 32};
  kernels_.launch("read_sm_clocks", grid, stream, readings_.address(offset(reading)));
}

std::vector<SmReading> SmClock::fetch(int reading) const {
  std::vector<SmReading> readings(kMostSms);
  check(driver().cuMemcpyDtoH(readings.data(), readings_.address(offset(reading)),
                              readings.size() * sizeof(SmReading)),
        "cuMemcpyDtoH");
  return readings;
}

double SmClock::mhz(int begin, int end) const { return clock_mhz(fetch(begin), fetch(end)); }

}  // namespace marlin
