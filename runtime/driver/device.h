// The GPUs of this process, reduced to what kernels are chosen by.
#pragma once

#include <string>

#include "codegen/problem/target.h"

namespace marlin {

// The device (a CUdevice) of the CUDA context that is current on the calling thread. Throws
// Error{no_device} when none is, Error{no_driver}.
int current_device();

// The current context's device and what kernels there are written for: the SMs are those that the
// context has, fewer than the device's in a green context. Throws as current_device() and
// target_of_device(). Thread safe; a look-up for a context that was seen before.
struct ContextTarget {
  int device = 0;
  Target target;
};
const ContextTarget& target_of_current_context();

// What kernels for this device are written for; asked of the driver once for each device. Throws
// Error{invalid_target} for a GPU that no architecture of known_archs() serves. Thread safe.
const Target& target_of_device(int device);

// "NVIDIA H200"
std::string device_name(int device);

}  // namespace marlin
