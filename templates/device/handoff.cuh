// Partial sums of a tile from one block to another through L2: the giver raises a flag, the taker
// waits for it and lowers it again, so that all flags are zero between launches.

// By all threads of a warpgroup, after their stores: the barrier puts these before the first
// thread's release, and they become visible with it.
__device__ __forceinline__ void raise_flag(char* flag, unsigned warpgroup_barrier,
                                           bool first_thread) {
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

// So many loads on their way hide most of L2's latency.
template <int Sums>
__device__ __forceinline__ void take_sums(float (&sums)[Sums], const char* from) {
  constexpr int kAtOnce = 8;
#pragma unroll
  for (int first = 0; first < Sums / 4; first += kAtOnce) {
    float4 quads[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      if (first + i < Sums / 4) quads[i] = load_partial(from + (first + i) * 2048);
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      if (first + i >= Sums / 4) break;
      sums[4 * (first + i)] += quads[i].x;
      sums[4 * (first + i) + 1] += quads[i].y;
      sums[4 * (first + i) + 2] += quads[i].z;
      sums[4 * (first + i) + 3] += quads[i].w;
    }
  }
}
