// tune_ladders(): what stands behind tune().
#pragma once

#include <span>
#include <vector>

#include "marlin/tune.h"
#include "runtime/launch/ladder.h"
#include "tuner/api/live_device.h"

namespace marlin {

// As tune(); tests bring ladders with a store of their own and a make-believe of the device.
std::vector<TunedCell> tune_ladders(std::span<const Ladder* const> ladders,
                                    const TuneOptions& options,
                                    const LazyDevice::Make& make = live_bench);

}  // namespace marlin
