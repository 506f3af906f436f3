// The kernels of GPU weight packing: their text, and their cubin from the user's cache or NVRTC.
#pragma once

#include <string>

namespace marlin {

// The CUDA text: templates/pack/pack.cu with its tables made by codegen/layout.h.
std::string pack_source();

// The cubin of pack_source() for "sm_90a": from the user's cache (MARLIN_CACHE_DIR and its
// defaults), else compiled and published there. Throws Error{no_nvrtc}, Error{compile_failed}, or
// Error{jit_disabled} for a miss where MARLIN_DISABLE_JIT is set.
std::string pack_cubin(const std::string& arch);

}  // namespace marlin
