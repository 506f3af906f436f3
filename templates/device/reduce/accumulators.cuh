// Partial sums in shared memory -> the accumulators of a thread.

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
