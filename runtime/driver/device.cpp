// The current CUDA context -> its device and that device's Target.
// Entry points: current_device, target_of_current_context, target_of_device.
#include "runtime/driver/device.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include "codegen/base/error.h"
#include "runtime/base/lock_free_table.h"
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

struct IdHash {
  std::size_t operator()(std::uint64_t id) const noexcept { return mixed_bits(id); }
};

// Nothing from a driver that knows no green contexts.
std::optional<int> sms_of([[maybe_unused]] CUcontext context) {
#if CUDA_VERSION >= 12040
  CUdevResource resource = {};
  if (driver().cuCtxGetDevResource != nullptr &&
      driver().cuCtxGetDevResource(context, &resource, CU_DEV_RESOURCE_TYPE_SM) == CUDA_SUCCESS) {
    return static_cast<int>(resource.sm.smCount);
  }
#endif
  return std::nullopt;
}

ContextTarget ask_about(CUcontext context) {
  const int device = current_device();
  Target target = target_of_device(device);
  target.sms = std::min(target.sms, sms_of(context).value_or(target.sms));
  return {device, std::move(target)};
}

// Contexts by the ids that the driver never gives twice.
struct KnownContexts {
  LockFreeTable<std::uint64_t, ContextTarget, IdHash> targets;
  std::mutex mutex;  // of what follows
  std::deque<ContextTarget> all;
};

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

const ContextTarget& target_of_current_context() {
  static auto& known = *new KnownContexts;  // outlives threads that end after main()
  static thread_local std::uint64_t last_id = 0;
  static thread_local const ContextTarget* last = nullptr;
  CUcontext context = nullptr;
  if (driver().cuCtxGetCurrent(&context) != CUDA_SUCCESS || context == nullptr) current_device();
  unsigned long long id = 0;
  check(driver().cuCtxGetId(context, &id), "cuCtxGetId");
  if (last != nullptr && last_id == id) return *last;
  const ContextTarget* found = known.targets.find(id);
  if (found == nullptr) {
    const std::lock_guard lock(known.mutex);
    found = known.targets.find(id);
    if (found == nullptr) {
      found = known.targets.insert(id, &known.all.emplace_back(ask_about(context)));
    }
  }
  last_id = id;
  last = found;
  return *found;
}

std::string device_name(int device) {
  char name[256] = {};
  check(driver().cuDeviceGetName(name, sizeof name, device), "cuDeviceGetName");
  return name;
}

}  // namespace marlin
