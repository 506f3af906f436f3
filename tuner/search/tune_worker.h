// A TuneDevice in a process of its own, so that a candidate that crashes or hangs takes only that
// process with it. The two sides speak JSON, a line for each request and each answer.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "runtime/base/unique_fd.h"
#include "tuner/search/compile_ahead.h"
#include "tuner/search/search.h"

namespace marlin {

// What a worker says of its GPU when it is ready.
struct WorkerHello {
  std::string gpu;
  Target target;
  int driver = 0;  // CUDA version: 13000
};

// The worker's side: says hello, then answers requests from `in` on `out` until `in` ends. A
// DeviceLost of the device is answered too, and is the last answer.
void serve(TuneDevice& device, const WorkerHello& hello, int in, int out);

// The other side. Starts the worker again after it has died.
class RemoteDevice : public TuneDevice {
 public:
  // `command` is a program and its arguments that serves on its standard input and output. An
  // answer that takes longer than `patience` seconds is a hang, and the worker is killed. Throws
  // DeviceFailure with what the worker said when it does not come up.
  RemoteDevice(std::vector<std::string> command, double patience);
  ~RemoteDevice() override;

  const WorkerHello& hello() const { return hello_; }
  // From the next answer on.
  void set_patience(double seconds) { patience_ = seconds; }
  // Kernels are waited for here before the worker is asked to run them. Null: it makes its own.
  void set_compiler(CompileAhead* compiler) { compiler_ = compiler; }

  Trial try_out(const Problem& problem, const Config& config) override;
  std::optional<std::vector<RaceTiming>> race(const Problem& problem,
                                              const std::vector<Config>& configs,
                                              int rounds) override;

 private:
  void spawn();
  void start();
  void end();
  std::optional<nlohmann::json> ask(const nlohmann::json& request);
  bool read_line(std::string& line);

  std::vector<std::string> command_;
  double patience_;
  WorkerHello hello_;
  CompileAhead* compiler_ = nullptr;
  pid_t process_ = -1;
  UniqueFd to_, from_;
  std::string buffer_;  // read and not yet a whole line
  std::string died_;    // why the worker gave no answer
};

}  // namespace marlin
