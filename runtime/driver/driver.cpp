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

// What the caller can do about it, where the driver's own text does not say.
std::string_view advice(CUresult result) {
  switch (result) {
    case CUDA_ERROR_OUT_OF_MEMORY: return "free device memory";
    case CUDA_ERROR_NO_BINARY_FOR_GPU:
    case CUDA_ERROR_INVALID_IMAGE:
      return "the kernel was built for another GPU or by an NVRTC newer than the driver: build it "
             "on this machine, or update the driver";
    case CUDA_ERROR_UNSUPPORTED_PTX_VERSION:
      return "the NVRTC is newer than the driver: update the driver, or name an older NVRTC in "
             "MARLIN_NVRTC";
    case CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE:
      return "the context has fewer SMs than the kernel is written for: get the kernel with that "
             "context current, or give Options::target its SM count";
    case CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES:
      return "other work in the context limits shared memory or registers";
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case CUDA_ERROR_MISALIGNED_ADDRESS:
    case CUDA_ERROR_LAUNCH_FAILED:
      return "an earlier launch, of any kernel, has broken the context: run under "
             "compute-sanitizer to find it";
    case CUDA_ERROR_SYSTEM_DRIVER_MISMATCH:
      return "libcuda and the kernel module are of different versions: reboot, or reload the "
             "module";
    case CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE:
      return "the forward compatibility libcuda does not support this GPU: take it out of "
             "LD_LIBRARY_PATH";
    case CUDA_ERROR_NO_DEVICE:
      return "no GPU is visible: see nvidia-smi, CUDA_VISIBLE_DEVICES, and in a container its "
             "--gpus";
    default: return {};
  }
}

std::string text_of(const Driver& driver, CUresult result, std::string_view what) {
  const char* name = nullptr;
  const char* text = nullptr;
  driver.cuGetErrorName(result, &name);
  driver.cuGetErrorString(result, &text);
  const std::string_view can_do = advice(result);
  return fmt::format("{}: {} ({}){}{}", what, name != nullptr ? name : std::to_string(result),
                     text != nullptr ? text : "no text", can_do.empty() ? "" : ": ", can_do);
}

std::string text_of(CUresult result, const char* what) { return text_of(driver(), result, what); }

// cuInit's failure comes before check() can ask the process's driver for names.
void initialise(const Driver& driver, const std::string& library) {
  const CUresult result = driver.cuInit(0);
  if (result == CUDA_SUCCESS) return;
  const ErrorCode code =
      result == CUDA_ERROR_NO_DEVICE ? ErrorCode::no_device : ErrorCode::no_driver;
  throw Error(code, text_of(driver, result, fmt::format("cuInit of {}", library)));
}

}  // namespace

Driver open_driver(const std::string& library) {
  void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    throw Error(ErrorCode::no_driver,
                fmt::format("the CUDA driver cannot be opened: {}: it comes with the GPU's driver, "
                            "and into a container by its --gpus",
                            dlerror()));
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
#define MARLIN_RESOLVE(name, version)                                            \
  {                                                                              \
    void* function = nullptr;                                                    \
    find(#name, &function, version, CU_GET_PROC_ADDRESS_LEGACY_STREAM, nullptr); \
    driver.name = reinterpret_cast<PFN_##name##_v##version>(function);           \
  }
  MARLIN_OPTIONAL_DRIVER_FUNCTIONS(MARLIN_RESOLVE)
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
  if (result != CUDA_SUCCESS) throw Error(ErrorCode::driver_failed, text_of(result, what));
}

void check_cubin(CUresult result, const char* what) {
  switch (result) {
    case CUDA_ERROR_INVALID_IMAGE:
    case CUDA_ERROR_NO_BINARY_FOR_GPU:
    case CUDA_ERROR_INVALID_SOURCE:
    case CUDA_ERROR_INVALID_PTX:
    case CUDA_ERROR_UNSUPPORTED_PTX_VERSION:
    case CUDA_ERROR_JIT_COMPILER_NOT_FOUND:
    case CUDA_ERROR_JIT_COMPILATION_DISABLED:
    case CUDA_ERROR_NOT_FOUND:  // the kernel, in a library that was loaded
      throw RefusedCubin(ErrorCode::driver_failed, text_of(result, what));
    default: check(result, what);
  }
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

bool capture_under_way(CUstream stream) {
  return is_capturing(nullptr) || (stream != nullptr && is_capturing(stream));
}

RelaxedCapture::RelaxedCapture() {
  check(driver().cuThreadExchangeStreamCaptureMode(&previous_),
        "cuThreadExchangeStreamCaptureMode");
}

RelaxedCapture::~RelaxedCapture() { driver().cuThreadExchangeStreamCaptureMode(&previous_); }

}  // namespace marlin
