// Kernel: one loaded cubin with what its launches need. Stands behind Compiled.
#pragma once

#include <cuda.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "codegen/plan/plan.h"
#include "marlin/compiled.h"
#include "runtime/compile/kernel_build.h"
#include "runtime/compile/kernel_caches.h"

namespace marlin {

// Throws Error{invalid_argument} for a pointer that no launch may take: null, or not aligned to 16
// bytes.
void require_pointer(const char* name, const void* pointer);

class Kernel {
 public:
  // Loads the cubin on the device and into the current context, so that no launch loads anything.
  // Throws RefusedCubin or another Error{driver_failed}.
  Kernel(KernelText text, const FoundKernel& found, CUdevice device, ChosenBy by);
  ~Kernel();
  Kernel(const Kernel&) = delete;
  Kernel& operator=(const Kernel&) = delete;

  // `rows` stands in for args.m where that is left out. As Compiled::launch().
  void launch(CUstream stream, const LaunchArgs& args, std::int64_t rows) const;
  // The same for arguments known to be sound, and with `rows` whatever args.m is.
  void enqueue(CUstream stream, const LaunchArgs& args, std::int64_t rows) const;

  // What the constructor does for its context, for the current one.
  void load_into_context() const;

  const Plan& plan() const { return text_.plan; }
  const std::string& source() const { return text_.source; }
  const std::string& config() const { return config_; }
  const Resources& resources() const { return resources_; }
  CUkernel handle() const { return kernel_; }
  Origin origin() const { return origin_; }
  ChosenBy chosen_by() const { return chosen_by_; }
  const std::vector<std::string>& passed_over() const { return passed_over_; }
  void set_passed_over(std::vector<std::string> lines) { passed_over_ = std::move(lines); }

 private:
  void load(const std::string& cubin, CUdevice device);
  void unload() const;
  unsigned grid_x(std::int64_t rows) const;

  KernelText text_;
  std::string config_;
  Resources resources_;
  Origin origin_;
  ChosenBy chosen_by_;
  std::vector<std::string> passed_over_;
  CUlibrary library_ = nullptr;
  CUkernel kernel_ = nullptr;
};

}  // namespace marlin
