// Device pointers and a shape -> launches of the packing kernels on the caller's stream.
// Entry points: pack_codes_gpu, unpack_codes_gpu, quantize_rtn_gpu.
#include <fmt/format.h>

#include <map>
#include <mutex>

#include "codegen/formats/marlin_4bit.h"
#include "marlin/pack.h"
#include "runtime/driver/device.h"
#include "runtime/driver/driver.h"
#include "runtime/pack/pack_kernels.h"

namespace marlin {
namespace {

struct PackKernels {
  CUkernel pack_codes = nullptr;
  CUkernel unpack_codes = nullptr;
  CUkernel pack_scales = nullptr;
  CUkernel unpack_scales = nullptr;
  CUkernel quantize_rtn = nullptr;
};

CUkernel kernel_of(CUlibrary library, const char* name) {
  CUkernel kernel = nullptr;
  check_cubin(driver().cuLibraryGetKernel(&kernel, library, name), "cuLibraryGetKernel");
  // Loads it into the current context, which a launch under capture must not have to do.
  CUfunction function = nullptr;
  check_cubin(driver().cuKernelGetFunction(&function, kernel), "cuKernelGetFunction");
  return kernel;
}

PackKernels load(const std::string& cubin) {
  const RelaxedCapture relaxed;  // another thread's capture is no concern of this load
  CUlibrary library = nullptr;   // never unloaded: launches of it may sit in graphs
  check_cubin(
      driver().cuLibraryLoadData(&library, cubin.data(), nullptr, nullptr, 0, nullptr, nullptr, 0),
      "cuLibraryLoadData");
  try {
    return {kernel_of(library, "marlin_pack_codes"), kernel_of(library, "marlin_unpack_codes"),
            kernel_of(library, "marlin_pack_scales"), kernel_of(library, "marlin_unpack_scales"),
            kernel_of(library, "marlin_quantize_rtn")};
  } catch (const Error&) {
    driver().cuLibraryUnload(library);
    throw;
  }
}

const PackKernels& kernels(CUstream stream) {
  static std::mutex mutex;
  static auto& loaded = *new std::map<int, PackKernels>;  // outlives threads that end after main()
  const int device = current_device();
  const std::lock_guard lock(mutex);
  if (const auto found = loaded.find(device); found != loaded.end()) return found->second;
  if (is_capturing(nullptr) || is_capturing(stream)) {
    throw Error(ErrorCode::capturing,
                "the first GPU packing call on a device loads its kernels, which cannot be done "
                "while a stream is being captured: make one call before the capture");
  }
  PackKernels kernels;
  with_pack_cubin(target_of_device(device).arch,
                  [&](const FoundKernel& found) { kernels = load(found.entry.cubin); });
  return loaded.emplace(device, kernels).first->second;
}

// A grid of blocks by rows; size_y is for kernels whose threads have two dimensions.
struct Grid {
  std::int64_t blocks = 1;
  std::int64_t rows = 1;
  unsigned size_x = 1;
  unsigned size_y = 1;
};

template <typename... Args>
void launch(CUstream stream, CUkernel kernel, const Grid& grid, Args... args) {
  CUlaunchConfig config{};
  config.gridDimX = static_cast<unsigned>(grid.blocks);
  config.gridDimY = static_cast<unsigned>(grid.rows);
  config.gridDimZ = 1;
  config.blockDimX = grid.size_x;
  config.blockDimY = grid.size_y;
  config.blockDimZ = 1;
  config.hStream = stream;
  void* parameters[] = {&args...};
  // The driver takes a library's kernel wherever it takes a function.
  check(
      driver().cuLaunchKernelEx(&config, reinterpret_cast<CUfunction>(kernel), parameters, nullptr),
      "cuLaunchKernelEx");
}

void require_aligned(const char* name, const void* pointer, std::uintptr_t bytes) {
  if (reinterpret_cast<std::uintptr_t>(pointer) % bytes == 0) return;
  throw Error(ErrorCode::invalid_argument,
              fmt::format("{} = {} is not {}-byte aligned", name, pointer, bytes));
}

void require_pointer(const char* name, const void* pointer) {
  if (pointer == nullptr) {
    throw Error(ErrorCode::invalid_argument, fmt::format("{} is null", name));
  }
  require_aligned(name, pointer, 16);
}

Grid tile_grid(const Problem& problem) {
  return {.blocks = problem.shape.k / kPackTileK * (problem.shape.n / kPackTileN),
          .size_x = kPackTileWords};
}

Grid scale_grid(const Problem& problem) {
  return {.blocks = problem.shape.n / kScaleBlock,
          .rows = scale_rows(problem.shape.k, problem.scheme.group),
          .size_x = kScaleBlock};
}

int single(const Problem& problem) {
  return scale_order(problem.shape.k, problem.scheme.group) == ScaleOrder::single ? 1 : 0;
}

}  // namespace

void pack_codes_gpu(CUstream_st* stream, const Problem& problem, const void* codes,
                    const void* scales, void* packed, void* packed_scales, std::uint32_t* status) {
  require_packable(problem);
  require_pointer("codes", codes);
  require_pointer("scales", scales);
  require_pointer("packed", packed);
  require_pointer("packed_scales", packed_scales);
  require_aligned("status", status, alignof(std::uint32_t));
  const PackKernels& use = kernels(stream);
  const auto n = static_cast<long long>(problem.shape.n);
  launch(stream, use.pack_codes, tile_grid(problem), codes, packed, n, status);
  launch(stream, use.pack_scales, scale_grid(problem), scales, packed_scales, n, single(problem),
         status);
}

void unpack_codes_gpu(CUstream_st* stream, const Problem& problem, const void* packed,
                      const void* packed_scales, void* codes, void* scales) {
  require_packable(problem);
  require_pointer("packed", packed);
  require_pointer("packed_scales", packed_scales);
  require_pointer("codes", codes);
  require_pointer("scales", scales);
  const PackKernels& use = kernels(stream);
  const auto n = static_cast<long long>(problem.shape.n);
  launch(stream, use.unpack_codes, tile_grid(problem), packed, codes, n);
  launch(stream, use.unpack_scales, scale_grid(problem), packed_scales, scales, n, single(problem));
}

void quantize_rtn_gpu(CUstream_st* stream, const Problem& problem, const void* weights, void* codes,
                      void* scales, std::uint32_t* status) {
  require_packable(problem);
  require_pointer("weights", weights);
  require_pointer("codes", codes);
  require_pointer("scales", scales);
  require_aligned("status", status, alignof(std::uint32_t));
  const Grid grid{.blocks = problem.shape.n / 32,
                  .rows = scale_rows(problem.shape.k, problem.scheme.group),
                  .size_x = 32,
                  .size_y = 8};
  launch(stream, kernels(stream).quantize_rtn, grid, weights, codes, scales,
         static_cast<long long>(problem.shape.n),
         static_cast<long long>(group_size(problem.shape.k, problem.scheme.group)), status);
}

}  // namespace marlin
