// Calls of the CUDA driver -> records of them in FakeCuda.
// Entry points: fake_cuda, cuGetProcAddress_v2.
#include "tests/stubs/fake_cuda.h"

#include <cstring>
#include <map>
#include <string>
#include <utility>

using marlin::test::FakeCuda;

namespace {

thread_local CUstreamCaptureMode capture_mode = CU_STREAM_CAPTURE_MODE_GLOBAL;

struct Library {
  std::string entry;
};

void note_unsafe() {
  if (capture_mode != CU_STREAM_CAPTURE_MODE_RELAXED) ++fake_cuda()->unrelaxed;
}

CUresult init(unsigned) { return fake_cuda()->init_result; }

CUresult driver_version(int* version) {
  *version = 12080;
  return CUDA_SUCCESS;
}

CUresult error_name(CUresult, const char** name) {
  *name = "CUDA_ERROR_MADE_UP";
  return CUDA_SUCCESS;
}

CUresult error_string(CUresult, const char** text) {
  *text = "made up by a test";
  return CUDA_SUCCESS;
}

CUresult device_count(int* count) {
  *count = 1;
  return CUDA_SUCCESS;
}

CUresult device_name(char* name, int size, CUdevice) {
  std::strncpy(name, "Fake GPU", static_cast<std::size_t>(size));
  return CUDA_SUCCESS;
}

CUresult device_attribute(int* value, CUdevice_attribute which, CUdevice) {
  switch (which) {
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: *value = fake_cuda()->cc_major; break;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: *value = fake_cuda()->cc_minor; break;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: *value = fake_cuda()->sms; break;
    default: return CUDA_ERROR_NOT_SUPPORTED;
  }
  return CUDA_SUCCESS;
}

CUresult current_device(CUdevice* device) {
  if (!fake_cuda()->has_context) return CUDA_ERROR_INVALID_CONTEXT;
  *device = 0;
  return CUDA_SUCCESS;
}

CUresult exchange_capture_mode(CUstreamCaptureMode* mode) {
  std::swap(*mode, capture_mode);
  return CUDA_SUCCESS;
}

CUresult is_capturing(CUstream stream, CUstreamCaptureStatus* status) {
  if (stream == nullptr && fake_cuda()->blocking_capture) {
    return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
  }
  *status = stream != nullptr && stream == fake_cuda()->captured_stream
                ? CU_STREAM_CAPTURE_STATUS_ACTIVE
                : CU_STREAM_CAPTURE_STATUS_NONE;
  return CUDA_SUCCESS;
}

CUresult load(CUlibrary* library, const void*, CUjit_option*, void**, unsigned, CUlibraryOption*,
              void**, unsigned) {
  note_unsafe();
  if (fake_cuda()->load_result != CUDA_SUCCESS) return fake_cuda()->load_result;
  ++fake_cuda()->loads;
  *library = reinterpret_cast<CUlibrary>(new Library);
  return CUDA_SUCCESS;
}

CUresult unload(CUlibrary library) {
  ++fake_cuda()->unloads;
  delete reinterpret_cast<Library*>(library);
  return CUDA_SUCCESS;
}

CUresult get_kernel(CUkernel* kernel, CUlibrary library, const char* name) {
  if (fake_cuda()->kernel_result != CUDA_SUCCESS) return fake_cuda()->kernel_result;
  reinterpret_cast<Library*>(library)->entry = name;
  *kernel = reinterpret_cast<CUkernel>(library);
  return CUDA_SUCCESS;
}

CUresult get_function(CUfunction* function, CUkernel kernel) {
  note_unsafe();
  *function = reinterpret_cast<CUfunction>(kernel);
  return CUDA_SUCCESS;
}

CUresult set_attribute(CUfunction_attribute which, int value, CUkernel, CUdevice) {
  if (which == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) fake_cuda()->shared_bytes = value;
  return CUDA_SUCCESS;
}

CUresult launch(const CUlaunchConfig* config, CUfunction function, void** params, void**) {
  if (fake_cuda()->launch_result != CUDA_SUCCESS) return fake_cuda()->launch_result;
  const std::lock_guard lock(fake_cuda()->mutex);
  ++fake_cuda()->launches;
  marlin::test::FakeLaunch& last = fake_cuda()->last;
  last.config = *config;
  for (int i = 0; i < 5; ++i) last.pointers[i] = *static_cast<void**>(params[i]);
  last.m = *static_cast<int*>(params[5]);
  last.entry = reinterpret_cast<Library*>(function)->entry;
  return CUDA_SUCCESS;
}

CUresult unsupported() { return CUDA_ERROR_NOT_SUPPORTED; }

template <typename Function>
void* pointer(Function function) {
  return reinterpret_cast<void*>(function);
}

}  // namespace

extern "C" {

FakeCuda* fake_cuda() {
  static auto& state = *new FakeCuda;
  return &state;
}

CUresult cuGetProcAddress_v2(const char* symbol, void** function, int, cuuint64_t,
                             CUdriverProcAddressQueryResult*) {
  static const auto& functions = *new std::map<std::string, void*>{
      {"cuInit", pointer(init)},
      {"cuDriverGetVersion", pointer(driver_version)},
      {"cuGetErrorName", pointer(error_name)},
      {"cuGetErrorString", pointer(error_string)},
      {"cuDeviceGetCount", pointer(device_count)},
      {"cuDeviceGetName", pointer(device_name)},
      {"cuDeviceGetAttribute", pointer(device_attribute)},
      {"cuCtxGetDevice", pointer(current_device)},
      {"cuThreadExchangeStreamCaptureMode", pointer(exchange_capture_mode)},
      {"cuStreamIsCapturing", pointer(is_capturing)},
      {"cuLibraryLoadData", pointer(load)},
      {"cuLibraryUnload", pointer(unload)},
      {"cuLibraryGetKernel", pointer(get_kernel)},
      {"cuKernelGetFunction", pointer(get_function)},
      {"cuKernelSetAttribute", pointer(set_attribute)},
      {"cuLaunchKernelEx", pointer(launch)},
  };
  const char* lacking = fake_cuda()->lacking;
  if (lacking != nullptr && std::string(lacking) == symbol) return CUDA_ERROR_NOT_FOUND;
  const auto found = functions.find(symbol);
  *function = found != functions.end() ? found->second : pointer(unsupported);
  return CUDA_SUCCESS;
}

}  // extern "C"
