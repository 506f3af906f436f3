// What the stand-ins for libcuda.so.1 share: finding their functions by name.
#pragma once

#include <cuda.h>

#include <map>
#include <string>

namespace marlin::test {

using DriverFunctions = std::map<std::string, void*>;

template <typename Function>
void* pointer(Function function) {
  return reinterpret_cast<void*>(function);
}

inline CUresult unsupported() { return CUDA_ERROR_NOT_SUPPORTED; }

// What cuGetProcAddress gives for this symbol; what no test has need of fails when it is called.
inline void* find_function(const DriverFunctions& functions, const char* symbol) {
  const auto found = functions.find(symbol);
  return found != functions.end() ? found->second : pointer(unsupported);
}

}  // namespace marlin::test
