// What the tests of captures on the GPU share.
#pragma once

#include <cstddef>

#include "runtime/driver/driver.h"

namespace marlin {

// A stream of either kind, and what was captured on it.
class CapturedStream {
 public:
  explicit CapturedStream(unsigned flags) {
    check(driver().cuStreamCreate(&stream_, flags), "cuStreamCreate");
  }
  CapturedStream(const CapturedStream&) = delete;
  CapturedStream& operator=(const CapturedStream&) = delete;
  ~CapturedStream() {
    if (graph_ != nullptr) driver().cuGraphDestroy(graph_);
    driver().cuStreamDestroy(stream_);
  }

  CUstream handle() const { return stream_; }
  void begin() {
    check(driver().cuStreamBeginCapture(stream_, CU_STREAM_CAPTURE_MODE_GLOBAL),
          "cuStreamBeginCapture");
  }
  // The number of nodes captured; an error when the capture was spoilt.
  std::size_t end() {
    if (graph_ != nullptr) driver().cuGraphDestroy(graph_);
    check(driver().cuStreamEndCapture(stream_, &graph_), "cuStreamEndCapture");
    std::size_t nodes = 0;
    check(driver().cuGraphGetNodes(graph_, nullptr, &nodes), "cuGraphGetNodes");
    return nodes;
  }
  // The caller's to destroy.
  CUgraphExec instantiate() {
    CUgraphExec exec = nullptr;
    check(driver().cuGraphInstantiateWithFlags(&exec, graph_, 0), "cuGraphInstantiateWithFlags");
    return exec;
  }
  void replay() {
    CUgraphExec exec = instantiate();
    check(driver().cuGraphLaunch(exec, stream_), "cuGraphLaunch");
    check(driver().cuStreamSynchronize(stream_), "cuStreamSynchronize");
    check(driver().cuGraphExecDestroy(exec), "cuGraphExecDestroy");
  }

 private:
  CUstream stream_ = nullptr;
  CUgraph graph_ = nullptr;
};

}  // namespace marlin
