// A user's program: asks for one good and one bad shape and exits 0 when both answers are right.
// Entry point: main().
#include <marlin/compiled.h>
#include <marlin/linear.h>

#include <cstdio>
#include <string>

namespace {

// With no GPU the answer to a good shape is an error that says so; anything else is wrong.
bool good_shape_is_served_or_lacks_a_device() {
  try {
    const auto kernel = marlin::Compiled::get({.m = 16, .n = 256, .k = 256});
    const auto other = marlin::Compiled::get(
        {.shape = {.m = 16, .n = 256, .k = 256}, .scheme = marlin::parse_scheme("f16.u4b8.g64")});
    return kernel.problem().shape.n == 256 && other.problem().scheme.group == 64;
  } catch (const marlin::Error& error) {
    std::printf("%s: %s\n", marlin::to_string(error.code()), error.what());
    return error.code() == marlin::ErrorCode::no_driver ||
           error.code() == marlin::ErrorCode::no_device;
  }
}

bool bad_shape_is_refused_with_its_rule() {
  try {
    marlin::Linear({.n = 4100, .k = 4096, .scheme = {.group = 64}});
    return false;
  } catch (const marlin::Error& error) {
    return error.code() == marlin::ErrorCode::invalid_shape &&
           std::string(error.what()).find("4100") != std::string::npos;
  }
}

}  // namespace

int main() {
  return good_shape_is_served_or_lacks_a_device() && bad_shape_is_refused_with_its_rule() ? 0 : 1;
}
