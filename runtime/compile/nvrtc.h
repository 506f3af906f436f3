// NVRTC opened at run time: CUDA text -> cubin, PTX, log and resources.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace marlin {

struct CompileRequest {
  std::string source;
  std::string name;                  // shown in the log, e.g. "marlin_16x4096x4096.cu"
  std::string arch;                  // "sm_90a"
  std::vector<std::string> options;  // beside the architecture, in order
};

// One compile for a real architecture gives both PTX and cubin (so does every NVRTC from 12.0 on).
struct CompileOutput {
  std::string ptx;
  std::string cubin;
  std::string log;  // with ptxas's report when --ptxas-options=-v was among the options
  double milliseconds = 0;
};

// One opened NVRTC library; never closed. Compiles are safe from many threads at once; 12.0 does
// them one after the other, 12.8 and later side by side.
class Nvrtc {
 public:
  // Opens the library of this path or, without a slash, of this name. Throws Error{no_nvrtc} when
  // it cannot be opened, lacks a function or is older than 12.0.
  explicit Nvrtc(const std::string& library);

  // Throws Error{compile_failed}, with log and options, when the source is refused or no cubin
  // comes out, and Error{no_nvrtc} when this version does not know the architecture. NVRTC's own
  // cache of compiles (12.9 and later) is always off.
  CompileOutput compile(const CompileRequest& request) const;

  // "13.0 <elf build id>": what a cubin depends on beside its source and options. A library
  // without a build id is named by the SHA-256 of its file.
  const std::string& identity() const { return identity_; }
  // "13.0": the same without the build.
  std::string version() const;
  int number() const { return 1000 * major_ + 10 * minor_; }  // 13000, as CUDA numbers versions
  const std::string& path() const { return path_; }

 private:
  struct Functions;
  std::shared_ptr<const Functions> functions_;
  std::string path_, identity_;
  int major_ = 0, minor_ = 0;
};

// The process's NVRTC, opened by the first call. MARLIN_NVRTC names the library and nothing else is
// tried then. Otherwise the first found of libnvrtc.so.13, .12 and .so: already in the process, in
// LD_LIBRARY_PATH, in lib64 of CUDA_HOME or CUDA_PATH, beside the process's libcudart (or where pip
// puts it), in /usr/local/cuda/lib64, where the dynamic loader looks. A failure is not remembered.
// Throws Error{no_nvrtc} with what was tried. Thread safe, as everything below.
const Nvrtc& nvrtc();

// nvrtc().compile(request) and nvrtc().identity().
CompileOutput nvrtc_compile(const CompileRequest& request);
std::string nvrtc_identity();

// "12.1" <-> 12010. 0 for a text that is no version.
int version_number(std::string_view text);
std::string version_text(int number);

// The file that nvrtc() would open (links followed), found without opening it; empty when there is
// none or only the dynamic loader can tell.
std::string find_nvrtc();

// The options every emitted kernel is compiled with, in their fixed order (part of the cache key).
std::vector<std::string> kernel_compile_options();

// What one kernel takes, as ptxas reports it.
struct KernelResources {
  int registers = 0;     // 32-bit, of a thread
  int spill_stores = 0;  // bytes, of a thread
  int spill_loads = 0;
  int stack_bytes = 0;  // of a thread
  int static_shared_bytes = 0;
};

// The report on the kernel `entry` (its extern "C" name) in a compile's log. Throws
// Error{compile_failed} when there is none.
KernelResources parse_resources(std::string_view log, std::string_view entry);

}  // namespace marlin
