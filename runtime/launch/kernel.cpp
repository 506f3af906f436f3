// A cubin -> a loaded kernel -> launches of it.
// Entry points: Kernel::Kernel, Kernel::launch, Kernel::enqueue.
#include "runtime/launch/kernel.h"

#include <fmt/format.h>

#include <utility>

#include "codegen/base/error.h"
#include "runtime/driver/driver.h"
#include "runtime/launch/kernel_params.h"

namespace marlin {
namespace {

constexpr std::uintptr_t kAlignment = 16;

void require_rows(const Problem& problem, std::int64_t rows) {
  if (problem.shape.exact_m && rows != problem.shape.m) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("m = {} is not {}, the only m this exact kernel serves", rows,
                            problem.shape.m));
  }
  if (rows < 1 || rows > problem.shape.m) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("m = {} is not in 0..{}", rows, problem.shape.m));
  }
}

std::string what_was_launched(const Plan& plan, const CUlaunchConfig& config) {
  return fmt::format(
      "cuLaunchKernelEx of {}, {} x {} x {} blocks of {} threads, {} bytes of "
      "shared memory{}{}",
      plan.launch.entry, config.gridDimX, config.gridDimY, config.gridDimZ, config.blockDimX,
      config.sharedMemBytes,
      plan.launch.cluster > 1 ? fmt::format(", clusters of {}", plan.launch.cluster) : "",
      plan.launch.cooperative ? ", cooperative" : "");
}

}  // namespace

void require_pointer(const char* name, const void* pointer) {
  if (pointer == nullptr) {
    throw Error(ErrorCode::invalid_argument, fmt::format("{} is null", name));
  }
  if (reinterpret_cast<std::uintptr_t>(pointer) % kAlignment != 0) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("{} = {} is not aligned to {} bytes", name, pointer, kAlignment));
  }
}

Kernel::Kernel(KernelText text, const FoundKernel& found, CUdevice device, ChosenBy by)
    : text_(std::move(text)),
      config_(to_string(text_.plan.config)),
      origin_(found.origin),
      chosen_by_(by) {
  const Plan& plan = text_.plan;
  resources_ = {.threads = plan.launch.threads,
                .grid_x = plan.launch.grid_x,
                .grid_y = plan.launch.grid_y,
                .grid_z = plan.launch.grid_z,
                .registers = found.entry.meta.registers,
                .spill_bytes = found.entry.meta.spill_bytes,
                .shared_bytes = plan.launch.shared_bytes,
                .cubin_bytes = found.entry.cubin.size()};
  const auto described = [&](const Error& error) {
    const int version = driver().version;
    return fmt::format("{}; {} on {}, built by NVRTC {}, the driver is for CUDA {}.{}",
                       error.what(), to_string(plan.problem), to_string(plan.target),
                       found.entry.meta.key.nvrtc, version / 1000, version % 1000 / 10);
  };
  try {
    load(found.entry.cubin, device);
  } catch (const RefusedCubin& error) {
    unload();
    throw RefusedCubin(error.code(), described(error));
  } catch (const Error& error) {
    unload();
    throw Error(error.code(), described(error));
  }
}

Kernel::~Kernel() { unload(); }

void Kernel::unload() const {
  if (library_ != nullptr) driver().cuLibraryUnload(library_);
}

void Kernel::load(const std::string& cubin, CUdevice device) {
  const RelaxedCapture relaxed;
  check_cubin(
      driver().cuLibraryLoadData(&library_, cubin.data(), nullptr, nullptr, 0, nullptr, nullptr, 0),
      "cuLibraryLoadData");
  check_cubin(driver().cuLibraryGetKernel(&kernel_, library_, text_.plan.launch.entry.c_str()),
              "cuLibraryGetKernel");
  check_cubin(driver().cuKernelSetAttribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                            text_.plan.launch.shared_bytes, kernel_, device),
              "cuKernelSetAttribute");
  load_into_context();
}

// A library loads into a context when it is first used there; that must not be a launch, which may
// be under capture.
void Kernel::load_into_context() const {
  const RelaxedCapture relaxed;
  CUfunction function = nullptr;
  check_cubin(driver().cuKernelGetFunction(&function, kernel_), "cuKernelGetFunction");
}

unsigned Kernel::grid_x(std::int64_t rows) const {
  const Plan& plan = text_.plan;
  if (!plan.launch.rows_on_x) return static_cast<unsigned>(plan.launch.grid_x);
  return static_cast<unsigned>((rows + plan.config.tile_m - 1) / plan.config.tile_m);
}

void Kernel::launch(CUstream stream, const LaunchArgs& args, std::int64_t rows) const {
  const Plan& plan = text_.plan;
  rows = args.m.value_or(rows);
  if (rows == 0) return;
  require_rows(plan.problem, rows);
  require_pointer("a", args.a);
  require_pointer("b", args.b);
  require_pointer("scales", args.scales);
  require_pointer("c", args.c);
  if (plan.workspace.bytes > 0) require_pointer("workspace", args.workspace);
  enqueue(stream, args, rows);
}

void Kernel::enqueue(CUstream stream, const LaunchArgs& args, std::int64_t rows) const {
  const Plan& plan = text_.plan;
  KernelParams params(plan, args, rows);
  CUlaunchAttribute attributes[2] = {};
  unsigned count = 0;
  if (args.dependent && plan.launch.dependent) {
    attributes[count].id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
    attributes[count++].value.programmaticStreamSerializationAllowed = 1;
  }
  if (plan.launch.cooperative) {
    attributes[count].id = CU_LAUNCH_ATTRIBUTE_COOPERATIVE;
    attributes[count++].value.cooperative = 1;
  }
  CUlaunchConfig config = {};
  config.gridDimX = grid_x(rows);
  config.gridDimY = static_cast<unsigned>(plan.launch.grid_y);
  config.gridDimZ = static_cast<unsigned>(plan.launch.grid_z);
  config.blockDimX = static_cast<unsigned>(plan.launch.threads);
  config.blockDimY = config.blockDimZ = 1;
  config.sharedMemBytes = static_cast<unsigned>(plan.launch.shared_bytes);
  config.hStream = stream;
  config.attrs = attributes;
  config.numAttrs = count;
  const CUresult result = driver().cuLaunchKernelEx(&config, reinterpret_cast<CUfunction>(kernel_),
                                                    params.get(), nullptr);
  if (result != CUDA_SUCCESS) check(result, what_was_launched(plan, config).c_str());
}

}  // namespace marlin
