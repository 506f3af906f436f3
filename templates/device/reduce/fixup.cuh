// Stream-K fix-up: partial sums of a tile go from one block to another through L2. The block that
// stores them raises a flag; the producer of the block that finishes the tile waits for it, lowers
// it again, so that all flags are zero between launches, and copies the sums into its stages in
// turn with activations and packed weights.
//
// needs: ptx/named_barrier, reduce/partial

// By all threads of a warpgroup, after their stores: the barrier puts these before the first
// thread's release, and they become visible with it.
__device__ __forceinline__ void fixup_signal(char* flag, unsigned warpgroup_barrier,
                                             bool first_thread) {
  named_barrier_sync(warpgroup_barrier, 128);
  if (first_thread) {
    asm volatile("st.release.gpu.global.u32 [%0], 1;" ::"l"(flag) : "memory");
  }
}

// Called by the producer thread before it copies the partial sums of all `Warpgroups`.
template <int Warpgroups>
__device__ __forceinline__ void fixup_wait(char* flags) {
  for (int i = 0; i < Warpgroups; ++i) {
    unsigned raised = 0;
    while (raised == 0) {
      asm volatile("ld.acquire.gpu.global.u32 %0, [%1];"
                   : "=r"(raised)
                   : "l"(flags + i * 4)
                   : "memory");
    }
    asm volatile("st.relaxed.gpu.global.u32 [%0], 0;" ::"l"(flags + i * 4) : "memory");
  }
  asm volatile("fence.proxy.async.global;" ::: "memory");
}

// A thread's sums of an m64 tile, one float4 for each n8 tile, `Apart` bytes from one to the next:
// beside those of the block's other threads.
template <int Apart, int Sums>
__device__ __forceinline__ void fixup_store(char* to, const float (&sums)[Sums]) {
#pragma unroll
  for (int i = 0; i < Sums / 4; ++i) {
    store_partial(to + i * Apart,
                  make_float4(sums[4 * i], sums[4 * i + 1], sums[4 * i + 2], sums[4 * i + 3]));
  }
}
