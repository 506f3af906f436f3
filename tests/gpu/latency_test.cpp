// The latency programs (tests/bench), run briefly as a user would run them.
// Entry point: the tests of suite LatencyPrograms.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <filesystem>
#include <string>

#include "tuner/measure/gpu.h"

namespace marlin {
namespace {

using testing::ContainsRegex;

constexpr int kThreads = 4;

// What a program printed, refusals included, and its exit code; -1 when it was ended by a signal.
struct Outcome {
  std::string output;
  int code = -1;
};

class LatencyPrograms : public testing::Test {
 protected:
  void SetUp() override {
    if (!gpu_available()) GTEST_SKIP() << "no GPU";
  }

  // The programs lie beside this one, where it was built as well as where it was carried to.
  static Outcome run_briefly(const std::string& name) {
    const auto program = std::filesystem::read_symlink("/proc/self/exe").parent_path() / name;
    EXPECT_TRUE(std::filesystem::exists(program)) << program;
    const std::string command = fmt::format("'{}' --brief {} 2>&1", program.string(), kThreads);
    Outcome outcome;
    std::FILE* pipe = popen(command.c_str(), "r");
    if (pipe == nullptr) return outcome;
    for (int c = 0; (c = std::fgetc(pipe)) != EOF;) outcome.output += static_cast<char>(c);
    const int status = pclose(pipe);
    if (WIFEXITED(status)) outcome.code = WEXITSTATUS(status);
    return outcome;
  }
};

TEST_F(LatencyPrograms, GetLatencyTimesTableMemoryAndDisk) {
  const Outcome outcome = run_briefly("get_latency");
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  for (const char* what : {"table look-up", "hit in memory"}) {
    for (const int threads : {1, kThreads}) {
      EXPECT_THAT(outcome.output, ContainsRegex(fmt::format(
                                      "{}, {} threads: [0-9.]+ ns, [0-9.]+ ns", what, threads)));
    }
  }
  for (const int m : {1, 16, 128}) {
    EXPECT_THAT(outcome.output, ContainsRegex(fmt::format(
                                    "{}x28672x4096 g128: compiled in [0-9]+ ms; hit on disk", m)));
  }
}

// On an H200 its rows reach clusters, tensor maps and blocks that wait for one another.
TEST_F(LatencyPrograms, LinearLatencyTimesRawLaunchesAndLinears) {
  const Outcome outcome = run_briefly("linear_latency");
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  for (const int m : {1, 3, 16, 40, 128, 300}) {
    std::string expected =
        fmt::format("{}x512x4096 g128 \\[[^]]+\\], [0-9]+ bytes of workspace\n", m);
    for (const int threads : {1, kThreads}) {
      for (const char* what : {"nothing", "cuLaunch", "Linear"}) {
        expected +=
            fmt::format("  {} +{} threads: clock +[0-9.]+ us median[^\n]+\n", what, threads);
      }
    }
    EXPECT_THAT(outcome.output, ContainsRegex(expected));
  }
}

}  // namespace
}  // namespace marlin
