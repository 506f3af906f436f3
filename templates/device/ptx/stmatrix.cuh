// Sums of m64 tiles -> C: as FP16 through shared memory, where lines of 64 columns of one token are
// swizzled by 128 bytes, as the tensor map of C has them.

// A fragment's sums of eight tokens, the tile'th: sixteen columns, one 16-byte chunk for each eight.
template <int Sums>
__device__ __forceinline__ void stmatrix_trans(unsigned to, const float (&sums)[Sums], int tile) {
  const unsigned low = pack_half2(sums[4 * tile], sums[4 * tile + 1]);
  const unsigned high = pack_half2(sums[4 * tile + 2], sums[4 * tile + 3]);
  asm volatile("stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0], {%1, %2};" ::"r"(to), "r"(low),
               "r"(high)
               : "memory");
}

// The same for two fragments of neighbouring columns.
template <int Sums>
__device__ __forceinline__ void stmatrix_trans(unsigned to, const float (&sums)[Sums],
                                             const float (&next)[Sums], int tile) {
  const unsigned low = pack_half2(sums[4 * tile], sums[4 * tile + 1]);
  const unsigned high = pack_half2(sums[4 * tile + 2], sums[4 * tile + 3]);
  const unsigned next_low = pack_half2(next[4 * tile], next[4 * tile + 1]);
  const unsigned next_high = pack_half2(next[4 * tile + 2], next[4 * tile + 3]);
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(to),
               "r"(low), "r"(high), "r"(next_low), "r"(next_high)
               : "memory");
}

// What was stored to shared memory may be read, and what was loaded from it may be overwritten, by
// the bulk copies that follow.
__device__ __forceinline__ void fence_proxy_async() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// One scale for the whole K, on a fragment's sums: columns g and g + 8.
template <int Sums>
__device__ __forceinline__ void scale_sums(float (&sums)[Sums], float low, float high) {
#pragma unroll
  for (int i = 0; i < Sums; ++i) sums[i] *= i & 2 ? high : low;
}

// The sums of eight tokens that a part of K has sent, in place of a thread's own or added to them.
template <int Sums>
__device__ __forceinline__ void load_accumulators(float (&sums)[Sums], int n8, unsigned from) {
  asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(sums[4 * n8]), "=f"(sums[4 * n8 + 1]), "=f"(sums[4 * n8 + 2]),
                 "=f"(sums[4 * n8 + 3])
               : "r"(from)
               : "memory");
}

template <int Sums>
__device__ __forceinline__ void add_accumulators(float (&sums)[Sums], int n8, unsigned from) {
  float part[4];
  load_accumulators(part, 0, from);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    // In place and at once: put off until many parts have come, these would need their registers.
    asm volatile("add.f32 %0, %0, %1;" : "+f"(sums[4 * n8 + i]) : "f"(part[i]));
  }
}
