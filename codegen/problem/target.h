// Target: the machine a kernel is written for, reduced to what changes the emitted text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace marlin {

// What an architecture offers one SM and one thread block. Sizes in bytes.
struct ArchLimits {
  std::string_view name;   // "sm_90a": as given to NVRTC, with its suffix
  int compute_capability;  // 90
  int shared_per_block;    // opt-in limit of dynamic shared memory for one block
  int shared_per_sm;       // of all blocks together; each block also takes 1 KiB of it
  int registers_per_sm;    // 32-bit
  int threads_per_sm;
  int least_nvrtc;  // the oldest that knows it, as CUDA numbers versions: 12080 is 12.8
};

struct Target {
  std::string arch;  // a name of known_archs()
  int sms = 0;       // streaming multiprocessors the kernel spreads over

  friend bool operator==(const Target&, const Target&) = default;
};

// sm_80, sm_86, sm_87, sm_89, sm_90, sm_90a, sm_100, sm_120, in this order.
const std::vector<ArchLimits>& known_archs();

// Throws Error{invalid_target} with the rule and the known names.
const ArchLimits& limits_of(const Target& target);
void require_valid(const Target& target);

// The architecture to emit for on a device of this compute capability (9, 0 -> "sm_90a"); an
// unknown minor goes to the nearest lower known one of its major, whose code it runs. Throws
// Error{invalid_target}, with the GPU's name where nothing serves it.
std::string arch_for(int cc_major, int cc_minor);

// The same by name: one of known_archs() stands for itself, another "sm_103" or "sm_121a" for what
// arch_for() says. Throws Error{invalid_target}.
std::string arch_named(std::string_view name);

// The GPUs that arch_for() gives this architecture, as users know them: "B200, GB200, B300, GB300".
std::string products_served_by(std::string_view arch);

// "sm_90a, 132 SMs"
std::string to_string(const Target& target);

}  // namespace marlin
