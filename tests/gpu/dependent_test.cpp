// Dependent launches on the GPU: the bits of plain ones, in streams and in graphs, alone and in
// chains of layers of which each reads what the one before has just written.
// Entry point: the tests of suites Dependent and ChainedFloor.
#include <algorithm>

#include "marlin/linear.h"
#include "tests/gpu/gpu_fixture.h"
#include "tuner/measure/bench_layer.h"

namespace marlin {
namespace {

constexpr std::uint64_t kSeed = 20241103;
constexpr std::size_t kConfigs = 24;  // of each shape
constexpr std::int64_t kMostRows = 16;

// Layers of which each reads the results of the one before; two buffers take turns, so that a layer
// that begins too early reads old results or overwrites some that are still to be read.
class Chain {
 public:
  static constexpr std::int64_t kWidest = 4096;

  Chain(const Checker& checker, std::vector<Layer> layers)
      : checker_(checker),
        layers_(std::move(layers)),
        input_(kMostRows * kWidest * 2),
        first_(input_.bytes()),
        counter_(sizeof(std::uint64_t)) {
    checker.filler().normal(checker.stream(), input_.address(), input_.bytes() / 2, kSeed, 1.0F);
    for (DeviceBuffer& buffer : buffers_) buffer = DeviceBuffer(input_.bytes());
    std::size_t workspace = 0;
    for (const Layer& layer : layers_) {
      workspace = std::max(workspace, layer.kernel.workspace_bytes());
    }
    workspace_ = DeviceBuffer(workspace);
    set(workspace_, 0);
  }

  // How many results of 1000 replays, each of the whole chain as dependent launches, differ from
  // those of plain launches.
  std::uint64_t differing(std::int64_t m) {
    enqueue(m, false);
    copy(first_, last());
    set(counter_, 0);
    enqueue(m, true);
    count_different(m);
    const Graph graph(checker_.stream(), [&] {
      enqueue(m, true);
      count_different(m);
    });
    for (int i = 0; i < 1000; ++i) graph.launch(checker_.stream());
    checker_.stream().finish();
    std::uint64_t result = 0;
    check(driver().cuMemcpyDtoH(&result, counter_.address(), sizeof(result)), "cuMemcpyDtoH");
    return result;
  }

  // Whether the last results are numbers, so that all of this means something.
  bool finite(std::int64_t m) const {
    std::vector<std::uint16_t> words(results(m));
    check(driver().cuMemcpyDtoH(words.data(), first_.address(), words.size() * 2), "cuMemcpyDtoH");
    return std::all_of(words.begin(), words.end(),
                       [](std::uint16_t word) { return (word & 0x7C00) != 0x7C00; });
  }

 private:
  std::size_t results(std::int64_t m) const {
    return static_cast<std::size_t>(m * layers_.back().kernel.problem().shape.n);
  }
  const DeviceBuffer& last() const { return buffers_[(layers_.size() - 1) % 2]; }

  void set(const DeviceBuffer& buffer, unsigned char value) const {
    if (buffer.bytes() == 0) return;
    check(driver().cuMemsetD8Async(buffer.address(), value, buffer.bytes(),
                                   checker_.stream().handle()),
          "cuMemsetD8Async");
  }

  void copy(const DeviceBuffer& to, const DeviceBuffer& from) const {
    check(driver().cuMemcpyDtoDAsync(to.address(), from.address(), to.bytes(),
                                     checker_.stream().handle()),
          "cuMemcpyDtoDAsync");
  }

  void enqueue(std::int64_t m, bool dependent) const {
    for (const DeviceBuffer& buffer : buffers_) set(buffer, 0xFF);
    const void* a = input_.pointer();
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      const Layer& layer = layers_[i];
      void* c = buffers_[i % 2].pointer();
      layer.kernel.launch(checker_.stream().handle(), {.a = a,
                                                       .b = layer.b.pointer(),
                                                       .scales = layer.scales.pointer(),
                                                       .c = c,
                                                       .workspace = workspace_.pointer(),
                                                       .m = m,
                                                       .dependent = dependent});
      a = c;
    }
  }

  void count_different(std::int64_t m) const {
    checker_.kernels().launch("count_different", {.x = 64}, checker_.stream(), last().address(),
                              first_.address(), std::uint64_t{results(m)}, counter_.address());
  }

  const Checker& checker_;
  std::vector<Layer> layers_;
  DeviceBuffer input_, buffers_[2], first_, workspace_, counter_;
};

class Dependent : public GpuTest {
 protected:
  Problem shape_of(std::int64_t k, std::int64_t n) const {
    return {.shape = {.m = kMostRows, .n = n, .k = k}, .scheme = {.group = 128}};
  }

  // Layers 1024 -> 4096 -> 512 -> 1024 -> 4096 -> ..., their kernels drawn from all that are legal;
  // `first` says which.
  std::vector<Layer> layers(const std::vector<std::unique_ptr<CompileQueue>>& queues,
                            std::size_t first) const {
    std::vector<Layer> chosen;
    for (std::size_t i = 0; i < kLayers; ++i) {
      CompileQueue& queue = *queues[i % queues.size()];
      const CompileResult& compiled = queue.wait((first + i / queues.size()) % queue.size());
      if (!compiled.kernel) throw Error(ErrorCode::compile_failed, compiled.error);
      chosen.emplace_back(checker(), *compiled.kernel, 2 * i);
    }
    return chosen;
  }
  static constexpr std::size_t kLayers = 8;

  std::vector<std::unique_ptr<CompileQueue>> compile_layers() const {
    std::vector<std::unique_ptr<CompileQueue>> queues;
    for (const Problem& problem :
         {shape_of(1024, 4096), shape_of(4096, 512), shape_of(512, 1024)}) {
      queues.push_back(compile_configs(problem, kConfigs, kSeed));
    }
    return queues;
  }
};

TEST_F(Dependent, AloneTheyGiveTheBitsOfPlainLaunches) {
  const Problem problem = shape_of(2048, 1024);
  CheckedProduct product(checker(), problem, kSeed);
  const std::unique_ptr<CompileQueue> queue = compile_configs(problem, 2 * kConfigs, kSeed);
  expect_all_right(*queue, product, {1, kMostRows});
  for (std::size_t i = 0; i < queue->size(); ++i) {
    for (const std::int64_t m : {std::int64_t{1}, kMostRows}) {
      EXPECT_EQ(product.replay(*queue->wait(i).kernel, m, 100, true), 0U) << queue->job(i).config;
    }
  }
}

TEST_F(Dependent, LayersReadWhatTheOneBeforeWrote) {
  const std::vector<std::unique_ptr<CompileQueue>> queues = compile_layers();
  for (std::size_t first = 0; first < kConfigs; first += 2) {
    Chain chain(checker(), layers(queues, first));
    for (const std::int64_t m : {std::int64_t{1}, std::int64_t{8}, kMostRows}) {
      EXPECT_EQ(chain.differing(m), 0U) << "from config " << first << ", m = " << m;
      EXPECT_TRUE(chain.finite(m)) << "from config " << first << ", m = " << m;
    }
  }
}

// As users chain them, with the choice for chained launches; against the same config in plain ones.
TEST_F(Dependent, ALinearForChainedLaunchesGivesTheSameBits) {
  const Problem problem = shape_of(2048, 2048);
  const Options chained{.cache_dir = "", .chained = true};
  const Layer layer(checker(), Compiled::get(problem, chained), kSeed);
  const Options plain{.cache_dir = "", .config = layer.kernel.config()};
  const DeviceWeights weights{.n = problem.shape.n,
                              .k = problem.shape.k,
                              .b = layer.b.pointer(),
                              .scales = layer.scales.pointer()};
  const Stream& stream = checker().stream();
  DeviceBuffer buffers[3];
  for (DeviceBuffer& buffer : buffers) buffer = DeviceBuffer(kMostRows * problem.shape.n * 2);
  checker().filler().normal(stream, buffers[2].address(), buffers[2].bytes() / 2, kSeed, 1.0F);
  const auto run = [&](const Linear& linear) {
    const void* a = buffers[2].pointer();
    for (int i = 0; i < 6; ++i) {
      linear(stream.handle(), a, kMostRows, buffers[i % 2].pointer());
      a = buffers[i % 2].pointer();
    }
  };
  const auto results = [&] {
    stream.finish();
    std::vector<std::uint16_t> words(buffers[1].bytes() / 2);
    check(driver().cuMemcpyDtoH(words.data(), buffers[1].address(), buffers[1].bytes()),
          "cuMemcpyDtoH");
    return words;
  };
  run(Linear(weights, plain));
  const std::vector<std::uint16_t> expected = results();
  const Linear linear(weights, chained);
  run(linear);
  EXPECT_EQ(results(), expected);
  const Graph graph(stream, [&] { run(linear); });
  for (int i = 0; i < 10; ++i) graph.launch(stream);
  EXPECT_EQ(results(), expected);
}

class ChainedFloor : public GpuTest {};

TEST_F(ChainedFloor, IsMeasuredWhereTheGpuCanChain) {
  const Problem problem{.shape = {.m = 1, .n = 4096, .k = 4096}, .scheme = {.group = 128}};
  if (!can_chain(gpu().target())) {
    EXPECT_THROW(BenchTools(gpu(), false, true), Error);
    return;
  }
  BenchTools tools(gpu(), false, true);
  LayerBench bench(tools, problem, kSeed);
  const Timing floor = bench.floor();
  EXPECT_EQ(floor.replays, Timer::kReplays);
  EXPECT_GT(floor.min_us, 0.1);
  const Compiled kernel = Compiled::get(problem, {.cache_dir = "", .chained = true});
  EXPECT_GT(bench.time(kernel, 1).min_us, 0.1);
}

}  // namespace
}  // namespace marlin
