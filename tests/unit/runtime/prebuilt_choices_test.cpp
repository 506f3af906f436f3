// A folder that `marlin prebuild` made from tuning data serves a process that has nothing else: no
// NVRTC, no GPU's own database, an empty home. Entry point: the tests of suite PrebuiltChoices.
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "codegen/base/error.h"
#include "marlin/compiled.h"
#include "runtime/compile/nvrtc.h"
#include "tests/stubs/fake_cuda.h"
#include "tests/unit/problems.h"
#include "tests/unit/runtime/cubin_cache_fixture.h"
#include "tests/unit/runtime/tuning_cases.h"
#include "tuner/cli/verbs.h"

namespace marlin::test {
namespace {

constexpr const char* kFakeGpu = "Fake GPU";

Problem shape_of(std::int64_t m, std::int64_t n) { return problem_of(m, n, 512, 128, false); }

TuningRecord record_for(const Problem& problem, const Config& config, const char* gpu = kFakeGpu) {
  TuningRecord record = choice_for(problem, config);
  record.gpu = gpu;
  return record;
}

// Configs that the model would hardly choose, one of them for an exact m.
std::vector<TuningRecord> records_of_deployment() {
  std::vector<TuningRecord> records = {record_for(shape_of(1, 256), plain_config(2)),
                                       record_for(shape_of(8, 256), plain_config(3)),
                                       record_for(shape_of(16, 256), plain_config(2)),
                                       record_for(shape_of(16, 512), plain_config(4))};
  Problem exact = shape_of(13, 512);
  exact.shape.exact_m = true;
  records.push_back(record_for(exact, plain_config(3)));
  return records;
}

int prebuild(std::vector<std::string> arguments) {
  Exit exit = Exit::usage;
  CLI::App app;
  add_prebuild(app, exit);
  std::reverse(arguments.begin(), arguments.end());
  arguments.emplace_back("prebuild");
  app.parse(arguments);
  return static_cast<int>(exit);
}

#define CHILD_EXPECT(condition)                                  \
  if (!(condition)) {                                            \
    std::fprintf(stderr, "line %d: " #condition "\n", __LINE__); \
    return 1;                                                    \
  }

class PrebuiltChoices : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(fake_cuda(), nullptr);  // keeps the make-believe driver linked
    for (const char* name : {"MARLIN_CACHE_DIR", "XDG_CACHE_HOME", "XDG_DATA_HOME",
                             "MARLIN_SYSTEM_CACHE_DIRS", "MARLIN_DISABLE_JIT", "MARLIN_NVRTC"}) {
      unsetenv(name);
    }
    fs::create_directory(scratch_ / "home");
    setenv("HOME", (scratch_ / "home").c_str(), 1);
    setenv("MARLIN_TUNING_DB", "", 1);
  }

  // In a process of its own: this one must never have opened NVRTC.
  int prebuilt_with(const std::vector<std::string>& arguments) const {
    std::vector<std::string> all = {"--out", out_};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return in_child([&] { return prebuild(all); });
  }

  // As a deployment sets it; for children.
  void deploy() const {
    setenv("MARLIN_NVRTC", (scratch_ / "no_nvrtc.so").c_str(), 1);
    setenv("MARLIN_SYSTEM_CACHE_DIRS", out_.c_str(), 1);
    setenv("MARLIN_DISABLE_JIT", "1", 1);
  }

  void write_db(const std::string& path, const std::vector<TuningRecord>& records) const {
    std::string text;
    for (const TuningRecord& record : records) text += to_line(record);
    write_file(path, text);
  }

  ScratchDir scratch_;
  std::string out_ = scratch_ / "out", db_ = scratch_ / "db.jsonl";
};

TEST_F(PrebuiltChoices, EveryRecordIsServedWithItsConfigAndNothingElse) {
  const std::vector<TuningRecord> records = records_of_deployment();
  TuningRecord old = record_for(shape_of(64, 256), plain_config());
  old.schema = 99;
  std::vector<TuningRecord> all = records;
  all.push_back(old);
  write_db(db_, all);
  ASSERT_EQ(prebuilt_with({"--from-db", db_}), 0);
  fs::remove(db_);
  const int code = in_child([&] {
    deploy();
    bool opened = true;
    try {
      nvrtc();
    } catch (const Error& error) {
      opened = error.code() != ErrorCode::no_nvrtc;
    }
    CHILD_EXPECT(!opened);
    for (const TuningRecord& record : records) {
      const Compiled kernel = Compiled::get(record.problem);
      CHILD_EXPECT(kernel.config() == to_string(record.config));
      CHILD_EXPECT(kernel.chosen_by() == ChosenBy::tuned);
      CHILD_EXPECT(kernel.origin() == Origin::system_cache);
    }
    CHILD_EXPECT(Compiled::get(shape_of(7, 256)).config() == to_string(plain_config(3)));
    const Result missing = Compiled::try_get(shape_of(64, 256));
    CHILD_EXPECT(missing.error && missing.error->code() == ErrorCode::jit_disabled);
    return fs::is_empty(scratch_ / "home") ? 0 : 2;
  });
  EXPECT_EQ(code, 0);
}

// The GPU that kernels are built for is not known where they are built, nor need the databases
// there and here be the same.
TEST_F(PrebuiltChoices, OtherChoicesHereFindWhatWasBuiltThere) {
  const Problem tuned = shape_of(16, 256), modelled = shape_of(16, 512);
  write_db(db_, {record_for(tuned, plain_config(2), "Some other GPU")});
  setenv("MARLIN_TUNING_DB", db_.c_str(), 1);
  ASSERT_EQ(prebuilt_with({"--shape", "16x256x512,16x512x512", "--arch", "sm_90a", "--sms", "132",
                           "--gpu", "Some other GPU"}),
            0);
  write_db(db_, {record_for(tuned, plain_config(3)), record_for(modelled, plain_config(3))});
  const int code = in_child([&] {
    deploy();
    setenv("MARLIN_TUNING_DB", "", 1);
    const Options options{.tuning_db = db_};  // whose choices were not built
    const Compiled first = Compiled::get(tuned, options);
    CHILD_EXPECT(first.config() == to_string(plain_config(2)));
    CHILD_EXPECT(first.chosen_by() == ChosenBy::nearest);  // measured on another GPU
    CHILD_EXPECT(Compiled::get(modelled, options).chosen_by() == ChosenBy::model);
    const Result asked = Compiled::try_get(tuned, {.config = to_string(plain_config(3))});
    CHILD_EXPECT(asked.error && asked.error->code() == ErrorCode::jit_disabled);
    const std::string said = asked.error->what();
    CHILD_EXPECT(said.find("--config '" + to_string(plain_config(3)) + "'") != said.npos);
    return 0;
  });
  EXPECT_EQ(code, 0);
}

}  // namespace
}  // namespace marlin::test
