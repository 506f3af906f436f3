// A function that another library registers -> what Ladder calls before it fills a rung.
// Entry points: first_use_tuner, set_first_use_tuner.
#include "runtime/launch/first_use.h"

#include <atomic>

namespace marlin {
namespace {

std::atomic<FirstUseTuner> registered{nullptr};

}  // namespace

thread_local bool TuningHere::here = false;

FirstUseTuner first_use_tuner() { return registered.load(std::memory_order_acquire); }

void set_first_use_tuner(FirstUseTuner tuner) {
  registered.store(tuner, std::memory_order_release);
}

}  // namespace marlin
