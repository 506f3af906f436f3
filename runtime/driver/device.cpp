// The current CUDA context -> its device and that device's Target.
// Entry points: current_device, target_of_device.
#include "runtime/driver/device.h"

#include <fmt/format.h>

#include <map>
#include <mutex>

#include "codegen/base/error.h"
#include "runtime/driver/driver.h"

namespace marlin {
namespace {

int attribute(CUdevice device, CUdevice_attribute which) {
  int value = 0;
  check(driver().cuDeviceGetAttribute(&value, which, device), "cuDeviceGetAttribute");
  return value;
}

Target ask(CUdevice device) {
  return {arch_for(attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR),
                   attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)),
          attribute(device, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)};
}

}  // namespace

int current_device() {
  CUdevice device = 0;
  const CUresult result = driver().cuCtxGetDevice(&device);
  if (result == CUDA_ERROR_INVALID_CONTEXT || result == CUDA_ERROR_NOT_INITIALIZED) {
    throw Error(ErrorCode::no_device,
                "no CUDA context is current on this thread: make one current first (with the CUDA "
                "runtime API any call does it, such as cudaFree(nullptr); with the driver API, "
                "cuDevicePrimaryCtxRetain and cuCtxSetCurrent)");
  }
  check(result, "cuCtxGetDevice");
  return device;
}

const Target& target_of_device(int device) {
  static std::mutex mutex;
  static auto& targets = *new std::map<int, Target>;  // outlives threads that end after main()
  const std::lock_guard lock(mutex);
  auto found = targets.find(device);
  if (found == targets.end()) found = targets.emplace(device, ask(device)).first;
  return found->second;
}

Target target_of_current_device() { return target_of_device(current_device()); }

std::string device_name(int device) {
  char name[256] = {};
  check(driver().cuDeviceGetName(name, sizeof name, device), "cuDeviceGetName");
  return name;
}

}  // namespace marlin
