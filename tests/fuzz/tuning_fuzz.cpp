// Any bytes -> a tuning database that is read, looked up and never believed (libFuzzer).
// Entry point: LLVMFuzzerTestOneInput.
#include <cstddef>
#include <cstdint>

#include "tests/fuzz/tuning_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  marlin::test::check_tuning_input({reinterpret_cast<const char*>(data), size});
  return 0;
}
