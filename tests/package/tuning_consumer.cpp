// A user's program that tunes its layers, run on the make-believe driver of tests/stubs: its
// kernels write nothing, so that each fails its check. Exits 0 when all answers are right. Entry
// point: main().
#include <marlin/tune.h>
#include <marlin/tune.h>  // once more, as the only headers before all others

#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

namespace {

const marlin::DeviceWeights kLayer = {.n = 512,
                                      .k = 1024,
                                      .scheme = {},
                                      .b = reinterpret_cast<void*>(std::uintptr_t{0x2000}),
                                      .scales = reinterpret_cast<void*>(std::uintptr_t{0x3000})};

bool is_refused(const std::function<void()>& call, marlin::ErrorCode code, const char* words) {
  try {
    call();
    return false;
  } catch (const marlin::Error& error) {
    std::printf("%s: %s\n", marlin::to_string(error.code()), error.what());
    return error.code() == code && std::string(error.what()).find(words) != std::string::npos;
  }
}

bool the_option_needs_the_tuner() {
  const auto make = [] { marlin::Linear(kLayer, {.tune_on_first_use = true}); };
  if (!is_refused(make, marlin::ErrorCode::invalid_argument, "link marlin::tuner")) return false;
  marlin::enable_tuning();
  make();
  return true;
}

bool a_layer_is_measured() {
  const marlin::Linear layer(kLayer);
  int told = 0;
  const std::vector<marlin::TunedCell> cells =
      marlin::tune(layer, {.rows = {1, 1}, .candidates = 1, .progress = [&](const auto& cell) {
                             std::printf("%d of %d: %s, %s\n", cell.number, cell.of,
                                         marlin::to_string(cell.status), cell.why.c_str());
                             return ++told > 0;
                           }});
  return cells.size() == 1 && told == 1 && cells[0].status == marlin::TunedCell::Status::failed;
}

bool bad_rows_are_refused() {
  return is_refused([] { marlin::tune(marlin::Linear(kLayer), {.rows = {0}}); },
                    marlin::ErrorCode::invalid_argument, "rows = 0 is not in 1..65536");
}

}  // namespace

int main() {
  return the_option_needs_the_tuner() && a_layer_is_measured() && bad_rows_are_refused() ? 0 : 1;
}
