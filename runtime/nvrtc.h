// NVRTC opened at run time: CUDA text -> cubin, PTX, log and resources.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace marlin {

struct CompileRequest {
  std::string source;
  std::string name;                  // shown in the log, e.g. "marlin_16x4096x4096.cu"
  std::string arch;                  // "sm_90a"
  std::vector<std::string> options;  // beside the architecture, in order
  bool want_ptx = false;
};

// What one kernel takes, read from ptxas's report.
struct KernelResources {
  int registers = 0;     // 32-bit, per thread
  int spill_stores = 0;  // bytes per thread
  int spill_loads = 0;
  int stack_bytes = 0;   // per thread, the stack frame
  int static_shared_bytes = 0;
};

struct CompileOutput {
  std::string ptx;  // empty unless asked for
  std::string cubin;
  std::string log;  // with ptxas's report
  double milliseconds = 0;
};

// Throws Error{no_nvrtc} when no usable NVRTC is found and Error{compile_failed}, with log and
// options, when it refuses the source or gives no cubin. Thread safe.
CompileOutput nvrtc_compile(const CompileRequest& request);

// The options every emitted kernel is compiled with, in their fixed order (part of the cache key).
std::vector<std::string> kernel_compile_options(const std::string& arch);

// The report on the kernel `entry` (its extern "C" name). Throws Error{compile_failed} when the
// log does not hold one.
KernelResources parse_resources(std::string_view log, std::string_view entry);

// "13.0 <elf build id>"; opens NVRTC. Throws Error{no_nvrtc}.
std::string nvrtc_identity();

// The file nvrtc_identity() and nvrtc_compile() would open, found without opening it; empty when
// only the dynamic loader's own search can tell.
std::string find_nvrtc();

}  // namespace marlin
