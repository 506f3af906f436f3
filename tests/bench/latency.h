// What the latency programs share: processor time and their main function.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string_view>

#include "codegen/base/error.h"

namespace marlin {

// Of the calling thread; only differences mean something.
inline double processor_nanoseconds() {
  timespec time = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return 1e9 * static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec);
}

// How much a program measures.
struct Extent {
  int threads = 16;
  bool brief = false;  // only so much that everything has run: the figures mean nothing

  int calls(int of_all) const { return brief ? of_all / 100 : of_all; }
};

// Calls run() with what the arguments say, [--brief] [threads]; returns the exit code.
inline int latency_main(int argc, char** argv, int (*run)(const Extent&)) {
  Extent extent;
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) == "--brief") {
      extent.brief = true;
      continue;
    }
    extent.threads = std::atoi(argv[i]);
    if (extent.threads < 1) {
      fmt::print(stderr, "threads = {} is not a positive number\n", argv[i]);
      return 2;
    }
  }
  try {
    return run(extent);
  } catch (const Error& error) {
    fmt::print(stderr, "{}: {}\n{}", to_string(error.code()), error.what(), error.log());
    return 3;
  }
}

}  // namespace marlin
