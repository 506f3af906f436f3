// parallel_for: the indices of a range, spread over threads, until done, failed or interrupted.
#pragma once

#include <cstddef>
#include <functional>

namespace marlin {

// Calls work(0) .. work(count - 1), in ascending order of their beginnings, on at most `jobs`
// threads, and returns when all have ended. No further index begins once interrupted() is set or a
// call has thrown; the first exception is thrown again at the end.
void parallel_for(std::size_t count, int jobs, const std::function<void(std::size_t)>& work);

}  // namespace marlin
