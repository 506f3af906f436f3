// The kernels of GPU weight packing: their text, and their cubin from the user's cache or NVRTC.
#pragma once

#include <functional>
#include <string>

#include "runtime/compile/kernel_caches.h"

namespace marlin {

// The CUDA text: templates/pack/pack.cu with its tables made by codegen/formats/marlin_4bit.h.
std::string pack_source();

// Hands `use` the cubin of pack_source() for "sm_90a" out of the caches that the environment names,
// else compiled and published in the user's; another one, where there is one, when it throws
// RefusedCubin. Throws Error{no_nvrtc}, Error{compile_failed}, what `use` throws, and
// Error{jit_disabled} for a miss where MARLIN_DISABLE_JIT is set.
void with_pack_cubin(const std::string& arch, const std::function<void(const FoundKernel&)>& use);

}  // namespace marlin
