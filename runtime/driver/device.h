// The GPUs of this process, reduced to what kernels are chosen by.
#pragma once

#include <string>

#include "codegen/problem/target.h"

namespace marlin {

// The device (a CUdevice) of the CUDA context that is current on the calling thread. Throws
// Error{no_device} when none is, Error{no_driver}.
int current_device();

// What kernels for this device are written for; asked of the driver once for each device. Throws
// Error{invalid_target} for a GPU that no architecture of known_archs() serves. Thread safe.
const Target& target_of_device(int device);

Target target_of_current_device();

// "NVIDIA H200"
std::string device_name(int device);

}  // namespace marlin
