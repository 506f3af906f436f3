// A libcuda.so.1 with two make-believe GPUs and a make-believe clock, which runs whatever is
// enqueued at once: for tests of what measures. For one thread only.
#pragma once

#include <functional>
#include <vector>

namespace marlin::test {

// One run of a graph, or of a launch outside all graphs.
struct TimedReplay {
  int kernel = 0;  // of all its launches; -1 where they differ
  int launches = 0;
  bool graph = false;
};

struct TimedCuda {
  double now_us = 0;
  // Microseconds of a launch of this kernel that begins now.
  std::function<double(int kernel, double now_us)> cost;
  std::vector<TimedReplay> log;
  int live_events = 0, live_graphs = 0, live_streams = 0;  // made and not destroyed
  std::function<void(int kernel)> launch;                  // as a kernel launch on the stream
};

}  // namespace marlin::test

// The library's one state.
extern "C" marlin::test::TimedCuda* timed_cuda();
