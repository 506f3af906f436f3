// The hook by which a library above this one tunes a rung when it is first used.
#pragma once

namespace marlin {

class Ladder;

// Tunes the rung of the ladder, and fills its slot where it could be measured. Called with the
// ladder's context current and no capture under way, once in the life of a store for each kernel.
// Throws what Linear's calls may throw.
using FirstUseTuner = void (*)(const Ladder& ladder, int rung);

// Null until one is set. Thread safe.
FirstUseTuner first_use_tuner();
void set_first_use_tuner(FirstUseTuner tuner);

// While one lives its thread is tuning, and what it launches itself is not tuned.
class TuningHere {
 public:
  TuningHere() : before_(here) { here = true; }
  ~TuningHere() { here = before_; }
  TuningHere(const TuningHere&) = delete;
  TuningHere& operator=(const TuningHere&) = delete;

  static bool on_this_thread() { return here; }

 private:
  static thread_local bool here;
  bool before_;
};

}  // namespace marlin
