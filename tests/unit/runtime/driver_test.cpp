// Opening libcuda: what is missing, old or broken gives an error that says so.
// Entry point: the tests of suite DriverTest.
#include "runtime/driver/driver.h"

#include <gtest/gtest.h>

#include <string>

#include "codegen/base/error.h"
#include "runtime/driver/device.h"
#include "tests/stubs/fake_cuda.h"

namespace marlin {
namespace {

class DriverTest : public testing::Test {
 protected:
  void TearDown() override {
    fake_cuda()->init_result = CUDA_SUCCESS;
    fake_cuda()->lacking = nullptr;
    fake_cuda()->has_context = true;
  }
};

// The code and the text of what opening this library throws.
std::pair<ErrorCode, std::string> refusal(const std::string& library) {
  try {
    open_driver(library);
  } catch (const Error& error) {
    return {error.code(), error.what()};
  }
  return {ErrorCode::io, "it was opened"};
}

TEST_F(DriverTest, ASoundDriverIsOpened) {
  const Driver driver = open_driver(FAKE_CUDA);
  EXPECT_EQ(driver.version, 12080);
  EXPECT_NE(driver.cuMemAlloc, nullptr);
}

TEST_F(DriverTest, AMissingLibraryIsNamed) {
  const auto [code, text] = refusal("libcuda-that-is-not-there.so.1");
  EXPECT_EQ(code, ErrorCode::no_driver);
  EXPECT_NE(text.find("libcuda-that-is-not-there.so.1"), std::string::npos) << text;
}

TEST_F(DriverTest, AnOldDriverIsRefusedWithWhatIsNeeded) {
  const auto [code, text] = refusal(OLD_CUDA);
  EXPECT_EQ(code, ErrorCode::no_driver);
  EXPECT_NE(text.find("has no cuGetProcAddress_v2"), std::string::npos) << text;
  EXPECT_NE(text.find("CUDA 12.0 or newer"), std::string::npos) << text;
}

TEST_F(DriverTest, ALackingFunctionIsNamed) {
  fake_cuda()->lacking = "cuLibraryLoadData";
  const auto [code, text] = refusal(FAKE_CUDA);
  EXPECT_EQ(code, ErrorCode::no_driver);
  EXPECT_NE(text.find("has no cuLibraryLoadData"), std::string::npos) << text;
}

TEST_F(DriverTest, NoGpuIsTheDevicesFault) {
  fake_cuda()->init_result = CUDA_ERROR_NO_DEVICE;
  EXPECT_EQ(refusal(FAKE_CUDA).first, ErrorCode::no_device);
  fake_cuda()->init_result = CUDA_ERROR_SYSTEM_DRIVER_MISMATCH;
  EXPECT_EQ(refusal(FAKE_CUDA).first, ErrorCode::no_driver);
}

TEST_F(DriverTest, CheckNamesCallErrorAndText) {
  EXPECT_NO_THROW(check(CUDA_SUCCESS, "cuMemAlloc"));
  try {
    check(CUDA_ERROR_OUT_OF_MEMORY, "cuMemAlloc");
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::driver_failed);
    EXPECT_STREQ(error.what(),
                 "cuMemAlloc: CUDA_ERROR_MADE_UP (made up by a test): free device memory");
  }
}

TEST_F(DriverTest, ADeviceIsATarget) {
  EXPECT_TRUE(gpu_available());
  EXPECT_EQ(target_of_current_context().target, (Target{"sm_90a", 132}));
  EXPECT_EQ(device_name(0), "Fake GPU");
}

TEST_F(DriverTest, WithoutAContextTheErrorSaysWhatToDo) {
  fake_cuda()->has_context = false;
  try {
    current_device();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::no_device);
    EXPECT_NE(std::string(error.what()).find("cudaFree(nullptr)"), std::string::npos);
  }
}

}  // namespace
}  // namespace marlin
