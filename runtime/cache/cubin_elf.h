// What a cubin's ELF header says about the machine it is for.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace marlin {

// Why these bytes must not be given to a driver as a cubin for this architecture ("sm_90a"), or
// nothing when they may. The machine number is always compared; the suffix where the cubin tells it
// (CUDA 12 in the ELF header's flags, CUDA 13 in ptxas's own note, .note.nv.tkinfo).
std::optional<std::string> why_not_cubin_for(std::string_view cubin, std::string_view arch);

}  // namespace marlin
