// Partial sums of a tile from one block to another through L2: the giver raises a flag, the taker
// waits for it and lowers it again, so that all flags are zero between launches.

// By all threads of a warpgroup, after their stores.
__device__ __forceinline__ void raise_flag(char* flag, unsigned warpgroup_barrier, bool first_thread) {
  __threadfence();
  meet(warpgroup_barrier, 128);
  if (first_thread) {
    asm volatile("st.release.gpu.global.u32 [%0], 1;" ::"l"(flag) : "memory");
  }
}

// By all threads of a warpgroup, before their loads.
__device__ __forceinline__ void take_flag(char* flag, unsigned warpgroup_barrier,
                                          bool first_thread) {
  if (first_thread) {
    unsigned raised = 0;
    while (raised == 0) {
      asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(raised) : "l"(flag) : "memory");
    }
    asm volatile("st.relaxed.gpu.global.u32 [%0], 0;" ::"l"(flag) : "memory");
  }
  meet(warpgroup_barrier, 128);
}

// A thread's sums of an m64 tile, a quad for each eight tokens; those of the warpgroup side by
// side.
template <int Sums>
__device__ __forceinline__ void give_sums(char* to, const float (&sums)[Sums]) {
#pragma unroll
  for (int i = 0; i < Sums / 4; ++i) {
    store_partial(to + i * 2048, make_float4(sums[4 * i], sums[4 * i + 1], sums[4 * i + 2],
                                             sums[4 * i + 3]));
  }
}

template <int Sums>
__device__ __forceinline__ void take_sums(float (&sums)[Sums], const char* from) {
#pragma unroll
  for (int i = 0; i < Sums / 4; ++i) {
    const float4 quad = load_partial(from + i * 2048);
    sums[4 * i] += quad.x;
    sums[4 * i + 1] += quad.y;
    sums[4 * i + 2] += quad.z;
    sums[4 * i + 3] += quad.w;
  }
}
