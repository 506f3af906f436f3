// Driver: libcuda opened at run time, as a table of function pointers.
#pragma once

#include <cuda.h>
#include <cudaTypedefs.h>

#include <string>

#include "codegen/base/error.h"

namespace marlin {

// Each driver function we call and the CUDA version that introduced the signature we call it by,
// so that every driver from CUDA 12.0 on serves and newer headers change nothing.
#define MARLIN_DRIVER_FUNCTIONS(X)                     \
  X(cuInit, 2000)                                      \
  X(cuDriverGetVersion, 2020)                          \
  X(cuGetErrorName, 6000)                              \
  X(cuGetErrorString, 6000)                            \
  X(cuDeviceGet, 2000)                                 \
  X(cuDeviceGetCount, 2000)                            \
  X(cuDeviceGetName, 2000)                             \
  X(cuDeviceTotalMem, 3020)                            \
  X(cuDeviceGetAttribute, 2000)                        \
  X(cuDevicePrimaryCtxRetain, 7000)                    \
  X(cuDevicePrimaryCtxRelease, 11000)                  \
  X(cuCtxGetCurrent, 4000)                             \
  X(cuCtxSetCurrent, 4000)                             \
  X(cuCtxGetDevice, 2000)                              \
  X(cuCtxGetId, 12000)                                 \
  X(cuCtxSynchronize, 2000)                            \
  X(cuLibraryLoadData, 12000)                          \
  X(cuLibraryUnload, 12000)                            \
  X(cuLibraryGetKernel, 12000)                         \
  X(cuKernelGetFunction, 12000)                        \
  X(cuKernelGetAttribute, 12000)                       \
  X(cuKernelSetAttribute, 12000)                       \
  X(cuLaunchKernelEx, 11060)                           \
  X(cuTensorMapEncodeTiled, 12000)                     \
  X(cuOccupancyMaxActiveBlocksPerMultiprocessor, 6050) \
  X(cuThreadExchangeStreamCaptureMode, 10010)          \
  X(cuStreamIsCapturing, 10000)                        \
  X(cuStreamGetCaptureInfo, 11030)                     \
  X(cuStreamGetId, 12000)                              \
  X(cuUserObjectCreate, 11030)                         \
  X(cuGraphRetainUserObject, 11030)                    \
  X(cuStreamBeginCapture, 10010)                       \
  X(cuStreamEndCapture, 10000)                         \
  X(cuStreamCreate, 2000)                              \
  X(cuStreamDestroy, 4000)                             \
  X(cuStreamSynchronize, 2000)                         \
  X(cuStreamQuery, 2000)                               \
  X(cuStreamWaitEvent, 3020)                           \
  X(cuEventCreate, 2000)                               \
  X(cuEventDestroy, 4000)                              \
  X(cuEventRecord, 2000)                               \
  X(cuEventSynchronize, 2000)                          \
  X(cuEventElapsedTime, 2000)                          \
  X(cuGraphInstantiateWithFlags, 11040)                \
  X(cuGraphGetNodes, 10000)                            \
  X(cuGraphLaunch, 10000)                              \
  X(cuGraphDestroy, 10000)                             \
  X(cuGraphExecDestroy, 10000)                         \
  X(cuMemAlloc, 3020)                                  \
  X(cuMemFree, 3020)                                   \
  X(cuMemGetInfo, 3020)                                \
  X(cuMemcpyHtoD, 3020)                                \
  X(cuMemcpyDtoH, 3020)                                \
  X(cuMemcpyHtoDAsync, 3020)                           \
  X(cuMemcpyDtoHAsync, 3020)                           \
  X(cuMemcpyDtoDAsync, 3020)                           \
  X(cuMemsetD8, 3020)                                  \
  X(cuMemsetD8Async, 3020)                             \
  X(cuMemsetD16Async, 3020)

// Those that older drivers lack: null there.
#if CUDA_VERSION >= 12040
#define MARLIN_OPTIONAL_DRIVER_FUNCTIONS(X) X(cuCtxGetDevResource, 12040)
#else
#define MARLIN_OPTIONAL_DRIVER_FUNCTIONS(X)
#endif

struct Driver {
#define MARLIN_DECLARE(name, version) PFN_##name##_v##version name = nullptr;
  MARLIN_DRIVER_FUNCTIONS(MARLIN_DECLARE)
  MARLIN_OPTIONAL_DRIVER_FUNCTIONS(MARLIN_DECLARE)
#undef MARLIN_DECLARE
  int version = 0;  // of CUDA, as the driver reports it: 12080 for 12.8
};

// The process's libcuda, opened and initialised (cuInit) by the first call. Call its functions as
// driver().cuMemAlloc(...), with cuda.h included as this header does. Throws Error{no_driver} when
// libcuda is missing or older than CUDA 12.0, Error{no_device} when it finds no GPU. A failure is
// not remembered: the next call tries again. Thread safe.
const Driver& driver();

// What driver() does, for the library of this file name.
Driver open_driver(const std::string& library);

// Throws Error{driver_failed} "what: CUDA_ERROR_X (its text)" unless the result is a success.
void check(CUresult result, const char* what);

// A cubin that the driver will not have: for another GPU, of a newer toolkit, damaged. Others may
// serve in its stead.
struct RefusedCubin : Error {
  using Error::Error;
};

// As check(), for a call that loads code: throws RefusedCubin where it is the code that is at
// fault.
void check_cubin(CUresult result, const char* what);

// Whether a driver and at least one GPU are there. Never throws.
bool gpu_available() noexcept;

// Whether this stream is being captured into a graph; the legacy stream (null) answers for every
// blocking stream of the current context. Leaves the capture intact. Throws Error{driver_failed}.
bool is_capturing(CUstream stream);
// Whether this stream (null: none in particular) or any blocking stream of the current context is
// being captured: then nothing can be made for launches to come.
bool capture_under_way(CUstream stream);

// For its lifetime the calling thread may make driver calls that a stream capture under way
// forbids in the default mode (loading a module, allocating), without spoiling that capture.
class RelaxedCapture {
 public:
  RelaxedCapture();
  ~RelaxedCapture();
  RelaxedCapture(const RelaxedCapture&) = delete;
  RelaxedCapture& operator=(const RelaxedCapture&) = delete;

 private:
  CUstreamCaptureMode previous_ = CU_STREAM_CAPTURE_MODE_RELAXED;
};

}  // namespace marlin
