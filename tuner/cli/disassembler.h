// Disassembler: a cubin -> SASS, by NVIDIA's tools.
#pragma once

#include <string>
#include <string_view>

namespace marlin {

// The path of nvdisasm, else of cuobjdump: on PATH, then in bin/ of $CUDA_HOME, $CUDA_PATH and
// /usr/local/cuda. Empty when neither is there.
std::string find_disassembler();

// How to get one, in a sentence for people.
inline constexpr std::string_view kInstallDisassembler =
    "neither nvdisasm nor cuobjdump is on PATH or in bin/ of $CUDA_HOME, $CUDA_PATH or "
    "/usr/local/cuda: install the CUDA Toolkit's package cuda-nvdisasm-<version> (or "
    "cuda-cuobjdump-<version>)";

// What the tool prints for this cubin. Throws Error{io} with its message when it fails.
std::string disassemble(const std::string& tool, std::string_view cubin);

}  // namespace marlin
