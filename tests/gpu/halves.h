// FP16 results in device memory, as tests of a Linear poison, read and judge them.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "tests/reference/model.h"
#include "tuner/measure/gpu.h"

namespace marlin {

using Halves = std::vector<std::uint16_t>;

inline constexpr std::uint16_t kPoison = 0xFFFF;  // an FP16 NaN

inline void poison_halves(const DeviceBuffer& buffer, CUstream stream) {
  check(driver().cuMemsetD16Async(buffer.address(), kPoison, buffer.bytes() / 2, stream),
        "cuMemsetD16Async");
}

// What the stream left there.
inline Halves read_halves(const DeviceBuffer& buffer, CUstream stream) {
  Halves out(buffer.bytes() / 2);
  check(driver().cuMemcpyDtoHAsync(out.data(), buffer.address(), buffer.bytes(), stream),
        "cuMemcpyDtoHAsync");
  check(driver().cuStreamSynchronize(stream), "cuStreamSynchronize");
  return out;
}

// ||out - product|| / ||product|| over the first `count` elements.
inline double relative_error(const Halves& out, const std::vector<double>& product,
                             std::size_t count) {
  double error = 0, norm = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const double difference = reference::half_value(out[i]) - product[i];
    error += difference * difference;
    norm += product[i] * product[i];
  }
  return std::sqrt(error / norm);
}

}  // namespace marlin
