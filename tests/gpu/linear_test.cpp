// Linear on a real driver: results for many row counts, from many threads, from captured graphs.
// Entry point: the tests of suite LinearGpu.
#include "marlin/linear.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/gpu/captured_stream.h"
#include "tests/gpu/halves.h"
#include "tests/reference/model.h"
#include "tuner/measure/gpu.h"

namespace marlin {
namespace {

constexpr std::int64_t kMostRows = 200;
constexpr std::int64_t kRowCounts[] = {1,  2,  3,  4,  5,  8,  9,   16,  17,  24, 25,
                                       40, 48, 64, 65, 96, 97, 128, 129, 192, 200};

// The copy may return before its data has arrived, and our streams do not wait for it.
void upload(const void* values, const DeviceBuffer& to) {
  check(driver().cuMemcpyHtoD(to.address(), values, to.bytes()), "cuMemcpyHtoD");
  check(driver().cuCtxSynchronize(), "cuCtxSynchronize");
}

template <typename T>
DeviceBuffer uploaded(const std::vector<T>& values) {
  DeviceBuffer buffer(values.size() * sizeof(T));
  upload(values.data(), buffer);
  return buffer;
}

Options in_memory() {
  return {.cache_dir = "", .system_dirs = std::vector<std::string>{}, .disable_jit = false};
}

// A layer of random weights, with activations for it.
struct Layer {
  reference::Weights weights;
  Halves activations;
  DeviceBuffer a, b, scales;
  Linear linear;

  Layer(std::int64_t k, std::int64_t n, unsigned seed)
      : Layer(reference::make_operands(reference::Inputs::random, kMostRows, k, n, 128, seed)) {}

  explicit Layer(const reference::Operands& operands)
      : weights(operands.weights),
        activations(operands.a),
        a(uploaded(activations)),
        b(uploaded(reference::pack_codes(weights))),
        scales(uploaded(reference::permute_scales(weights))),
        linear({.n = weights.n,
                .k = weights.k,
                .scheme = {.group = 128},
                .b = b.pointer(),
                .scales = scales.pointer()},
               in_memory()) {}

  // The reference's product of the two, for all rows.
  std::vector<double> product() const { return reference::gemm(kMostRows, activations, weights); }
};

// Where one stream's results go: room for one row more than any call writes.
class Output {
 public:
  explicit Output(std::int64_t n) : c_(static_cast<std::size_t>((kMostRows + 1) * n) * 2) {}

  void poison(CUstream stream) const { poison_halves(c_, stream); }
  // What the stream left there.
  Halves read(CUstream stream) const { return read_halves(c_, stream); }
  Halves run(const Layer& layer, CUstream stream, std::int64_t m) const {
    poison(stream);
    layer.linear(stream, layer.a.pointer(), m, c_.pointer());
    return read(stream);
  }
  void* pointer() const { return c_.pointer(); }

 private:
  DeviceBuffer c_;
};

class LinearGpu : public testing::Test {
 protected:
  void SetUp() override {
    if (!gpu_available()) GTEST_SKIP() << "no GPU";
    gpu_.emplace();
    layers_.push_back(std::make_unique<Layer>(4096, 512, 11));
    layers_.push_back(std::make_unique<Layer>(512, 320, 22));
    std::vector<const Linear*> linears;
    for (const auto& layer : layers_) linears.push_back(&layer->linear);
    Linear::warm_up(linears, kMostRows);
  }

  // Whether a kernel that adds partial sums in a workspace is among those of the layer.
  static bool shares_tiles(const Layer& layer) {
    for (const std::int64_t m : kRowCounts) {
      const Problem problem = {.shape = {.m = m, .n = layer.weights.n, .k = layer.weights.k},
                               .scheme = {.group = 128}};
      if (Compiled::get(problem, in_memory()).workspace_bytes() > 0) return true;
    }
    return false;
  }

  std::optional<Gpu> gpu_;
  std::vector<std::unique_ptr<Layer>> layers_;
};

TEST_F(LinearGpu, EveryMGivesTheRightRowsAndNoOthers) {
  const Stream stream;
  for (const auto& layer : layers_) {
    const Output output(layer->weights.n);
    const std::vector<double> product = layer->product();
    for (const std::int64_t m : kRowCounts) {
      const Halves out = output.run(*layer, stream.handle(), m);
      const auto count = static_cast<std::size_t>(m * layer->weights.n);
      EXPECT_LT(relative_error(out, product, count), 1e-3) << m;
      for (std::size_t i = count; i < out.size(); ++i) {
        ASSERT_EQ(out[i], kPoison) << m << ' ' << i;
      }
    }
  }
}

// Which kernel a row count gets must not decide whether the result is right.
TEST_F(LinearGpu, TheEdgesOfTheInputRangesAreRightForEveryM) {
  constexpr std::int64_t kN = 512, kK = 1024;
  const Stream stream;
  const Output output(kN);
  for (const reference::Inputs inputs : reference::kAllInputs) {
    const Layer layer(reference::make_operands(inputs, kMostRows, kK, kN, 128, 33));
    const std::vector<double> product = layer.product();
    for (const std::int64_t m : kRowCounts) {
      const Halves out = output.run(layer, stream.handle(), m);
      EXPECT_LT(relative_error(out, product, static_cast<std::size_t>(m * kN)), 1e-3)
          << "inputs " << static_cast<int>(inputs) << ", m = " << m;
    }
    layer.linear(stream.handle(), nullptr, 0, nullptr);  // no rows: nothing
  }
}

// Half of the threads have streams they made, the others use their own per-thread default stream.
TEST_F(LinearGpu, ThreadsAtOnceGetTheBitsOfOneAlone) {
  constexpr int kThreads = 8, kRounds = 5;
  EXPECT_TRUE(shares_tiles(*layers_.front()));
  std::vector<std::map<std::int64_t, Halves>> alone(layers_.size());
  {
    const Stream stream;
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      const Output output(layers_[i]->weights.n);
      for (const std::int64_t m : kRowCounts) {
        alone[i][m] = output.run(*layers_[i], stream.handle(), m);
      }
    }
  }
  std::atomic<int> ready{0}, different{0};
  const auto work = [&](int thread) {
    gpu_->make_current();
    const Stream own;
    const CUstream stream = thread % 2 == 0 ? own.handle() : CU_STREAM_PER_THREAD;
    std::vector<Output> outputs;
    for (const auto& layer : layers_) outputs.emplace_back(layer->weights.n);
    ++ready;
    while (ready < kThreads) std::this_thread::yield();
    for (int i = 0; i < kRounds * static_cast<int>(std::size(kRowCounts)); ++i) {
      const std::int64_t m = kRowCounts[(i + 5 * thread) % std::size(kRowCounts)];
      // Enqueued together, so that launches of both layers follow each other without a pause.
      for (std::size_t l = 0; l < layers_.size(); ++l) {
        outputs[l].poison(stream);
        layers_[l]->linear(stream, layers_[l]->a.pointer(), m, outputs[l].pointer());
      }
      for (std::size_t l = 0; l < layers_.size(); ++l) {
        if (outputs[l].read(stream) != alone[l][m]) ++different;
      }
    }
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) threads.emplace_back(work, t);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(different, 0);
}

// The stream's first call ever is a captured one, so that its workspace is allocated beside the
// capture.
TEST_F(LinearGpu, ACapturedCallIsReplayedOnNewData) {
  const Layer& layer = *layers_.front();
  const Output output(layer.weights.n);
  const Stream eager;
  const Halves other = reference::random_halves(kMostRows * layer.weights.k, 33);
  EXPECT_TRUE(shares_tiles(layer));
  for (const unsigned flags : {CU_STREAM_DEFAULT, CU_STREAM_NON_BLOCKING}) {
    for (const std::int64_t m : {1, 16, 40, 200}) {
      CapturedStream stream(flags);
      stream.begin();
      layer.linear(stream.handle(), layer.a.pointer(), m, output.pointer());
      EXPECT_EQ(stream.end(), 1u);
      for (const Halves* activations : {&layer.activations, &other}) {
        upload(activations->data(), layer.a);
        const Halves expected = output.run(layer, eager.handle(), m);
        output.poison(stream.handle());
        stream.replay();
        stream.replay();
        EXPECT_EQ(output.read(stream.handle()), expected) << m;
      }
    }
  }
}

std::size_t free_memory() {
  std::size_t free = 0, total = 0;
  check(driver().cuMemGetInfo(&free, &total), "cuMemGetInfo");
  return free;
}

// As a server has them that makes a stream for each request.
TEST_F(LinearGpu, StreamsThatComeAndGoShareABoundedPool) {
  constexpr std::size_t kWaves = 20, kStreams = 25;
  constexpr std::size_t kMost = std::size_t{32} << 20;  // of what streams themselves may take
  const Layer& layer = *layers_.front();
  EXPECT_TRUE(shares_tiles(layer));
  std::vector<Output> outputs;
  for (std::size_t i = 0; i < kStreams; ++i) outputs.emplace_back(layer.weights.n);
  std::map<std::int64_t, Halves> alone;
  const Stream first;
  for (const std::int64_t m : kRowCounts) alone[m] = outputs[0].run(layer, first.handle(), m);
  std::size_t before = 0;
  int different = 0;
  for (std::size_t wave = 0; wave < kWaves; ++wave) {
    std::vector<Stream> streams(kStreams);
    for (std::size_t i = 0; i < kStreams; ++i) {
      const std::int64_t m = kRowCounts[(i + 7 * wave) % std::size(kRowCounts)];
      outputs[i].poison(streams[i].handle());
      layer.linear(streams[i].handle(), layer.a.pointer(), m, outputs[i].pointer());
    }
    for (std::size_t i = 0; i < kStreams; ++i) {
      const std::int64_t m = kRowCounts[(i + 7 * wave) % std::size(kRowCounts)];
      if (outputs[i].read(streams[i].handle()) != alone[m]) ++different;
    }
    if (wave == 0) before = free_memory();
  }
  EXPECT_EQ(different, 0);
  EXPECT_GE(free_memory() + kMost, before);
}

// Two graphs of one stream and calls on others, all at the same time.
TEST_F(LinearGpu, GraphsOfLaterStreamsHaveTheirOwnWorkspace) {
  constexpr int kRounds = 50;
  const Layer& layer = *layers_.front();
  const Output eager(layer.weights.n), one(layer.weights.n), two(layer.weights.n);
  const Stream streams[4];  // three of them have a workspace of their own
  for (const Stream& stream : streams) eager.run(layer, stream.handle(), 40);
  const Halves expected[2] = {eager.run(layer, streams[0].handle(), 16),
                              eager.run(layer, streams[0].handle(), 40)};
  CapturedStream stream(CU_STREAM_NON_BLOCKING);
  CUgraphExec graphs[2] = {};
  for (int i = 0; i < 2; ++i) {
    stream.begin();
    layer.linear(stream.handle(), layer.a.pointer(), i == 0 ? 16 : 40,
                 (i == 0 ? one : two).pointer());
    EXPECT_EQ(stream.end(), 1u);
    graphs[i] = stream.instantiate();
  }
  int different = 0;
  for (int round = 0; round < kRounds; ++round) {
    one.poison(streams[1].handle());
    two.poison(streams[2].handle());
    check(driver().cuGraphLaunch(graphs[0], streams[1].handle()), "cuGraphLaunch");
    check(driver().cuGraphLaunch(graphs[1], streams[2].handle()), "cuGraphLaunch");
    if (eager.run(layer, streams[3].handle(), 40) != expected[1]) ++different;
    if (one.read(streams[1].handle()) != expected[0]) ++different;
    if (two.read(streams[2].handle()) != expected[1]) ++different;
  }
  EXPECT_EQ(different, 0);
  for (CUgraphExec graph : graphs) check(driver().cuGraphExecDestroy(graph), "cuGraphExecDestroy");
}

#if CUDA_VERSION >= 12050
// Driver functions that only this test needs; the library is in the process already.
template <typename Function>
Function driver_function(const char* name) {
  return reinterpret_cast<Function>(dlsym(dlopen("libcuda.so.1", RTLD_NOW), name));
}

// A context with some of the GPU's SMs, current while it lives, and a stream of it.
class GreenContext {
 public:
  explicit GreenContext(unsigned sms) {
    check(driver().cuCtxGetCurrent(&before_), "cuCtxGetCurrent");
    CUdevice device = 0;
    check(driver().cuCtxGetDevice(&device), "cuCtxGetDevice");
    CUdevResource all = {}, some = {};
    check(driver_function<PFN_cuDeviceGetDevResource_v12040>("cuDeviceGetDevResource")(
              device, &all, CU_DEV_RESOURCE_TYPE_SM),
          "cuDeviceGetDevResource");
    unsigned groups = 1;
    check(driver_function<PFN_cuDevSmResourceSplitByCount_v12040>("cuDevSmResourceSplitByCount")(
              &some, &groups, &all, nullptr, 0, sms),
          "cuDevSmResourceSplitByCount");
    sms_ = static_cast<int>(some.sm.smCount);
    CUdevResourceDesc description = nullptr;
    check(driver_function<PFN_cuDevResourceGenerateDesc_v12040>("cuDevResourceGenerateDesc")(
              &description, &some, 1),
          "cuDevResourceGenerateDesc");
    check(driver_function<PFN_cuGreenCtxCreate_v12040>("cuGreenCtxCreate")(
              &green_, description, device, CU_GREEN_CTX_DEFAULT_STREAM),
          "cuGreenCtxCreate");
    CUcontext context = nullptr;
    check(driver_function<PFN_cuCtxFromGreenCtx_v12040>("cuCtxFromGreenCtx")(&context, green_),
          "cuCtxFromGreenCtx");
    check(driver().cuCtxSetCurrent(context), "cuCtxSetCurrent");
    check(driver_function<PFN_cuGreenCtxStreamCreate_v12050>("cuGreenCtxStreamCreate")(
              &stream_, green_, CU_STREAM_NON_BLOCKING, 0),
          "cuGreenCtxStreamCreate");
  }
  ~GreenContext() {
    driver().cuStreamDestroy(stream_);
    driver().cuCtxSetCurrent(before_);
    driver_function<PFN_cuGreenCtxDestroy_v12040>("cuGreenCtxDestroy")(green_);
  }
  GreenContext(const GreenContext&) = delete;
  GreenContext& operator=(const GreenContext&) = delete;

  int sms() const { return sms_; }
  CUstream stream() const { return stream_; }

 private:
  CUcontext before_ = nullptr;
  CUgreenCtx green_ = nullptr;
  CUstream stream_ = nullptr;
  int sms_ = 0;
};

TEST_F(LinearGpu, AGreenContextHasKernelsForItsSms) {
  if (driver().cuCtxGetDevResource == nullptr) GTEST_SKIP() << "a driver without green contexts";
  const Layer& layer = *layers_.front();
  const std::vector<double> product = layer.product();
  const Output output(layer.weights.n);
  for (const unsigned sms : {16u, 32u}) {
    const GreenContext green(sms);
    ASSERT_LT(green.sms(), gpu_->target().sms);
    const Problem problem = {.shape = {.m = 64, .n = layer.weights.n, .k = layer.weights.k}};
    EXPECT_EQ(Compiled::get(problem, in_memory()).target().sms, green.sms());
    const Linear linear({.n = layer.weights.n,
                         .k = layer.weights.k,
                         .b = layer.b.pointer(),
                         .scales = layer.scales.pointer()},
                        in_memory());
    for (const std::int64_t m : kRowCounts) {
      output.poison(green.stream());
      linear(green.stream(), layer.a.pointer(), m, output.pointer());
      const Halves out = output.read(green.stream());
      EXPECT_LT(relative_error(out, product, static_cast<std::size_t>(m * layer.weights.n)), 1e-3)
          << sms << " SMs, m = " << m;
    }
  }
  EXPECT_EQ(Compiled::get({.m = 64, .n = 512, .k = 4096}, in_memory()).target().sms,
            gpu_->target().sms);
}
#endif

TEST_F(LinearGpu, AMissDuringACaptureIsRefusedAndTheGraphStaysWhole) {
  const Layer& layer = *layers_.front();
  const Output output(layer.weights.n);
  const Stream eager;
  const Halves expected = output.run(layer, eager.handle(), 9);
  for (const unsigned flags : {CU_STREAM_DEFAULT, CU_STREAM_NON_BLOCKING}) {
    CapturedStream stream(flags);
    stream.begin();
    layer.linear(stream.handle(), layer.a.pointer(), 7, output.pointer());
    try {
      layer.linear(stream.handle(), layer.a.pointer(), 300, output.pointer());
      ADD_FAILURE() << "a miss was served during a capture";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::capturing) << error.what();
    }
    layer.linear(stream.handle(), layer.a.pointer(), 9, output.pointer());
    EXPECT_EQ(stream.end(), 2u);
    output.poison(stream.handle());
    stream.replay();
    EXPECT_EQ(output.read(stream.handle()), expected);
  }
}

TEST_F(LinearGpu, AThreadWithoutTheContextIsTold) {
  const Layer& layer = *layers_.front();
  std::optional<ErrorCode> code;
  std::thread([&] {
    try {
      layer.linear(nullptr, layer.a.pointer(), 1, layer.a.pointer());
    } catch (const Error& error) {
      code = error.code();
    }
  }).join();
  EXPECT_EQ(code, ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace marlin
