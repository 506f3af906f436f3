// What a call that must be refused says.
#pragma once

#include <functional>
#include <string>

#include "codegen/base/error.h"

namespace marlin::test {

// The message of the Error that the call throws, with its code's name in front: "code: message".
inline std::string refusal(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return std::string(to_string(error.code())) + ": " + error.what();
  }
  return "no error";
}

}  // namespace marlin::test
