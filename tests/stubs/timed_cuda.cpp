// Streams, events and graphs of the CUDA driver -> the time they would show on TimedCuda's clock.
// Entry points: timed_cuda, cuGetProcAddress_v2.
#include "tests/stubs/timed_cuda.h"

#include <cuda.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "tests/stubs/driver_functions.h"

using marlin::test::DriverFunctions;
using marlin::test::find_function;
using marlin::test::pointer;
using marlin::test::TimedCuda;

namespace {

using Kernels = std::vector<int>;

std::optional<Kernels> captured;

void run(const Kernels& kernels, bool graph) {
  TimedCuda& cuda = *timed_cuda();
  for (const int kernel : kernels) cuda.now_us += cuda.cost(kernel, cuda.now_us);
  const int first = kernels.front();
  const auto others = std::count_if(kernels.begin(), kernels.end(),
                                    [first](int kernel) { return kernel != first; });
  cuda.log.push_back({others == 0 ? first : -1, static_cast<int>(kernels.size()), graph});
}

void launch_kernel(int kernel) {
  if (captured) {
    captured->push_back(kernel);
  } else {
    run({kernel}, false);
  }
}

CUresult init(unsigned) { return CUDA_SUCCESS; }

CUresult driver_version(int* version) {
  *version = 12080;
  return CUDA_SUCCESS;
}

CUresult error_text(CUresult, const char** text) {
  *text = "made up by a test";
  return CUDA_SUCCESS;
}

CUresult device_count(int* count) {
  *count = 2;
  return CUDA_SUCCESS;
}

CUresult get_device(CUdevice* device, int ordinal) {
  *device = ordinal;
  return CUDA_SUCCESS;
}

CUresult device_name(char* name, int size, CUdevice device) {
  std::strncpy(name, device == 0 ? "First GPU" : "Second GPU", static_cast<std::size_t>(size));
  return CUDA_SUCCESS;
}

CUresult device_attribute(int* value, CUdevice_attribute which, CUdevice device) {
  switch (which) {
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: *value = 8; break;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: *value = 0; break;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: *value = 108 + device; break;
    default: return CUDA_ERROR_NOT_SUPPORTED;
  }
  return CUDA_SUCCESS;
}

CUresult retain_context(CUcontext* context, CUdevice) {
  *context = reinterpret_cast<CUcontext>(std::uintptr_t{0xC0000});
  return CUDA_SUCCESS;
}

CUresult set_context(CUcontext) { return CUDA_SUCCESS; }

CUresult create_stream(CUstream* stream, unsigned) {
  ++timed_cuda()->live_streams;
  *stream = reinterpret_cast<CUstream>(std::uintptr_t{0x57000});
  return CUDA_SUCCESS;
}

CUresult destroy_stream(CUstream) {
  --timed_cuda()->live_streams;
  return CUDA_SUCCESS;
}

CUresult query_stream(CUstream) { return CUDA_SUCCESS; }

CUresult begin_capture(CUstream, CUstreamCaptureMode) {
  captured.emplace();
  return CUDA_SUCCESS;
}

CUresult end_capture(CUstream, CUgraph* graph) {
  *graph = reinterpret_cast<CUgraph>(new Kernels(*captured));
  captured.reset();
  return CUDA_SUCCESS;
}

CUresult instantiate(CUgraphExec* exec, CUgraph graph, unsigned long long) {
  ++timed_cuda()->live_graphs;
  *exec = reinterpret_cast<CUgraphExec>(new Kernels(*reinterpret_cast<Kernels*>(graph)));
  return CUDA_SUCCESS;
}

CUresult destroy_graph(CUgraph graph) {
  delete reinterpret_cast<Kernels*>(graph);
  return CUDA_SUCCESS;
}

CUresult launch_graph(CUgraphExec exec, CUstream) {
  run(*reinterpret_cast<Kernels*>(exec), true);
  return CUDA_SUCCESS;
}

CUresult destroy_exec(CUgraphExec exec) {
  --timed_cuda()->live_graphs;
  delete reinterpret_cast<Kernels*>(exec);
  return CUDA_SUCCESS;
}

CUresult create_event(CUevent* event, unsigned) {
  ++timed_cuda()->live_events;
  *event = reinterpret_cast<CUevent>(new double(-1));
  return CUDA_SUCCESS;
}

CUresult destroy_event(CUevent event) {
  --timed_cuda()->live_events;
  delete reinterpret_cast<double*>(event);
  return CUDA_SUCCESS;
}

CUresult record_event(CUevent event, CUstream) {
  *reinterpret_cast<double*>(event) = timed_cuda()->now_us;
  return CUDA_SUCCESS;
}

CUresult elapsed_time(float* milliseconds, CUevent begin, CUevent end) {
  const double begin_us = *reinterpret_cast<double*>(begin);
  const double end_us = *reinterpret_cast<double*>(end);
  if (begin_us < 0 || end_us < 0) return CUDA_ERROR_INVALID_HANDLE;
  *milliseconds = static_cast<float>((end_us - begin_us) / 1e3);
  return CUDA_SUCCESS;
}

}  // namespace

extern "C" {

TimedCuda* timed_cuda() {
  static auto& state = *new TimedCuda{.cost = {}, .log = {}, .launch = launch_kernel};
  return &state;
}

CUresult cuGetProcAddress_v2(const char* symbol, void** function, int, cuuint64_t,
                             CUdriverProcAddressQueryResult*) {
  static const auto& functions = *new DriverFunctions{
      {"cuInit", pointer(init)},
      {"cuDriverGetVersion", pointer(driver_version)},
      {"cuGetErrorName", pointer(error_text)},
      {"cuGetErrorString", pointer(error_text)},
      {"cuDeviceGetCount", pointer(device_count)},
      {"cuDeviceGet", pointer(get_device)},
      {"cuDeviceGetName", pointer(device_name)},
      {"cuDeviceGetAttribute", pointer(device_attribute)},
      {"cuDevicePrimaryCtxRetain", pointer(retain_context)},
      {"cuCtxSetCurrent", pointer(set_context)},
      {"cuStreamCreate", pointer(create_stream)},
      {"cuStreamDestroy", pointer(destroy_stream)},
      {"cuStreamQuery", pointer(query_stream)},
      {"cuStreamBeginCapture", pointer(begin_capture)},
      {"cuStreamEndCapture", pointer(end_capture)},
      {"cuGraphInstantiateWithFlags", pointer(instantiate)},
      {"cuGraphDestroy", pointer(destroy_graph)},
      {"cuGraphLaunch", pointer(launch_graph)},
      {"cuGraphExecDestroy", pointer(destroy_exec)},
      {"cuEventCreate", pointer(create_event)},
      {"cuEventDestroy", pointer(destroy_event)},
      {"cuEventRecord", pointer(record_event)},
      {"cuEventElapsedTime", pointer(elapsed_time)},
  };
  *function = find_function(functions, symbol);
  return CUDA_SUCCESS;
}

}  // extern "C"
