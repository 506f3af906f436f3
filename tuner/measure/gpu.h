// The GPU as the verbs that measure and check use it: owning handles over the driver API.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "codegen/base/error.h"
#include "codegen/problem/target.h"
#include "runtime/driver/driver.h"

namespace marlin {

// The GPU did not finish in the time allowed; the process can no longer free or launch anything.
class GpuStuck : public Error {
 public:
  explicit GpuStuck(const std::string& message) : Error(ErrorCode::driver_failed, message) {}
};

// A GPU and the context to work on it in, which is current on the thread that made this object.
class Gpu {
 public:
  // Its primary context, which is retained until the process ends, as the kernels loaded into it
  // are. The driver counts the GPUs of CUDA_VISIBLE_DEVICES from 0. Throws Error{no_driver} or
  // Error{no_device}.
  explicit Gpu(int ordinal = 0);
  // The context that is current already, which stays its owner's, with the SMs that it has. Throws
  // as target_of_current_context().
  static Gpu current();

  void make_current() const;  // on another thread
  const Target& target() const { return target_; }
  const std::string& name() const { return name_; }  // "NVIDIA H200"

 private:
  Gpu(CUdevice device, CUcontext context, Target target);

  CUdevice device_ = 0;
  CUcontext context_ = nullptr;
  Target target_;
  std::string name_;
};

// Device memory, not initialised; bytes may be 0.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  explicit DeviceBuffer(std::size_t bytes);
  ~DeviceBuffer();
  DeviceBuffer(DeviceBuffer&& other) noexcept;
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept;

  CUdeviceptr address(std::size_t offset = 0) const { return address_ + offset; }
  void* pointer(std::size_t offset = 0) const;
  std::size_t bytes() const { return bytes_; }

 private:
  CUdeviceptr address_ = 0;
  std::size_t bytes_ = 0;
};

class Stream {
 public:
  Stream();
  // One that is somebody else's and stays so; null makes one as above.
  explicit Stream(CUstream given);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  CUstream handle() const { return handle_; }
  // Waits for everything enqueued. Throws GpuStuck when that takes longer, Error{driver_failed}
  // when a kernel failed.
  void finish(double seconds = 30.0) const;
  // Whether launches still work: false after a failure that ends the whole context, such as an
  // illegal address.
  bool usable() const noexcept;

 private:
  CUstream handle_ = nullptr;
  bool owned_ = true;
};

class Event {
 public:
  Event();
  ~Event();
  Event(Event&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Event& operator=(Event&&) = delete;

  void record(const Stream& stream) const;
  // From `earlier` to this one; both must have finished.
  double microseconds_since(const Event& earlier) const;

 private:
  CUevent handle_ = nullptr;
};

// What was enqueued on a stream in one capture, ready to be replayed.
class Graph {
 public:
  // `enqueue` is called once, with the stream capturing.
  template <class Enqueue>
  Graph(const Stream& stream, const Enqueue& enqueue) {
    begin(stream);
    try {
      enqueue();
    } catch (...) {
      abandon(stream);
      throw;
    }
    end(stream);
  }
  ~Graph();
  Graph(Graph&& other) noexcept : exec_(std::exchange(other.exec_, nullptr)) {}
  Graph& operator=(Graph&&) = delete;

  void launch(const Stream& stream) const;

 private:
  static void begin(const Stream& stream);
  static void abandon(const Stream& stream) noexcept;
  void end(const Stream& stream);

  CUgraphExec exec_ = nullptr;
};

// The text of tuner/kernels/<name>, e.g. "fill.cu". Throws std::logic_error on an unknown name.
std::string_view tuner_kernel_text(std::string_view name);

// The kernels of one file of tuner/kernels/, compiled for this GPU: once in the process for each
// architecture.
class KernelFile {
 public:
  KernelFile(const Gpu& gpu, const std::string& name, std::vector<std::string> entries);
  ~KernelFile();
  KernelFile(const KernelFile&) = delete;
  KernelFile& operator=(const KernelFile&) = delete;

  struct Grid {
    unsigned x = 1, y = 1, threads = 256;
    bool dependent = false;  // programmatic dependent launch, which the kernel is written for
  };

  // The arguments must have exactly the kernel's parameter types.
  template <class... Arguments>
  void launch(std::string_view entry, Grid grid, const Stream& stream,
              Arguments... arguments) const {
    static_assert((std::is_trivially_copyable_v<Arguments> && ...));
    void* pointers[] = {&arguments...};
    enqueue(entry, grid, stream, pointers);
  }

 private:
  void enqueue(std::string_view entry, Grid grid, const Stream& stream, void** arguments) const;

  CUlibrary library_ = nullptr;
  std::vector<std::pair<std::string, CUfunction>> functions_;
};

// Fresh data made on the GPU by a hash of (seed, index); see tuner/kernels/fill.cu.
class Filler {
 public:
  explicit Filler(const Gpu& gpu);

  void codes(const Stream& stream, CUdeviceptr out, std::uint64_t count, std::uint64_t seed) const;
  void bytes(const Stream& stream, CUdeviceptr out, std::uint64_t count, std::uint64_t seed) const;
  void uniform(const Stream& stream, CUdeviceptr out, std::uint64_t count, std::uint64_t seed,
               float low, float high) const;
  void normal(const Stream& stream, CUdeviceptr out, std::uint64_t count, std::uint64_t seed,
              float deviation) const;

 private:
  KernelFile kernels_;
};

}  // namespace marlin
