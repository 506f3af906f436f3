// Output tiles with several contributors: partial sums through L2, added in a fixed order by
// whoever comes last, so that nobody ever waits and the result is the same from run to run.

// True in every thread of the block that is the last of `contributors` to arrive; `arrival` is a
// word of shared memory for nothing else. The counter wraps to zero by itself, fit for the next
// launch.
__device__ __forceinline__ bool is_last_arriver(char* counter, unsigned contributors,
                                                unsigned* arrival) {
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0)
    *arrival = atomicInc(reinterpret_cast<unsigned*>(counter), contributors - 1);
  __syncthreads();
  __threadfence();
  return *arrival == contributors - 1;
}
