// libcuda's file name -> a table of its functions.
// Entry point: driver.
#include "runtime/driver/driver.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include "codegen/base/error.h"

namespace marlin {
namespace {

[[noreturn]] void too_old(const std::string& library, const char* lacking) {
  throw Error(
      ErrorCode::no_driver,
      fmt::format("{} has no {}: a driver for CUDA 12.0 or newer (525 or newer on Linux) is "
                  "needed",
                  library, lacking));
}

// cuInit's failure comes before check() can ask the driver for names.
void initialise(const Driver& driver, const std::string& library) {
  const CUresult result = driver.cuInit(0);
  if (result == CUDA_SUCCESS) return;
  const char* name = nullptr;
  driver.cuGetErrorName(result, &name);
  const std::string what =
      fmt::format("cuInit of {}: {}", library, name != nullptr ? name : std::to_string(result));
  if (result == CUDA_ERROR_NO_DEVICE) throw Error(ErrorCode::no_device, what);
  throw Error(ErrorCode::no_driver, what);
}

}  // namespace

Driver open_driver(const std::string& library) {
  void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    throw Error(ErrorCode::no_driver,
                fmt::format("the CUDA driver cannot be opened: {}", dlerror()));
  }
  const auto find =
      reinterpret_cast<PFN_cuGetProcAddress_v12000>(dlsym(handle, "cuGetProcAddress_v2"));
  if (find == nullptr) too_old(library, "cuGetProcAddress_v2");

  Driver driver;
#define MARLIN_RESOLVE(name, version)                                                \
  {                                                                                  \
    void* function = nullptr;                                                        \
    const CUresult result =                                                          \
        find(#name, &function, version, CU_GET_PROC_ADDRESS_LEGACY_STREAM, nullptr); \
    if (result != CUDA_SUCCESS || function == nullptr) too_old(library, #name);      \
    driver.name = reinterpret_cast<PFN_##name##_v##version>(function);               \
  }
  MARLIN_DRIVER_FUNCTIONS(MARLIN_RESOLVE)
#undef MARLIN_RESOLVE
  initialise(driver, library);
  driver.cuDriverGetVersion(&driver.version);
  return driver;
}

const Driver& driver() {
  static const Driver table = open_driver("libcuda.so.1");
  return table;
}

void check(CUresult result, const char* what) {
  if (result == CUDA_SUCCESS) return;
  const char* name = nullptr;
  const char* text = nullptr;
  driver().cuGetErrorName(result, &name);
  driver().cuGetErrorString(result, &text);
  throw Error(ErrorCode::driver_failed,
              fmt::format("{}: {} ({})", what, name != nullptr ? name : std::to_string(result),
                          text != nullptr ? text : "no text"));
}

bool gpu_available() noexcept {
  try {
    int count = 0;
    return driver().cuDeviceGetCount(&count) == CUDA_SUCCESS && count > 0;
  } catch (const std::exception&) {
    return false;
  }
}

bool is_capturing(CUstream stream) {
  CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
  const CUresult result = driver().cuStreamIsCapturing(stream, &status);
  // What the legacy stream answers while some blocking stream of the context is captured.
  if (result == CUDA_ERROR_STREAM_CAPTURE_IMPLICIT) return true;
  check(result, "cuStreamIsCapturing");
  return status != CU_STREAM_CAPTURE_STATUS_NONE;
}

RelaxedCapture::RelaxedCapture() {
  check(driver().cuThreadExchangeStreamCaptureMode(&previous_),
        "cuThreadExchangeStreamCaptureMode");
}

RelaxedCapture::~RelaxedCapture() { driver().cuThreadExchangeStreamCaptureMode(&previous_); }

}  // namespace marlin
