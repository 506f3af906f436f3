// libcublas by dlopen -> FP16 products on a stream. Entry points: Cublas::open, Cublas::multiply.
#include "tuner/measure/cublas.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <cstdlib>
#include <vector>

namespace marlin {
namespace {

// From cublas_api.h and library_types.h, which need not be installed.
constexpr int kOpN = 0, kOpT = 1;
constexpr int kR16F = 2;               // CUDA_R_16F
constexpr int kCompute32F = 68;        // CUBLAS_COMPUTE_32F
constexpr int kDefaultAlgorithm = -1;  // CUBLAS_GEMM_DEFAULT
// What cuBLAS advises on Hopper; without a workspace of ours it would allocate in a capture.
constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;

std::vector<std::string> candidates() {
  if (const char* chosen = std::getenv("MARLIN_CUBLAS")) return {chosen};
  const std::vector<std::string> names{"libcublas.so.13", "libcublas.so.12", "libcublas.so"};
  std::vector<std::string> files = names;
  std::vector<std::string> folders;
  for (const char* variable : {"CUDA_HOME", "CUDA_PATH"}) {
    if (const char* root = std::getenv(variable)) folders.push_back(fmt::format("{}/lib64", root));
  }
  folders.emplace_back("/usr/local/cuda/lib64");
  for (const std::string& folder : folders) {
    for (const std::string& name : names) files.push_back(fmt::format("{}/{}", folder, name));
  }
  return files;
}

void check_status(int status, const char* what) {
  if (status == 0) return;
  throw Error(ErrorCode::driver_failed, fmt::format("{}: cuBLAS status {}", what, status));
}

}  // namespace

struct Cublas::Functions {
  int (*create)(void** handle);
  int (*destroy)(void* handle);
  int (*get_version)(void* handle, int* version);
  int (*set_stream)(void* handle, CUstream stream);
  int (*set_workspace)(void* handle, void* workspace, std::size_t bytes);
  int (*gemm)(void* handle, int trans_a, int trans_b, int m, int n, int k, const void* alpha,
              const void* a, int a_type, int lda, const void* b, int b_type, int ldb,
              const void* beta, void* c, int c_type, int ldc, int compute_type, int algorithm);

  // Whether the library has all of them.
  bool resolve(void* library) {
    const auto find = [&](auto& function, const char* name) {
      function =
          reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
      return function != nullptr;
    };
    return find(create, "cublasCreate_v2") && find(destroy, "cublasDestroy_v2") &&
           find(get_version, "cublasGetVersion_v2") && find(set_stream, "cublasSetStream_v2") &&
           find(set_workspace, "cublasSetWorkspace_v2") && find(gemm, "cublasGemmEx");
  }
};

Cublas::Cublas() : functions_(std::make_unique<Functions>()) {}

std::unique_ptr<Cublas> Cublas::open(const Stream& stream, std::string* why) {
  std::unique_ptr<Cublas> cublas(new Cublas);
  void* library = nullptr;
  std::string file;
  for (const std::string& candidate : candidates()) {
    library = dlopen(candidate.c_str(), RTLD_NOW | RTLD_LOCAL);
    file = candidate;
    if (library != nullptr) break;
  }
  if (library == nullptr) {
    *why = "no libcublas found; MARLIN_CUBLAS names one";
    return nullptr;
  }
  const Functions& functions = *cublas->functions_;
  if (!cublas->functions_->resolve(library)) {
    *why = file + " lacks functions that cuBLAS 12 has";
    return nullptr;
  }
  if (const int status = functions.create(&cublas->handle_); status != 0) {
    cublas->handle_ = nullptr;
    *why = fmt::format("{}: cublasCreate failed with status {}", file, status);
    return nullptr;
  }
  int version = 0;
  check_status(functions.get_version(cublas->handle_, &version), "cublasGetVersion");
  cublas->name_ = fmt::format("{} ({})", file.substr(file.rfind('/') + 1), version);
  // Setting the stream resets the workspace, so the stream comes first.
  check_status(functions.set_stream(cublas->handle_, stream.handle()), "cublasSetStream");
  cublas->workspace_ = DeviceBuffer(kWorkspaceBytes);
  check_status(
      functions.set_workspace(cublas->handle_, cublas->workspace_.pointer(), kWorkspaceBytes),
      "cublasSetWorkspace");
  return cublas;
}

Cublas::~Cublas() {
  if (handle_ != nullptr) functions_->destroy(handle_);
}

// cuBLAS is column-major, so it is asked for the transposed product: C^T = W^T A^T.
void Cublas::multiply(Layout layout, std::int64_t m, std::int64_t n, std::int64_t k, CUdeviceptr a,
                      CUdeviceptr weights, CUdeviceptr c) const {
  const float alpha = 1, beta = 0;
  const bool transposed = layout == Layout::tn;
  const auto pointer = [](CUdeviceptr address) {
    return reinterpret_cast<void*>(address);  // NOLINT(performance-no-int-to-ptr)
  };
  const int rows = static_cast<int>(n), columns = static_cast<int>(m), depth = static_cast<int>(k);
  check_status(
      functions_->gemm(handle_, transposed ? kOpT : kOpN, kOpN, rows, columns, depth, &alpha,
                       pointer(weights), kR16F, transposed ? depth : rows, pointer(a), kR16F, depth,
                       &beta, pointer(c), kR16F, rows, kCompute32F, kDefaultAlgorithm),
      "cublasGemmEx");
}

}  // namespace marlin
