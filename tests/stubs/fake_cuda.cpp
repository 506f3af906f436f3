// Calls of the CUDA driver -> records of them in FakeCuda.
// Entry points: fake_cuda, cuGetProcAddress_v2.
#include "tests/stubs/fake_cuda.h"

#include <atomic>
#include <cstring>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "tests/stubs/driver_functions.h"

using marlin::test::DriverFunctions;
using marlin::test::FakeCuda;
using marlin::test::find_function;
using marlin::test::pointer;

namespace {

thread_local CUstreamCaptureMode capture_mode = CU_STREAM_CAPTURE_MODE_GLOBAL;

thread_local std::optional<CUcontext> context_set;

struct Library {
  std::string entry;
  std::set<CUcontext> loaded;
};

CUcontext context_now() {
  if (!fake_cuda()->has_context) return nullptr;
  return context_set.value_or(marlin::test::fake_context(0));
}

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

CUresult get_device(CUdevice* device, int ordinal) {
  *device = ordinal;
  return ordinal == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

CUresult retain_context(CUcontext* context, CUdevice device) {
  *context = marlin::test::fake_context(device);
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

CUresult current_context(CUcontext* context) {
  *context = context_now();
  return CUDA_SUCCESS;
}

CUresult set_context(CUcontext context) {
  context_set = context;
  return CUDA_SUCCESS;
}

CUresult context_id(CUcontext context, unsigned long long* id) {
  *id = reinterpret_cast<std::uintptr_t>(context);
  return CUDA_SUCCESS;
}

CUresult current_device(CUdevice* device) {
  if (context_now() == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
  *device = static_cast<int>(reinterpret_cast<std::uintptr_t>(context_now()) >> 8 & 0xff);
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
  if (fake_cuda()->refused_loads > 0) {
    --fake_cuda()->refused_loads;
    return CUDA_ERROR_NO_BINARY_FOR_GPU;
  }
  ++fake_cuda()->loads;
  const std::lock_guard lock(fake_cuda()->mutex);
  fake_cuda()->load_contexts.push_back(context_now());
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
  const std::lock_guard lock(fake_cuda()->mutex);
  reinterpret_cast<Library*>(kernel)->loaded.insert(context_now());
  *function = reinterpret_cast<CUfunction>(kernel);
  return CUDA_SUCCESS;
}

CUresult set_attribute(CUfunction_attribute which, int value, CUkernel, CUdevice) {
  if (which == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) fake_cuda()->shared_bytes = value;
  return CUDA_SUCCESS;
}

// The map holds the pointer that it was made for.
CUresult encode_map(CUtensorMap* map, CUtensorMapDataType, cuuint32_t, void* base,
                    const cuuint64_t* sizes, const cuuint64_t* pitch, const cuuint32_t* box,
                    const cuuint32_t*, CUtensorMapInterleave, CUtensorMapSwizzle,
                    CUtensorMapL2promotion, CUtensorMapFloatOOBfill) {
  std::memcpy(map, &base, sizeof(base));
  const std::lock_guard lock(fake_cuda()->mutex);
  fake_cuda()->maps.push_back({sizes[0], sizes[1], pitch[0], box[0], box[1]});
  return CUDA_SUCCESS;
}

CUresult launch(const CUlaunchConfig* config, CUfunction function, void** params, void**) {
  if (fake_cuda()->launch_result != CUDA_SUCCESS) return fake_cuda()->launch_result;
  const std::lock_guard lock(fake_cuda()->mutex);
  ++fake_cuda()->launches;
  marlin::test::FakeLaunch& last = fake_cuda()->last;
  last.config = *config;
  const Library& library = *reinterpret_cast<Library*>(function);
  last.entry = library.entry;
  last.kernel = &library;
  // Of a, b, scales, c, workspace and m among the arguments; tensor maps begin with their pointers.
  constexpr int kPlain[] = {0, 1, 2, 3, 4, 5}, kMaps[] = {0, 1, 3, 2, 4, 5};
  const auto is_of = [&](const char* family) { return last.entry.rfind(family, 0) == 0; };
  const int* const places = is_of("marlin_wgmma") ? kMaps : kPlain;
  if (is_of("marlin_wgmma") || is_of("marlin_stripe") || is_of("marlin_decode")) {
    for (int i = 0; i < 5; ++i) last.pointers[i] = *static_cast<void**>(params[places[i]]);
    last.m = *static_cast<int*>(params[places[5]]);
  }
  last.context = context_now();
  last.was_loaded = library.loaded.count(last.context) > 0;
  fake_cuda()->log.push_back(last);
  return CUDA_SUCCESS;
}

CUresult allocate(CUdeviceptr* address, std::size_t bytes) {
  note_unsafe();
  if (fake_cuda()->alloc_result != CUDA_SUCCESS) return fake_cuda()->alloc_result;
  const std::lock_guard lock(fake_cuda()->mutex);
  *address = CUdeviceptr{0x100} * static_cast<unsigned>(++fake_cuda()->allocations);
  fake_cuda()->memory[*address] = {bytes, context_now(), nullptr, false};
  return CUDA_SUCCESS;
}

CUresult release(CUdeviceptr address) {
  note_unsafe();
  const std::lock_guard lock(fake_cuda()->mutex);
  return fake_cuda()->memory.erase(address) == 1 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult create_stream(CUstream* stream, unsigned flags) {
  if (flags != CU_STREAM_NON_BLOCKING) return CUDA_ERROR_NOT_SUPPORTED;
  ++fake_cuda()->streams;
  *stream = reinterpret_cast<CUstream>(new char);
  return CUDA_SUCCESS;
}

CUresult destroy_stream(CUstream stream) {
  --fake_cuda()->streams;
  delete reinterpret_cast<char*>(stream);
  return CUDA_SUCCESS;
}

void note_spoilt(CUstream stream) {
  if (stream == nullptr || stream == fake_cuda()->captured_stream) ++fake_cuda()->spoilt;
}

CUresult set_bytes(CUdeviceptr address, unsigned char value, std::size_t bytes, CUstream stream) {
  note_spoilt(stream);
  if (fake_cuda()->memset_result != CUDA_SUCCESS) return fake_cuda()->memset_result;
  const std::lock_guard lock(fake_cuda()->mutex);
  const auto found = fake_cuda()->memory.find(address);
  if (found == fake_cuda()->memory.end()) return CUDA_ERROR_INVALID_VALUE;
  if (value == 0 && bytes == found->second.bytes) found->second.zeroed_on = stream;
  return CUDA_SUCCESS;
}

CUresult set_words(CUdeviceptr, unsigned short, std::size_t, CUstream stream) {
  note_spoilt(stream);
  return CUDA_SUCCESS;
}

CUresult copy_on_device(CUdeviceptr, CUdeviceptr, std::size_t, CUstream stream) {
  note_spoilt(stream);
  return CUDA_SUCCESS;
}

// All of its memory is zero, whatever was launched.
CUresult copy_to_host(void* to, CUdeviceptr, std::size_t bytes, CUstream stream) {
  note_spoilt(stream);
  std::memset(to, 0, bytes);
  return CUDA_SUCCESS;
}

// All work is done when it is enqueued.
CUresult query_stream(CUstream) { return CUDA_SUCCESS; }

CUresult stream_id(CUstream stream, unsigned long long* id) {
  static std::atomic<unsigned long long> threads{0};
  static thread_local const unsigned long long thread = ++threads;
  const std::lock_guard lock(fake_cuda()->mutex);
  const auto found = fake_cuda()->stream_ids.find(stream);
  *id = found != fake_cuda()->stream_ids.end() ? found->second
        : stream == CU_STREAM_PER_THREAD       ? 0xf000000000000000u + thread
                                               : reinterpret_cast<std::uintptr_t>(stream);
  return CUDA_SUCCESS;
}

CUresult capture_info(CUstream stream, CUstreamCaptureStatus* status, cuuint64_t* id,
                      CUgraph* graph, const CUgraphNode**, std::size_t*) {
  if (stream == nullptr || stream != fake_cuda()->captured_stream) return CUDA_ERROR_NOT_SUPPORTED;
  *status = CU_STREAM_CAPTURE_STATUS_ACTIVE;
  *id = fake_cuda()->capture_id;
  *graph = reinterpret_cast<CUgraph>(std::uintptr_t{fake_cuda()->capture_id});
  return CUDA_SUCCESS;
}

CUresult create_user_object(CUuserObject* object, void* what, CUhostFn destroy, unsigned,
                            unsigned) {
  const std::lock_guard lock(fake_cuda()->mutex);
  fake_cuda()->user_objects.push_back({what, destroy, nullptr});
  *object = reinterpret_cast<CUuserObject>(fake_cuda()->user_objects.size());
  return CUDA_SUCCESS;
}

CUresult retain_user_object(CUgraph graph, CUuserObject object, unsigned, unsigned flags) {
  if (flags != CU_GRAPH_USER_OBJECT_MOVE) return CUDA_ERROR_NOT_SUPPORTED;
  const std::lock_guard lock(fake_cuda()->mutex);
  fake_cuda()->user_objects.at(reinterpret_cast<std::uintptr_t>(object) - 1).graph = graph;
  return CUDA_SUCCESS;
}

CUresult create_event(CUevent* event, unsigned) {
  static std::atomic<std::uintptr_t> events{0};
  *event = reinterpret_cast<CUevent>(++events);
  return CUDA_SUCCESS;
}

CUresult note_event(CUevent event, CUstream stream, bool wait) {
  if (stream != nullptr && stream == fake_cuda()->captured_stream) ++fake_cuda()->spoilt;
  const std::lock_guard lock(fake_cuda()->mutex);
  fake_cuda()->events.push_back({event, stream, wait});
  return CUDA_SUCCESS;
}
CUresult record_event(CUevent event, CUstream stream) { return note_event(event, stream, false); }
CUresult wait_event(CUstream stream, CUevent event, unsigned) {
  return note_event(event, stream, true);
}

#if CUDA_VERSION >= 12040
CUresult context_resource(CUcontext context, CUdevResource* resource, CUdevResourceType) {
  const std::lock_guard lock(fake_cuda()->mutex);
  const auto found = fake_cuda()->context_sms.find(context);
  resource->sm.smCount = static_cast<unsigned>(
      found != fake_cuda()->context_sms.end() ? found->second : fake_cuda()->sms.load());
  return CUDA_SUCCESS;
}
#endif

CUresult synchronize(CUstream stream) {
  if (stream == nullptr || stream == fake_cuda()->captured_stream) ++fake_cuda()->spoilt;
  const std::lock_guard lock(fake_cuda()->mutex);
  for (auto& [address, memory] : fake_cuda()->memory) {
    if (memory.zeroed_on == stream) memory.zeroed = true;
  }
  return CUDA_SUCCESS;
}

}  // namespace

extern "C" {

FakeCuda* fake_cuda() {
  static auto& state = *new FakeCuda;
  return &state;
}

CUresult cuGetProcAddress_v2(const char* symbol, void** function, int, cuuint64_t,
                             CUdriverProcAddressQueryResult*) {
  static const auto& functions = *new DriverFunctions {
    {"cuInit", pointer(init)}, {"cuDriverGetVersion", pointer(driver_version)},
        {"cuGetErrorName", pointer(error_name)}, {"cuGetErrorString", pointer(error_string)},
        {"cuDeviceGetCount", pointer(device_count)}, {"cuDeviceGet", pointer(get_device)},
        {"cuDevicePrimaryCtxRetain", pointer(retain_context)},
        {"cuDeviceGetName", pointer(device_name)},
        {"cuDeviceGetAttribute", pointer(device_attribute)},
        {"cuCtxGetDevice", pointer(current_device)}, {"cuCtxGetCurrent", pointer(current_context)},
        {"cuCtxSetCurrent", pointer(set_context)}, {"cuCtxGetId", pointer(context_id)},
        {"cuMemAlloc", pointer(allocate)}, {"cuMemFree", pointer(release)},
        {"cuStreamCreate", pointer(create_stream)}, {"cuStreamDestroy", pointer(destroy_stream)},
        {"cuMemsetD8Async", pointer(set_bytes)}, {"cuMemsetD16Async", pointer(set_words)},
        {"cuMemcpyDtoDAsync", pointer(copy_on_device)},
        {"cuMemcpyDtoHAsync", pointer(copy_to_host)}, {"cuStreamQuery", pointer(query_stream)},
        {"cuStreamSynchronize", pointer(synchronize)},
        {"cuThreadExchangeStreamCaptureMode", pointer(exchange_capture_mode)},
        {"cuStreamIsCapturing", pointer(is_capturing)},
        {"cuStreamGetCaptureInfo", pointer(capture_info)}, {"cuStreamGetId", pointer(stream_id)},
        {"cuUserObjectCreate", pointer(create_user_object)},
        {"cuGraphRetainUserObject", pointer(retain_user_object)},
        {"cuEventCreate", pointer(create_event)}, {"cuEventRecord", pointer(record_event)},
        {"cuStreamWaitEvent", pointer(wait_event)},
#if CUDA_VERSION >= 12040
        {"cuCtxGetDevResource", pointer(context_resource)},
#endif
        {"cuLibraryLoadData", pointer(load)}, {"cuLibraryUnload", pointer(unload)},
        {"cuLibraryGetKernel", pointer(get_kernel)}, {"cuKernelGetFunction", pointer(get_function)},
        {"cuKernelSetAttribute", pointer(set_attribute)}, {"cuLaunchKernelEx", pointer(launch)},
        {"cuTensorMapEncodeTiled", pointer(encode_map)},
  };
  const char* lacking = fake_cuda()->lacking;
  if (lacking != nullptr && std::string(lacking) == symbol) return CUDA_ERROR_NOT_FOUND;
  *function = find_function(functions, symbol);
  return CUDA_SUCCESS;
}

}  // extern "C"
