// Error: the one exception this library throws, from codegen up to the public API.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace marlin {

enum class ErrorCode {
  invalid_shape,     // a shape breaks a rule; the message states the rule
  invalid_scheme,    // a scheme that cannot be read or has no kernels yet
  invalid_target,    // an architecture or SM count we cannot emit for
  invalid_config,    // a config that is not legal for the shape and target
  invalid_argument,  // a null or misaligned pointer, m out of range, a malformed option
  no_driver,         // libcuda cannot be opened
  no_device,         // no GPU, or no current CUDA context
  no_nvrtc,          // libnvrtc cannot be opened or is too old
  compile_failed,    // NVRTC refused the emitted source; see log()
  jit_disabled,      // a miss in no-JIT mode; the message names the prebuild command
  capturing,         // a miss while a stream capture is under way
  driver_failed,     // a CUDA driver call failed
  io,                // a file could not be read or written
};

// The code's name as printed and as used in JSON, e.g. "invalid_shape".
const char* to_string(ErrorCode code);

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}

  ErrorCode code() const { return code_; }
  // NVRTC's log, its options (one per line) and where the source was kept; empty unless a compile
  // failed.
  const std::string& log() const { return log_; }
  const std::string& options() const { return options_; }
  const std::string& source_path() const { return source_path_; }

  Error& with_log(std::string log) {
    log_ = std::move(log);
    return *this;
  }
  Error& with_options(std::string options) {
    options_ = std::move(options);
    return *this;
  }
  Error& with_source_path(std::string path) {
    source_path_ = std::move(path);
    return *this;
  }

 private:
  ErrorCode code_;
  std::string log_, options_, source_path_;
};

}  // namespace marlin
