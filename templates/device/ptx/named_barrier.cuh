// Named barriers of a block: 0 is __syncthreads(). PTX ISA, "barrier{.cta}".

// Named barriers with numbers known in advance. The arriving warps do not wait; `Threads` counts
// those that arrive and those that wait.
template <int Barrier, int Threads>
__device__ __forceinline__ void named_barrier_arrive() {
  asm volatile("barrier.arrive %0, %1;" ::"n"(Barrier), "n"(Threads) : "memory");
}

template <int Barrier, int Threads>
__device__ __forceinline__ void named_barrier_sync() {
  asm volatile("barrier.sync %0, %1;" ::"n"(Barrier), "n"(Threads) : "memory");
}

// A barrier of the warps that share activations; numbers from 1, as 0 is the whole block's.
__device__ __forceinline__ void named_barrier_sync(unsigned barrier, unsigned threads) {
  asm volatile("barrier.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}
