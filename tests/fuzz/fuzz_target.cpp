// Any bytes -> the check of one parser, which the build names (libFuzzer).
// Entry point: LLVMFuzzerTestOneInput.
#include <cstddef>
#include <cstdint>

#include "tests/fuzz/parser_inputs.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  marlin::test::MARLIN_FUZZ_CHECK({reinterpret_cast<const char*>(data), size});
  return 0;
}
