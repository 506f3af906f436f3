// What each NVRTC compiles is what least_nvrtc() says: with libraries of several CUDA versions,
// which tests/nvrtc_wheels.sh fetches. Entry point: the tests of suite NvrtcVersions.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <ostream>
#include <string>
#include <vector>

#include "codegen/base/error.h"
#include "codegen/generator.h"
#include "runtime/choose/select.h"
#include "runtime/compile/kernel_build.h"
#include "runtime/compile/nvrtc.h"
#include "runtime/launch/kernel_store.h"
#include "tests/stubs/fake_cuda.h"
#include "tests/unit/problems.h"

namespace marlin {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

struct Version {
  const char* text;  // as the folder of its library is named
  int number;

  friend std::ostream& operator<<(std::ostream& out, const Version& version) {
    return out << version.text;
  }
};

class NvrtcVersions : public testing::TestWithParam<Version> {
 protected:
  void SetUp() override {
    ASSERT_NE(fake_cuda(), nullptr);  // keeps the make-believe driver linked
#ifdef __SANITIZE_ADDRESS__
    GTEST_SKIP() << "under AddressSanitizer's dlopen a library does not find its neighbours, as "
                    "NVRTC has to find its builtins";
#endif
    const fs::path folder = fs::path(NVRTC_WHEELS) / GetParam().text;
    std::error_code none;
    for (const auto& file : fs::recursive_directory_iterator(folder, none)) {
      const std::string name = file.path().filename();
      if (name.starts_with("libnvrtc.so.")) setenv("MARLIN_NVRTC", file.path().c_str(), 1);
    }
    if (getenv("MARLIN_NVRTC") == nullptr) GTEST_SKIP() << "not fetched: NVRTC " << folder;
  }
  void TearDown() override { unsetenv("MARLIN_NVRTC"); }
};

// Of each family one of each way in which blocks come together and of each option that has
// instructions of its own.
std::vector<Config> unlike(const Problem& problem, const Target& target) {
  const auto alike = [](const Config& x, const Config& y) {
    return x.family() == y.family() && x.partition.kind == y.partition.kind &&
           (x.partition.count > 1) == (y.partition.count > 1) &&
           (x.family() != Family::wgmma || (x.wgmma().multicast == y.wgmma().multicast &&
                                            x.wgmma().early_weights == y.wgmma().early_weights));
  };
  std::vector<Config> chosen;
  for (const Config& config : legal_configs(problem, target)) {
    if (std::none_of(chosen.begin(), chosen.end(),
                     [&](const Config& other) { return alike(other, config); })) {
      chosen.push_back(config);
    }
  }
  return chosen;
}

TEST_P(NvrtcVersions, CompileWhatTheyAreSaidTo) {
  const Nvrtc& library = nvrtc();
  ASSERT_EQ(library.number(), GetParam().number) << library.path();
  int compiled = 0, refused = 0;
  for (const char* arch : {"sm_80", "sm_90a", "sm_120"}) {
    const Target target{arch, 20};
    for (const Problem& problem : {problem_of(8, 512, 512, 128), problem_of(96, 512, 512, 128)}) {
      for (const Config& config : unlike(problem, target)) {
        // The same instructions on every architecture.
        if (config.family() == Family::stripe && target.arch == "sm_90a") continue;
        const KernelText kernel = write_kernel(problem, target, config);
        bool works = true;
        try {
          library.compile({.source = kernel.source,
                           .name = "kernel.cu",
                           .arch = arch,
                           .options = kernel.options});
        } catch (const Error&) {
          works = false;
        }
        EXPECT_EQ(works, least_nvrtc(target, config) <= library.number())
            << arch << ' ' << to_string(config);
        ++(works ? compiled : refused);
      }
    }
  }
  EXPECT_GT(compiled, 0);
  EXPECT_EQ(refused > 0, library.number() < 12080);
}

TEST_P(NvrtcVersions, ChooseWhatTheyCompile) {
  const Nvrtc& library = nvrtc();
  const TuningLayers shipped = TuningLayers::open({});
  for (const std::int64_t m : {1, 16, 64}) {
    const Problem problem = problem_of(m, 4096, 4096);
    const Target target{"sm_90a", 132};
    const Config first = choose_config(problem, target, "NVIDIA H200", shipped).config;
    const Config here =
        choose_config(problem, target, "NVIDIA H200", shipped, false, library.number()).config;
    EXPECT_LE(least_nvrtc(target, here), library.number());
    if (least_nvrtc(target, first) <= library.number()) {
      EXPECT_EQ(here, first);
    } else {
      try {
        compile_kernel(write_kernel(problem, target, first));
        ADD_FAILURE() << "compiled";
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::no_nvrtc);
        EXPECT_THAT(error.what(), HasSubstr("12.1 or newer is needed"));
      }
    }
    EXPECT_NO_THROW(compile_kernel(write_kernel(problem, target, here)));
  }
}

// The whole way on a make-believe GPU: a kernel that is compiled, and a word about the one that was
// not.
TEST_P(NvrtcVersions, GetGivesWhatTheyCompile) {
  const Problem problem = problem_of(1, 4096, 4096);
  const Options options = {.cache_dir = "",
                           .system_dirs = std::vector<std::string>{},
                           .disable_jit = false,
                           .tuning_db = "",
                           .config = "model"};
  KernelStore store;
  const Kernel* kernel = store.get(problem, options);
  const Target target = kernel->plan().target;
  EXPECT_EQ(kernel->origin(), Origin::compiled);
  EXPECT_LE(least_nvrtc(target, kernel->plan().config), nvrtc().number());
  const Config first = model_config(problem, target);
  ASSERT_EQ(least_nvrtc(target, first), 12010);
  if (nvrtc().number() >= 12010) {
    EXPECT_EQ(kernel->plan().config, first);
  } else {
    EXPECT_THAT(kernel->passed_over(),
                testing::Contains(HasSubstr("': needs NVRTC 12.1 or newer, and ")));
  }
  // A config that was asked for by its text is not exchanged for another.
  Options given = options;
  given.config = to_string(first);
  const auto get = [&] { store.get(problem, given); };
  if (nvrtc().number() >= 12010) {
    EXPECT_NO_THROW(get());
  } else {
    EXPECT_THROW(get(), Error);
  }
}

INSTANTIATE_TEST_SUITE_P(All, NvrtcVersions,
                         testing::Values(Version{"12.0.76", 12000}, Version{"12.1.105", 12010},
                                         Version{"12.4.127", 12040}, Version{"12.8.93", 12080},
                                         Version{"13.0.88", 13000}),
                         [](const auto& info) { return std::to_string(info.param.number); });

TEST(VersionNumber, IsThatOfCuda) {
  EXPECT_EQ(version_number("12.1"), 12010);
  EXPECT_EQ(version_number("13.0"), 13000);
  EXPECT_EQ(version_text(12080), "12.8");
  for (const char* bad : {"", "12", "12.", ".1", "12.1.3", "a.b", "2147483647.1", "-1.0", "12.100"})
    EXPECT_EQ(version_number(bad), 0);
}

}  // namespace
}  // namespace marlin
