// What a look-up passes over on the way to a kernel, and that it goes on and tells of it.
// Entry point: the tests of suite PassedOver.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "tests/unit/runtime/store_fixture.h"

namespace marlin {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using test::kShape;
using test::sound_args;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class PassedOver : public test::CompiledTest {};

// As kubernetes' fsGroup, a careless umask, a full disk and a torn copy leave them.
TEST_F(PassedOver, WithoutJitTheErrorNamesAllThatWasPassedOver) {
  store_.get(kShape, cached());
  const auto copy_of = [&](const char* name) {
    fs::copy(scratch_ / "user", scratch_ / name, fs::copy_options::recursive);
    return std::string(scratch_ / name);
  };
  const std::string key = CubinCache(scratch_ / "user").list().front().key;
  const std::string open = copy_of("open"), torn = copy_of("torn"), index = copy_of("index");
  fs::permissions(open, fs::perms(0775));
  fs::resize_file(CubinCache(torn).path_of(key), 100);
  fs::remove(CubinCache(index).path_of(key));
  test::write_file(index + "/built_with.json", "{");
  test::write_file(index + "/tuning.jsonl", "damage in a line is that line's alone");
  fs::permissions(index + "/tuning.jsonl", fs::perms(0666));
  fs::create_directory(scratch_ / "empty");
  Options options = {.cache_dir = open,
                     .system_dirs = Dirs{scratch_ / "none", open, torn, index, scratch_ / "empty"},
                     .disable_jit = true,
                     .tuning_db = ""};
  const Error error = error_of([&] { new_store().get(kShape, options); });
  EXPECT_EQ(error.code(), ErrorCode::jit_disabled);
  EXPECT_THAT(error.what(),
              AllOf(HasSubstr("\nPassed over:\n"),
                    HasSubstr("\n  " + (scratch_ / "none") + ": is not there\n"),
                    HasSubstr("\n  " + open + ": others may write it (mode 0775)\n"),
                    HasSubstr("\n  " + CubinCache(torn).path_of(key) + ": 100 bytes, not the "),
                    HasSubstr("\n  " + index + "/built_with.json: is not a JSON object"),
                    HasSubstr("\n  " + index + "/tuning.jsonl: others may write it (mode 0666)"),
                    HasSubstr("\n  " + (scratch_ / "empty") + ": has no entry for it")));
  // The command does not name a folder that would be refused again.
  EXPECT_THAT(error.what(), HasSubstr(" --out " + (scratch_ / "none") + "\n"));

  // With JIT the same is told of the kernel that was compiled.
  options.disable_jit = false;
  const Kernel* kernel = new_store().get(kShape, options);
  EXPECT_EQ(kernel->origin(), Origin::compiled);
  EXPECT_THAT(kernel->passed_over(), Contains(open + ": others may write it (mode 0775)"));
}

TEST_F(PassedOver, WhatTheEnvironmentCannotHaveIsPassedOver) {
  setenv("MARLIN_CACHE_CAP", "1GB", 1);
  const Kernel* kernel = store_.get(kShape, cached());
  unsetenv("MARLIN_CACHE_CAP");
  EXPECT_THAT(kernel->passed_over(),
              ElementsAre(HasSubstr("MARLIN_CACHE_CAP: \"1GB\" is not a byte count"),
                          (scratch_ / "user") + ": is not there"));
  EXPECT_THAT(new_store().get(kShape, cached())->passed_over(), IsEmpty());
}

// Whatever brought the entries there, and whether or not an NVRTC is known.
TEST_F(PassedOver, EntriesAreFoundWithoutAnIndex) {
  const auto built_by = [&](const char* nvrtc, const char* dir) {
    Options options = cached();
    options.cache_dir = scratch_ / dir;
    KernelStore& store = *stores_.emplace_back(
        std::make_unique<KernelStore>([&](const KernelText& kernel, const std::string&) {
          CacheEntry entry = test::stand_in_entry(kernel);
          CubinCache(scratch_ / dir).store(entry);
          entry.meta.key.nvrtc = nvrtc;
          CubinCache(scratch_ / dir).store(entry);
          throw Error(ErrorCode::compile_failed, "enough");
          return entry;
        }));
    EXPECT_EQ(error_of([&] { store.get(kShape, options); }).code(), ErrorCode::compile_failed);
    // Only what the other NVRTC built stays.
    for (const ListedEntry& listed : CubinCache(scratch_ / dir).list()) {
      if (listed.meta->key.nvrtc != nvrtc) fs::remove((scratch_ / dir) + "/" + listed.path);
    }
  };
  const auto serves = [&](const std::string& dir) {
    const Options options = {
        .cache_dir = "", .system_dirs = Dirs{dir}, .disable_jit = true, .tuning_db = ""};
    return new_store().get(kShape, options)->origin() == Origin::system_cache;
  };
  built_by("11.9 another", "shipped");
  EXPECT_THAT(CubinCache(scratch_ / "shipped").built_with(), Contains("11.9 another"));
  EXPECT_TRUE(serves(scratch_ / "shipped"));
  fs::remove((scratch_ / "shipped") + "/built_with.json");
  EXPECT_TRUE(serves(scratch_ / "shipped"));
  // Copied into a folder whose index knows others only.
  Options options = cached();
  options.cache_dir = scratch_ / "merged";
  Problem other = kShape;
  other.shape.n *= 2;
  new_store().get(other, options);
  fs::copy((scratch_ / "shipped") + "/v1", (scratch_ / "merged") + "/v1",
           fs::copy_options::recursive | fs::copy_options::skip_existing);
  EXPECT_THAT(CubinCache(scratch_ / "merged").built_with(), Not(Contains("11.9 another")));
  EXPECT_TRUE(serves(scratch_ / "merged"));
}

TEST_F(PassedOver, ACubinTheDriverRefusesIsAMiss) {
  store_.get(kShape, cached());
  fs::copy(scratch_ / "user", scratch_ / "second", fs::copy_options::recursive);
  const Options two = {.cache_dir = "",
                       .system_dirs = Dirs{scratch_ / "user", scratch_ / "second"},
                       .disable_jit = true,
                       .tuning_db = ""};
  const int unloads = fake_cuda()->unloads;
  fake_cuda()->refused_loads = 1;
  const Kernel* kernel = new_store().get(kShape, two);
  EXPECT_EQ(kernel->origin(), Origin::system_cache);
  EXPECT_THAT(
      kernel->passed_over(),
      ElementsAre(AllOf(HasSubstr(scratch_ / "user"),
                        HasSubstr("cuLibraryLoadData: CUDA_ERROR_MADE_UP (made up by a test): the "
                                  "kernel was built for another GPU"),
                        HasSubstr("built by NVRTC "), HasSubstr("the driver is for CUDA "))));
  EXPECT_EQ(fake_cuda()->unloads, unloads);  // it was never loaded

  // Where no folder serves, the error of a process that may not compile has all reasons.
  fake_cuda()->refused_loads = 2;
  const Error error = error_of([&] { new_store().get(kShape, two); });
  EXPECT_EQ(error.code(), ErrorCode::jit_disabled);
  EXPECT_THAT(error.what(), AllOf(HasSubstr((scratch_ / "user") + "/v1/"),
                                  HasSubstr((scratch_ / "second") + "/v1/")));

  // One that may compile does, and the entry in its own cache does not stand in the way again.
  fake_cuda()->refused_loads = 1;
  const int compiles = compiles_;
  EXPECT_EQ(new_store().get(kShape, cached())->origin(), Origin::compiled);
  EXPECT_EQ(compiles_, compiles + 1);
  fake_cuda()->refused_loads = 2;
  const Error refused = error_of([&] { new_store().get(kShape, cached()); });
  EXPECT_EQ(refused.code(), ErrorCode::driver_failed);
  EXPECT_THAT(refused.what(), HasSubstr("\nPassed over:\n  " + (scratch_ / "user") + "/v1/"));
  EXPECT_EQ(compiles_, compiles + 2);

  // What is not the cubin's fault is no miss.
  fake_cuda()->load_result = CUDA_ERROR_OUT_OF_MEMORY;
  const Error full = error_of([&] { new_store().get(kShape, cached()); });
  EXPECT_EQ(full.code(), ErrorCode::driver_failed);
  EXPECT_THAT(full.what(), HasSubstr("free device memory"));
  EXPECT_EQ(compiles_, compiles + 2);
}

TEST_F(PassedOver, ALaunchThatFailsSaysWhatWasAskedFor) {
  const Kernel* kernel = store_.get(kShape, in_memory());
  fake_cuda()->launch_result = CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE;
  const Error error = error_of([&] { kernel->launch(nullptr, sound_args(), 16); });
  EXPECT_EQ(error.code(), ErrorCode::driver_failed);
  EXPECT_THAT(error.what(),
              AllOf(HasSubstr("cuLaunchKernelEx of " + kernel->plan().launch.entry + ", "),
                    HasSubstr(" blocks of "),
                    HasSubstr("the context has fewer SMs than the kernel is written for")));
}

}  // namespace
}  // namespace marlin
