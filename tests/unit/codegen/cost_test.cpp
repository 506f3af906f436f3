// Boards, families and the ranking of configs by the cost model.

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "codegen/base/error.h"
#include "codegen/families/family.h"
#include "codegen/generator.h"
#include "tests/unit/problems.h"

namespace marlin {
namespace {

TEST(Boards, AreKnownByTargetAndName) {
  EXPECT_EQ(gpu_model_of({"sm_90a", 132}).name, "H200");
  EXPECT_EQ(gpu_model_of({"sm_90a", 132}, "NVIDIA H200").name, "H200");
  EXPECT_EQ(gpu_model_of({"sm_90a", 132}, "NVIDIA H100 80GB HBM3").name, "H100 80GB HBM3");
  EXPECT_EQ(gpu_model_of({"sm_80", 108}, "NVIDIA A100-SXM4-40GB").name, "A100-SXM4-40GB");
  EXPECT_EQ(gpu_model_of({"sm_89", 142}).name, "L40S");
  EXPECT_EQ(gpu_model_of({"sm_89", 128}).name, "RTX 4090");
  EXPECT_EQ(gpu_model_of({"sm_100", 148}).name, "B200");
  EXPECT_EQ(gpu_model_of({"sm_120", 170}).name, "RTX 5090");
  EXPECT_THROW(gpu_model_of({"sm_70", 80}), Error);
}

TEST(Boards, AnUnknownOneTakesAfterTheNearest) {
  const GpuModel known = gpu_model_of({"sm_90a", 132}), half = gpu_model_of({"sm_90", 66});
  EXPECT_EQ(half.sms, 66);
  EXPECT_EQ(half.arch, "sm_90");
  // H20 is nearer in SMs; memory goes with them.
  const GpuModel nearest = gpu_model_of({"sm_90a", 78});
  EXPECT_DOUBLE_EQ(half.memory_gb_s / 66, nearest.memory_gb_s / 78);
  EXPECT_NE(half.memory_gb_s, known.memory_gb_s / 2);
  // A name that belongs to another SM count changes nothing.
  EXPECT_EQ(gpu_model_of({"sm_89", 58}, "NVIDIA L40S").name, "L4");
}

TEST(Boards, HaveFiguresOfTheirKind) {
  std::set<std::string_view> names;
  for (const GpuModel& board : known_gpu_models()) {
    EXPECT_TRUE(names.insert(board.name).second) << board.name;
    EXPECT_NO_THROW(require_valid(Target{std::string(board.arch), board.sms})) << board.name;
    EXPECT_GT(board.memory_gb_s, 100) << board.name;
    EXPECT_LT(board.memory_gb_s, 8000) << board.name;
    EXPECT_GT(board.clock_mhz, 1000) << board.name;
    EXPECT_LT(board.clock_mhz, 3000) << board.name;
    EXPECT_GT(board.tensor_rate, 0.1) << board.name;
    EXPECT_LE(board.tensor_rate, 1) << board.name;
  }
}

TEST(Families, StandInTheOrderOfTheirNames) {
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < families().size(); ++i) {
    const KernelFamily& family = families()[i];
    EXPECT_EQ(static_cast<std::size_t>(family.id), i);
    EXPECT_EQ(&info(family.id), &family);
    EXPECT_TRUE(names.insert(name_of(family.id)).second);
    EXPECT_GE(family.schema, 1);
  }
  EXPECT_EQ(searched_families(), "stripe/1,decode/1,wgmma/1");
}

TEST(Ranking, HoldsEveryLegalConfigOnceTheFastestFirst) {
  for (const GpuModel& board : known_gpu_models()) {
    const Target target{std::string(board.arch), board.sms};
    for (const Problem& problem :
         {problem_of(1, 4096, 14336, 128), problem_of(64, 28672, 4096, 128),
          problem_of(48, 6144, 4096, -1), problem_of(2048, 4096, 4096, 128)}) {
      const std::vector<Estimate> ranked = rank_configs(problem, target, board);
      EXPECT_TRUE(std::is_sorted(ranked.begin(), ranked.end(),
                                 [](const Estimate& x, const Estimate& y) { return x.us < y.us; }));
      std::vector<Config> legal = legal_configs(problem, target);
      EXPECT_EQ(ranked.size(), legal.size());
      for (const Estimate& estimate : ranked) {
        EXPECT_EQ(std::count(legal.begin(), legal.end(), estimate.config), 1);
        EXPECT_GT(estimate.us, 0);
        EXPECT_EQ(estimate.us, estimate_us(problem, target, board, estimate.config));
      }
    }
  }
}

TEST(Ranking, TimesFollowTheBoard) {
  const Target target{"sm_90a", 132};
  const GpuModel board = gpu_model_of(target);
  GpuModel slow_memory = board, slow_tensor = board;
  slow_memory.memory_gb_s /= 4;
  slow_tensor.tensor_rate /= 4;
  const Problem decode = problem_of(1, 28672, 4096, 128),
                prefill = problem_of(1024, 28672, 4096, 128);
  const auto best = [&](const Problem& problem, const GpuModel& on) {
    return rank_configs(problem, target, on).front().us;
  };
  EXPECT_GT(best(decode, slow_memory), 2 * best(decode, board));
  EXPECT_LT(best(decode, slow_tensor), 1.6 * best(decode, board));
  EXPECT_GT(best(prefill, slow_tensor), 2 * best(prefill, board));
  EXPECT_LT(best(prefill, slow_memory), 1.6 * best(prefill, board));
}

TEST(Ranking, RefusesWhatBreaksARule) {
  const Target target{"sm_90a", 132};
  EXPECT_THROW(rank_configs(problem_of(16, 100, 128, 128), target, gpu_model_of(target)), Error);
  EXPECT_THROW(rank_configs(problem_of(16, 128, 128, 128), {"sm_90a", 0}, gpu_model_of(target)),
               Error);
}

}  // namespace
}  // namespace marlin
