// Owning handles -> driver calls: context, memory, streams, events, graphs and small kernels.
// Entry points: Gpu, DeviceBuffer, Stream, Event, Graph, KernelFile, Filler.
#include "tuner/measure/gpu.h"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <map>
#include <mutex>
#include <thread>

#include "runtime/compile/nvrtc.h"
#include "runtime/driver/device.h"
#include "tuner/measure/tuner_kernels.h"

namespace marlin {
namespace {

int attribute(CUdevice device, CUdevice_attribute which) {
  int value = 0;
  check(driver().cuDeviceGetAttribute(&value, which, device), "cuDeviceGetAttribute");
  return value;
}

CUcontext current_context() {
  CUcontext context = nullptr;
  check(driver().cuCtxGetCurrent(&context), "cuCtxGetCurrent");
  return context;
}

// Several callers may compile the same text at once; all results serve.
std::string cubin_of(const std::string& name, const std::string& arch) {
  static std::mutex mutex;
  static auto& known = *new std::map<std::pair<std::string, std::string>, std::string>;
  {
    const std::lock_guard lock(mutex);
    if (const auto found = known.find({name, arch}); found != known.end()) return found->second;
  }
  CompileOutput compiled = nvrtc_compile({.source = std::string(tuner_kernel_text(name)),
                                          .name = name,
                                          .arch = arch,
                                          .options = kernel_compile_options()});
  const std::lock_guard lock(mutex);
  return known.emplace(std::pair(name, arch), std::move(compiled.cubin)).first->second;
}

}  // namespace

Gpu::Gpu(int ordinal) {
  const Driver& cuda = driver();
  int count = 0;
  check(cuda.cuDeviceGetCount(&count), "cuDeviceGetCount");
  if (ordinal < 0 || ordinal >= count) {
    throw Error(
        ErrorCode::no_device,
        fmt::format("GPU {} is not in 0..{}, the GPUs that the driver shows", ordinal, count - 1));
  }
  check(cuda.cuDeviceGet(&device_, ordinal), "cuDeviceGet");
  std::array<char, 256> name{};
  check(cuda.cuDeviceGetName(name.data(), static_cast<int>(name.size()), device_),
        "cuDeviceGetName");
  name_ = name.data();
  target_.arch = arch_for(attribute(device_, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR),
                          attribute(device_, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR));
  target_.sms = attribute(device_, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  check(cuda.cuDevicePrimaryCtxRetain(&context_, device_), "cuDevicePrimaryCtxRetain");
  make_current();
}

Gpu::Gpu(CUdevice device, CUcontext context, Target target)
    : device_(device), context_(context), target_(std::move(target)), name_(device_name(device)) {}

Gpu Gpu::current() {
  const ContextTarget& here = target_of_current_context();
  return {here.device, current_context(), here.target};
}

void Gpu::make_current() const { check(driver().cuCtxSetCurrent(context_), "cuCtxSetCurrent"); }

DeviceBuffer::DeviceBuffer(std::size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  const CUresult result = driver().cuMemAlloc(&address_, bytes);
  if (result == CUDA_ERROR_OUT_OF_MEMORY) {
    throw Error(ErrorCode::driver_failed,
                fmt::format("the GPU has no {:.1f} GB of free memory", bytes / 1e9));
  }
  check(result, "cuMemAlloc");
}

DeviceBuffer::~DeviceBuffer() {
  if (address_ != 0) driver().cuMemFree(address_);
}

DeviceBuffer::DeviceBuffer(DeviceBuffer&& other) noexcept
    : address_(std::exchange(other.address_, 0)), bytes_(std::exchange(other.bytes_, 0)) {}

DeviceBuffer& DeviceBuffer::operator=(DeviceBuffer&& other) noexcept {
  std::swap(address_, other.address_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

void* DeviceBuffer::pointer(std::size_t offset) const {
  return reinterpret_cast<void*>(address_ + offset);  // NOLINT(performance-no-int-to-ptr)
}

Stream::Stream() : Stream(nullptr) {}

Stream::Stream(CUstream given) : handle_(given), owned_(given == nullptr) {
  if (owned_) check(driver().cuStreamCreate(&handle_, CU_STREAM_NON_BLOCKING), "cuStreamCreate");
}

Stream::~Stream() {
  if (owned_) driver().cuStreamDestroy(handle_);
}

// Asks instead of blocking: a kernel that never ends must not take the program with it.
void Stream::finish(double seconds) const {
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  while (true) {
    const CUresult result = driver().cuStreamQuery(handle_);
    if (result != CUDA_ERROR_NOT_READY) {
      check(result, "waiting for the GPU");
      return;
    }
    const std::chrono::duration<double> waited = Clock::now() - begin;
    if (waited.count() > seconds) {
      throw GpuStuck(fmt::format("the GPU did not finish in {:.0f} s", seconds));
    }
    if (waited.count() > 1e-3) std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
}

bool Stream::usable() const noexcept {
  const CUresult result = driver().cuStreamQuery(handle_);
  return result == CUDA_SUCCESS || result == CUDA_ERROR_NOT_READY;
}

Event::Event() { check(driver().cuEventCreate(&handle_, CU_EVENT_DEFAULT), "cuEventCreate"); }

Event::~Event() {
  if (handle_ != nullptr) driver().cuEventDestroy(handle_);
}

void Event::record(const Stream& stream) const {
  check(driver().cuEventRecord(handle_, stream.handle()), "cuEventRecord");
}

double Event::microseconds_since(const Event& earlier) const {
  float milliseconds = 0;
  check(driver().cuEventElapsedTime(&milliseconds, earlier.handle_, handle_), "cuEventElapsedTime");
  return milliseconds * 1e3;
}

// Thread-local mode: other threads may load kernels while this one captures.
void Graph::begin(const Stream& stream) {
  check(driver().cuStreamBeginCapture(stream.handle(), CU_STREAM_CAPTURE_MODE_THREAD_LOCAL),
        "cuStreamBeginCapture");
}

void Graph::abandon(const Stream& stream) noexcept {
  CUgraph graph = nullptr;
  driver().cuStreamEndCapture(stream.handle(), &graph);
  if (graph != nullptr) driver().cuGraphDestroy(graph);
}

void Graph::end(const Stream& stream) {
  CUgraph graph = nullptr;
  check(driver().cuStreamEndCapture(stream.handle(), &graph), "cuStreamEndCapture");
  const CUresult result = driver().cuGraphInstantiateWithFlags(&exec_, graph, 0);
  driver().cuGraphDestroy(graph);
  check(result, "cuGraphInstantiate");
}

Graph::~Graph() {
  if (exec_ != nullptr) driver().cuGraphExecDestroy(exec_);
}

void Graph::launch(const Stream& stream) const {
  check(driver().cuGraphLaunch(exec_, stream.handle()), "cuGraphLaunch");
}

std::string_view tuner_kernel_text(std::string_view name) {
  const embedded::Entry* entry =
      embedded::find_entry(embedded::kTunerKernels, embedded::kTunerKernelsSize, name);
  if (entry == nullptr) throw std::logic_error(fmt::format("no kernel file is named {}", name));
  return embedded::text_of(*entry);
}

KernelFile::KernelFile(const Gpu& gpu, const std::string& name, std::vector<std::string> entries) {
  const std::string cubin = cubin_of(name, gpu.target().arch);
  check(
      driver().cuLibraryLoadData(&library_, cubin.data(), nullptr, nullptr, 0, nullptr, nullptr, 0),
      "cuLibraryLoadData");
  for (std::string& entry : entries) {
    CUkernel kernel = nullptr;
    CUfunction function = nullptr;
    check(driver().cuLibraryGetKernel(&kernel, library_, entry.c_str()), entry.c_str());
    check(driver().cuKernelGetFunction(&function, kernel), entry.c_str());
    functions_.emplace_back(std::move(entry), function);
  }
}

KernelFile::~KernelFile() { driver().cuLibraryUnload(library_); }

void KernelFile::enqueue(std::string_view entry, Grid grid, const Stream& stream,
                         void** arguments) const {
  for (const auto& [name, function] : functions_) {
    if (name != entry) continue;
    CUlaunchAttribute dependent{};
    dependent.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
    dependent.value.programmaticStreamSerializationAllowed = 1;
    CUlaunchConfig config{};
    config.gridDimX = grid.x;
    config.gridDimY = grid.y;
    config.gridDimZ = 1;
    config.blockDimX = grid.threads;
    config.blockDimY = 1;
    config.blockDimZ = 1;
    config.hStream = stream.handle();
    config.attrs = &dependent;
    config.numAttrs = grid.dependent ? 1 : 0;
    check(driver().cuLaunchKernelEx(&config, function, arguments, nullptr), name.c_str());
    return;
  }
  throw std::logic_error(fmt::format("no kernel {}", entry));
}

Filler::Filler(const Gpu& gpu)
    : kernels_(gpu, "fill.cu", {"fill_codes", "fill_bytes", "fill_uniform", "fill_normal"}) {}

// Enough blocks to fill any GPU; the kernels stride over what is left.
constexpr KernelFile::Grid kFillGrid{.x = 2048};

void Filler::codes(const Stream& stream, CUdeviceptr out, std::uint64_t count,
                   std::uint64_t seed) const {
  kernels_.launch("fill_codes", kFillGrid, stream, out, count, seed);
}

void Filler::bytes(const Stream& stream, CUdeviceptr out, std::uint64_t count,
                   std::uint64_t seed) const {
  kernels_.launch("fill_bytes", kFillGrid, stream, out, count, seed);
}

void Filler::uniform(const Stream& stream, CUdeviceptr out, std::uint64_t count, std::uint64_t seed,
                     float low, float high) const {
  kernels_.launch("fill_uniform", kFillGrid, stream, out, count, seed, low, high);
}

void Filler::normal(const Stream& stream, CUdeviceptr out, std::uint64_t count, std::uint64_t seed,
                    float deviation) const {
  kernels_.launch("fill_normal", kFillGrid, stream, out, count, seed, deviation);
}

}  // namespace marlin
