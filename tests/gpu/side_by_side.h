// One kernel on two streams at once.
#pragma once

#include "tests/gpu/gpu_fixture.h"

namespace marlin {

// Layers of one kernel on streams of their own, whose launches may overlap.
class SideBySide {
 public:
  static constexpr int kStreams = 2;

  SideBySide(const Checker& checker, const Compiled& kernel, std::uint64_t seed)
      : checker_(checker),
        layer_(checker, kernel, seed),
        a_(static_cast<std::size_t>(kernel.problem().shape.m * kernel.problem().shape.k) * 2),
        first_(results() * 2) {
    checker.filler().normal(checker.stream(), a_.address(), a_.bytes() / 2, seed, 1.0F);
    checker.stream().finish();
    for (Lane& lane : lanes_) {
      lane.c = DeviceBuffer(first_.bytes());
      lane.counter = DeviceBuffer(sizeof(std::uint64_t));
      lane.workspace = DeviceBuffer(kernel.workspace_bytes());
      set(lane, lane.counter, 0);
      set(lane, lane.workspace, 0);
    }
    launch(lanes_[0], first_);
    finish();
  }

  // How many results of so many launches on every stream differ from those of one alone.
  std::uint64_t differing(int launches) {
    for (int i = 0; i < launches; ++i) {
      for (Lane& lane : lanes_) {
        set(lane, lane.c, 0xFF);
        launch(lane, lane.c);
        checker_.kernels().launch("count_different", {.x = 4}, lane.stream, lane.c.address(),
                                  first_.address(), std::uint64_t{results()},
                                  lane.counter.address());
      }
    }
    finish();
    std::uint64_t sum = 0;
    for (const Lane& lane : lanes_) {
      std::uint64_t count = 0;
      check(driver().cuMemcpyDtoH(&count, lane.counter.address(), sizeof(count)), "cuMemcpyDtoH");
      sum += count;
    }
    return sum;
  }

 private:
  struct Lane {
    Stream stream;
    DeviceBuffer c, counter, workspace;
  };

  std::size_t results() const {
    return static_cast<std::size_t>(layer_.kernel.problem().shape.m *
                                    layer_.kernel.problem().shape.n);
  }

  static void set(const Lane& lane, const DeviceBuffer& buffer, unsigned char value) {
    if (buffer.bytes() == 0) return;
    check(driver().cuMemsetD8Async(buffer.address(), value, buffer.bytes(), lane.stream.handle()),
          "cuMemsetD8Async");
  }

  void launch(const Lane& lane, const DeviceBuffer& c) const {
    layer_.kernel.launch(lane.stream.handle(), {.a = a_.pointer(),
                                                .b = layer_.b.pointer(),
                                                .scales = layer_.scales.pointer(),
                                                .c = c.pointer(),
                                                .workspace = lane.workspace.pointer(),
                                                .m = layer_.kernel.problem().shape.m});
  }

  void finish() const {
    checker_.stream().finish();
    for (const Lane& lane : lanes_) lane.stream.finish();
  }

  const Checker& checker_;
  Layer layer_;
  DeviceBuffer a_, first_;
  Lane lanes_[kStreams];
};

}  // namespace marlin
