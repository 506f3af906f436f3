// What the latency programs share: processor time and their main function.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "codegen/base/error.h"

namespace marlin {

// Of the calling thread; only differences mean something.
inline double processor_nanoseconds() {
  timespec time = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return 1e9 * static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec);
}

// Calls run(threads) with the first argument, 16 without one; returns the exit code.
inline int latency_main(int argc, char** argv, int (*run)(int threads)) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 16;
  if (threads < 1) {
    fmt::print(stderr, "threads = {} is not a positive number\n", argv[1]);
    return 2;
  }
  try {
    return run(threads);
  } catch (const Error& error) {
    fmt::print(stderr, "{}: {}\n{}", to_string(error.code()), error.what(), error.log());
    return 3;
  }
}

}  // namespace marlin
