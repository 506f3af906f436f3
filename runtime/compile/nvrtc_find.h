// Which NVRTC library this process uses, and what identifies a library's build.
#pragma once

#include <string>
#include <vector>

namespace marlin {

// The libraries nvrtc() tries, in order: paths of files that exist or, last, names for the dynamic
// loader's own search. Only MARLIN_NVRTC when that is set.
std::vector<std::string> nvrtc_candidates();

// The GNU build id in an ELF file as hexadecimal digits; "sha256:<digits>" of the file when it has
// none. Throws Error{io} when the file cannot be read.
std::string build_of(const std::string& path);

}  // namespace marlin
