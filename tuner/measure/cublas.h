// cuBLAS opened at run time, for the FP16 product that ours is held beside.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "tuner/measure/gpu.h"

namespace marlin {

class Cublas {
 public:
  // How the FP16 weights lie: nn is [k, n] row-major, tn is [n, k] row-major (an nn.Linear's).
  enum class Layout { nn, tn };

  // Opens the file named by MARLIN_CUBLAS, else libcublas.so.13, .12 or .so of the loader's search,
  // else those in $CUDA_HOME/lib64, $CUDA_PATH/lib64 and /usr/local/cuda/lib64. Null when there is
  // none, with the reason in *why. Work goes to the stream.
  static std::unique_ptr<Cublas> open(const Stream& stream, std::string* why);
  ~Cublas();
  Cublas(const Cublas&) = delete;
  Cublas& operator=(const Cublas&) = delete;

  // c[m, n] = a[m, k] * weights, all FP16 with FP32 accumulation. Can be captured in a graph after
  // a first call of the same shape outside it. Throws Error{driver_failed}.
  void multiply(Layout layout, std::int64_t m, std::int64_t n, std::int64_t k, CUdeviceptr a,
                CUdeviceptr weights, CUdeviceptr c) const;

  const std::string& name() const { return name_; }  // "libcublas.so.13 (130000)"

 private:
  struct Functions;
  Cublas();

  std::unique_ptr<Functions> functions_;
  void* handle_ = nullptr;
  DeviceBuffer workspace_;
  std::string name_;
};

}  // namespace marlin
