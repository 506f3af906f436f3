// Shapes, targets and presets as the verbs read them from their options.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <fstream>
#include <stdexcept>

#include "codegen/base/error.h"
#include "tests/unit/problems.h"
#include "tuner/cli/cli_common.h"
#include "tuner/cli/cli_presets.h"
#include "tuner/search/parallel.h"

namespace marlin {
namespace {

std::vector<std::string> texts(const std::vector<NamedProblem>& shapes) {
  std::vector<std::string> all;
  for (const NamedProblem& named : shapes) {
    all.push_back((named.layer.empty() ? "" : named.layer + " ") + to_string(named.problem));
  }
  return all;
}

using Texts = std::vector<std::string>;

ShapeOptions parsed(const std::vector<std::string>& arguments) {
  CLI::App app;
  ShapeOptions options;
  options.add_to(app);
  app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  return options;
}

// The refusal's message, or nothing when the arguments are taken.
std::string refusal(const std::vector<std::string>& arguments) {
  try {
    parsed(arguments).resolve();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

TEST(ShapeOptions, Lists) {
  EXPECT_EQ(texts(parsed({"--shape", "16x256x512"}).resolve()), Texts{"16x256x512 g128"});
  EXPECT_EQ(
      texts(parsed({"--shape", "1x256x512", "--shape", "128x256", "--m", "4,8", "--group", "-1"})
                .resolve()),
      (Texts{"1x256x512 g-1", "4x128x256 g-1", "8x128x256 g-1"}));
  EXPECT_EQ(texts(parsed({"--shape", "2x256x512", "--group", "128,-1", "--exact"}).resolve()),
            (Texts{"2x256x512 g128 exact", "2x256x512 g-1 exact"}));
  EXPECT_EQ(texts(parsed({"--shape", "2x256x512,2x256x512,4x256x512"}).resolve()),
            (Texts{"2x256x512 g128", "4x256x512 g128"}));
  EXPECT_EQ(texts(parsed({"--shapes", "llama3-8b", "--m", "16"}).resolve()),
            (Texts{"8B.qkv 16x6144x4096 g128", "8B.o 16x4096x4096 g128",
                   "8B.gate_up 16x28672x4096 g128", "8B.down 16x4096x14336 g128"}));
  EXPECT_EQ(texts(parsed({"--shapes", "llama3-70b", "--m", "1"}).resolve()),
            (Texts{"70B.qkv 1x10240x8192 g128", "70B.o 1x8192x8192 g128",
                   "70B.gate_up 1x57344x8192 g128", "70B.down 1x8192x28672 g128"}));
}

TEST(ShapeOptions, DefaultM) {
  ShapeOptions options = parsed({"--shape", "256x512", "--shape", "3x256x512"});
  options.default_m = {1, 2};
  EXPECT_EQ(texts(options.resolve()),
            (Texts{"1x256x512 g128", "2x256x512 g128", "3x256x512 g128"}));
}

TEST(ShapeOptions, Refusals) {
  EXPECT_EQ(refusal({}), "no shape: give --shape MxNxK or --shapes PRESET|FILE");
  EXPECT_EQ(refusal({"--shape", "256x512"}),
            "256x512 has no M: give the token counts by --m, e.g. --m 1,16,64");
  EXPECT_EQ(refusal({"--shape", "1x256x512", "--m", "1"}),
            "--m: every shape has an M of its own; write NxK to leave it open");
  EXPECT_EQ(refusal({"--shape", "1x250x512"}), "1x250x512 g128: n = 250 is not a multiple of 64");
  for (const char* text : {"", "x", "16", "16x", "x16x256x512", "16x256x512x", "16x256x512x1",
                           "16X256X512", " 16x256x512", "16x256x512 ", "1e3x256x512",
                           "0x10x256x512", "99999999999999999999x256x512", "+1x256x512"}) {
    EXPECT_NE(refusal({"--shape", text}).find("is not a shape: write MxNxK"), std::string::npos)
        << '"' << text << '"';
  }
}

class ShapeFile : public testing::Test {
 protected:
  std::string path_ = testing::TempDir() + "marlin_shapes_" + std::to_string(getpid()) + ".txt";

  void write(const std::string& text) { std::ofstream(path_) << text; }
  void TearDown() override { std::remove(path_.c_str()); }
};

TEST_F(ShapeFile, Lines) {
  write("# layers\n\nqkv: 6144x4096\n  o: 8x4096x4096 -1 # whole K\n\t16x64x64 -1\r\n");
  EXPECT_EQ(
      texts(parsed({"--shapes", path_, "--m", "1,2"}).resolve()),
      (Texts{"qkv 1x6144x4096 g128", "qkv 2x6144x4096 g128", "o 8x4096x4096 g-1", "16x64x64 g-1"}));
}

TEST_F(ShapeFile, Refusals) {
  const std::pair<const char*, const char*> cases[] = {
      {"", ": the file holds no shape"},
      {"# nothing\n", ": the file holds no shape"},
      {"16x256x512\nlayer:\n", ":2: 'layer:' names no shape"},
      {"16x256\tx512\n", ":1: 'x512' is not a group size"},
      {"16x256x512 128 1\n", ":1: '1' after the group size"},
      {"16x256x512 1e2\n", ":1: '1e2' is not a group size"},
      {"16x256xK\n", ":1: '16x256xK' is not a shape"},
  };
  for (const auto& [text, message] : cases) {
    write(text);
    EXPECT_NE(refusal({"--shapes", path_}).find(path_ + message), std::string::npos)
        << text << refusal({"--shapes", path_});
  }
  EXPECT_NE(refusal({"--shapes", testing::TempDir()}), "");
}

TEST(Presets, EveryShapeIsValid) {
  for (const std::string& name : preset_names()) {
    const std::vector<Layer> layers = preset_layers(name);
    EXPECT_FALSE(layers.empty()) << name;
    for (const Layer& layer : layers) {
      const std::vector<int> groups = layer.groups.empty() ? std::vector{128, -1} : layer.groups;
      const auto rows = layer.m.empty() ? std::vector<std::int64_t>{1} : layer.m;
      for (int group : groups) {
        for (std::int64_t m : rows) {
          EXPECT_EQ(broken_rule(problem_of(m, layer.n, layer.k, group)), std::nullopt)
              << layer.name;
        }
      }
    }
  }
  EXPECT_TRUE(preset_layers("llama").empty());
}

TEST(Presets, PublishedTestCases) {
  const Texts cases = texts(parsed({"--shapes", "published"}).resolve());
  for (const char* expected :
       {"published.tiles 118x512x1024 g128", "published.tiles 1024x512x1024 g-1",
        "published.few_stages 16x512x64 g-1", "published.stages 16x512x832 g-1",
        "published.groups 16x32768x1024 g128", "published.down 16x4096x10752 g-1"}) {
    EXPECT_NE(std::find(cases.begin(), cases.end(), expected), cases.end()) << expected;
  }
}

std::vector<Target> targets(std::vector<std::string> archs, std::vector<int> sms) {
  return TargetOptions{std::move(archs), std::move(sms)}.resolve();
}

TEST(TargetOptions, Pairing) {
  using Targets = std::vector<Target>;
  EXPECT_EQ(targets({"sm_80", "sm_90a"}, {108, 132}), (Targets{{"sm_80", 108}, {"sm_90a", 132}}));
  EXPECT_EQ(targets({"sm_80", "sm_90a"}, {64}), (Targets{{"sm_80", 64}, {"sm_90a", 64}}));
  EXPECT_EQ(targets({"sm_89"}, {58, 142}), (Targets{{"sm_89", 58}, {"sm_89", 142}}));
  EXPECT_EQ(targets({"sm_89", "sm_89"}, {58, 58}), (Targets{{"sm_89", 58}}));
  EXPECT_THROW(targets({"sm_80", "sm_90a", "sm_89"}, {1, 2}), Error);
  EXPECT_THROW(targets({"sm_80"}, {0}), Error);
  EXPECT_THROW(targets({"sm_70"}, {108}), Error);
  EXPECT_THROW((TargetOptions{{"sm_80"}, {54, 108}}.resolve_one()), Error);
}

TEST(KernelShape, GoesUpToItsRung) {
  EXPECT_EQ(kernel_problem({13, 256, 512}), (Problem{16, 256, 512}));
  EXPECT_EQ(kernel_problem(problem_of(13, 256, 512, -1, true)),
            (problem_of(13, 256, 512, -1, true)));
}

TEST(ConfigFor, ChecksTheText) {
  const Problem problem{16, 256, 512};
  const Target target{"sm_80", 108};
  const Config chosen = config_for("", problem, target);
  EXPECT_EQ(config_for(to_string(chosen), problem, target), chosen);
  EXPECT_THROW(config_for("m16", problem, target), Error);
  Config wide = chosen;
  wide.tile_n = 512;  // wider than n
  EXPECT_THROW(config_for(to_string(wide), problem, target), Error);
}

TEST(Table, AlignsNumbersRight) {
  EXPECT_EQ(table({{"name", "us"}, {"a", "9.5"}, {"long", "10.25"}}),
            "name     us\na       9.5\nlong  10.25\n");
  EXPECT_EQ(table({{"a", "b"}, {"", "x"}}), "a  b\n   x\n");
}

TEST(ParallelFor, CallsEachIndexOnce) {
  for (int jobs : {1, 2, 7}) {
    std::vector<std::atomic<int>> calls(20);
    parallel_for(calls.size(), jobs, [&](std::size_t i) { ++calls[i]; });
    for (const auto& count : calls) EXPECT_EQ(count, 1);
  }
  parallel_for(0, 4, [](std::size_t) { FAIL(); });
}

TEST(ParallelFor, PassesTheErrorOn) {
  for (int jobs : {1, 3}) {
    EXPECT_THROW(parallel_for(8, jobs,
                              [](std::size_t i) {
                                if (i == 2) throw std::runtime_error("two");
                              }),
                 std::runtime_error);
  }
}

}  // namespace
}  // namespace marlin
