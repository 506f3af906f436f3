// Options over environment variables -> settings.
// Entry point: the tests of suite Settings.
#include "runtime/choose/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

namespace marlin {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class SettingsTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"MARLIN_CACHE_DIR", "MARLIN_SYSTEM_CACHE_DIRS", "MARLIN_DISABLE_JIT",
                             "MARLIN_TUNING_DB", "MARLIN_CACHE_CAP"}) {
      unsetenv(name);
    }
    setenv("XDG_CACHE_HOME", "/somewhere", 1);
    setenv("XDG_DATA_HOME", "/data", 1);
  }
};

TEST_F(SettingsTest, AnEmptyEnvironmentGivesTheDefaults) {
  const Settings settings = settings_from({});
  EXPECT_EQ(settings.cache_dir, "/somewhere/marlin");
  EXPECT_TRUE(settings.system_dirs.empty());
  EXPECT_FALSE(settings.disable_jit);
  EXPECT_EQ(settings.tuning_db, "/data/marlin/tuning.jsonl");
}

TEST_F(SettingsTest, TuningDatabasesComeInOrder) {
  using Paths = std::vector<std::string>;
  Settings settings = {"/mine", {"/one", "/two"}, false, "/db"};
  EXPECT_EQ(tuning_paths(settings),
            (Paths{"/db", "/one/tuning.jsonl", "/two/tuning.jsonl", "/mine/tuning.jsonl"}));
  EXPECT_EQ(tuning_paths(settings, false),
            (Paths{"/one/tuning.jsonl", "/two/tuning.jsonl", "/mine/tuning.jsonl"}));
  EXPECT_EQ(tuning_paths({"", {}, false, ""}), Paths{});
}

TEST_F(SettingsTest, TheEnvironmentIsRead) {
  setenv("MARLIN_CACHE_DIR", "/mine", 1);
  setenv("MARLIN_SYSTEM_CACHE_DIRS", "/one::/two:", 1);
  setenv("MARLIN_DISABLE_JIT", "1", 1);
  setenv("MARLIN_TUNING_DB", "/own.jsonl", 1);
  const Settings settings = settings_from({});
  EXPECT_EQ(settings.tuning_db, "/own.jsonl");
  EXPECT_EQ(settings.cache_dir, "/mine");
  EXPECT_EQ(settings.system_dirs, (std::vector<std::string>{"/one", "/two"}));
  EXPECT_TRUE(settings.disable_jit);
}

TEST_F(SettingsTest, OptionsWinOverTheEnvironment) {
  setenv("MARLIN_CACHE_DIR", "/mine", 1);
  setenv("MARLIN_SYSTEM_CACHE_DIRS", "/one", 1);
  setenv("MARLIN_DISABLE_JIT", "1", 1);
  setenv("MARLIN_TUNING_DB", "/own.jsonl", 1);
  const Settings settings = settings_from({.cache_dir = "",
                                           .system_dirs = std::vector<std::string>{"/three"},
                                           .disable_jit = false,
                                           .tuning_db = "/other.jsonl"});
  EXPECT_EQ(settings.tuning_db, "/other.jsonl");
  EXPECT_EQ(settings.cache_dir, "");
  EXPECT_EQ(settings.system_dirs, std::vector<std::string>{"/three"});
  EXPECT_FALSE(settings.disable_jit);
}

TEST_F(SettingsTest, DisableJitIsAYesOrANo) {
  for (const char* yes : {"1", "true", "YES", "On"}) {
    setenv("MARLIN_DISABLE_JIT", yes, 1);
    EXPECT_TRUE(settings_from({}).disable_jit) << yes;
  }
  for (const char* no : {"", "0", "False", "no", "OFF"}) {
    setenv("MARLIN_DISABLE_JIT", no, 1);
    EXPECT_FALSE(settings_from({}).disable_jit) << no;
  }
  for (const char* neither : {"2", "disable", " 1", "1 "}) {
    setenv("MARLIN_DISABLE_JIT", neither, 1);
    const Settings settings = settings_from({});
    EXPECT_FALSE(settings.disable_jit) << neither;
    EXPECT_THAT(settings.problems,
                ElementsAre(AllOf(HasSubstr("MARLIN_DISABLE_JIT"), HasSubstr(neither))));
    // An option needs no environment.
    const Settings given = settings_from({.disable_jit = true});
    EXPECT_TRUE(given.disable_jit);
    EXPECT_THAT(given.problems, IsEmpty());
  }
}

// As compose files pass variables that are not set on the host.
TEST_F(SettingsTest, EmptyVariablesAreNoError) {
  for (const char* name : {"MARLIN_CACHE_DIR", "MARLIN_SYSTEM_CACHE_DIRS", "MARLIN_DISABLE_JIT",
                           "MARLIN_TUNING_DB", "MARLIN_CACHE_CAP"}) {
    setenv(name, "", 1);
  }
  const Settings settings = settings_from({});
  EXPECT_EQ(settings.cache_dir, "");
  EXPECT_THAT(settings.system_dirs, IsEmpty());
  EXPECT_FALSE(settings.disable_jit);
  EXPECT_EQ(settings.tuning_db, "");
  EXPECT_EQ(settings.cap_bytes, kDefaultCacheCap);
  EXPECT_THAT(settings.problems, IsEmpty());
}

TEST_F(SettingsTest, ABadCapNamesItsVariableAndFallsBack) {
  for (const char* bad : {"1GB", "lots", "-1"}) {
    setenv("MARLIN_CACHE_CAP", bad, 1);
    const Settings settings = settings_from({});
    EXPECT_EQ(settings.cap_bytes, kDefaultCacheCap) << bad;
    EXPECT_THAT(settings.problems,
                ElementsAre(AllOf(HasSubstr("MARLIN_CACHE_CAP"), HasSubstr(bad))));
  }
  setenv("MARLIN_CACHE_CAP", "3M", 1);
  EXPECT_EQ(settings_from({}).cap_bytes, std::uint64_t{3} << 20);
}

}  // namespace
}  // namespace marlin
