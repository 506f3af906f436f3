// The reduce-scatter among the blocks of a tile through L2. Every block waits for all the others:
// the launch is cooperative, so that all of them are resident.
//
// needs: ptx/named_barrier, reduce/partial

// The float4 of an n8 tile: kept if this block reduces it (`first <= n8 < first + count`), else
// written to the workspace for the block that does.
template <int Kept, int Sums>
__device__ __forceinline__ void reduce_scatter_store(float (&kept)[Kept], const float (&sums)[Sums],
                                                     unsigned n8, unsigned first, unsigned count,
                                                     char* to) {
  const unsigned index = n8 - first;
  if (index < count) {
#pragma unroll
    for (int i = 0; i < Kept; ++i) {
      if (index == i / 4) kept[i] = sums[4 * n8 + i % 4];
    }
  } else {
    store_partial(to,
                  make_float4(sums[4 * n8], sums[4 * n8 + 1], sums[4 * n8 + 2], sums[4 * n8 + 3]));
  }
}

// By all threads of a warpgroup, after their stores: waits until the same warpgroup of all `Blocks`
// has come here, and sees what they have stored. Two counters: of arrivals and of departures.
template <int Blocks>
__device__ __forceinline__ void tile_barrier_wait(char* counters, unsigned warpgroup_barrier,
                                                  bool first_thread) {
  named_barrier_sync(warpgroup_barrier, 128);
  if (first_thread) {
    asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(counters) : "memory");
    unsigned come = 0;
    while (come != Blocks) {
      asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(come) : "l"(counters) : "memory");
    }
  }
  named_barrier_sync(warpgroup_barrier, 128);
}

// The last one to leave puts both counters back to zero.
template <int Blocks>
__device__ __forceinline__ void tile_barrier_reset(char* counters, bool first_thread) {
  if (!first_thread) return;
  unsigned left;
  asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], 1;"
               : "=r"(left)
               : "l"(counters + 4)
               : "memory");
  if (left == Blocks - 1) {
    asm volatile("st.relaxed.gpu.global.v2.u32 [%0], {0, 0};" ::"l"(counters) : "memory");
  }
}

template <int Kept>
__device__ __forceinline__ void reduce_scatter_add(float (&kept)[Kept], int index,
                                                   const char* from) {
  const float4 part = load_partial(from);
  kept[4 * index] += part.x;
  kept[4 * index + 1] += part.y;
  kept[4 * index + 2] += part.z;
  kept[4 * index + 3] += part.w;
}
