// ErrorCode -> its printed name. Entry point: to_string.
#include "codegen/base/error.h"

namespace marlin {

const char* to_string(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_shape: return "invalid_shape";
    case ErrorCode::invalid_scheme: return "invalid_scheme";
    case ErrorCode::invalid_target: return "invalid_target";
    case ErrorCode::invalid_config: return "invalid_config";
    case ErrorCode::invalid_argument: return "invalid_argument";
    case ErrorCode::no_driver: return "no_driver";
    case ErrorCode::no_device: return "no_device";
    case ErrorCode::no_nvrtc: return "no_nvrtc";
    case ErrorCode::compile_failed: return "compile_failed";
    case ErrorCode::jit_disabled: return "jit_disabled";
    case ErrorCode::capturing: return "capturing";
    case ErrorCode::driver_failed: return "driver_failed";
    case ErrorCode::io: return "io";
  }
  return "unknown";
}

}  // namespace marlin
