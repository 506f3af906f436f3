// Seconds that only go forward, to tell how long something took.
#pragma once

#include <chrono>

namespace marlin {

// On the steady clock; only differences mean something.
inline double now() {
  const auto time = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(time).count();
}

}  // namespace marlin
