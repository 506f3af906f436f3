// Shared memory -> registers, in the fragment layout of mma.m16n8k16.

__device__ __forceinline__ unsigned shared_address(const void* pointer) {
  return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

// Four packed weights of packed codes: one lane's weights of a k16 row of 64 columns.
__device__ __forceinline__ void ld_shared(uint4& packed, unsigned from) {
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(packed.x), "=r"(packed.y), "=r"(packed.z), "=r"(packed.w)
               : "r"(from)
               : "memory");
}

// B fragments of eight tokens (k = 0..7 and 8..15 of a k16 step).
__device__ __forceinline__ void ldmatrix(unsigned (&tile)[2], unsigned from) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(tile[0]), "=r"(tile[1])
               : "r"(from)
               : "memory");
}

// The same for sixteen tokens: two tiles at once.
__device__ __forceinline__ void ldmatrix(unsigned (&tile)[2], unsigned (&next)[2],
                                            unsigned from) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(tile[0]), "=r"(tile[1]), "=r"(next[0]), "=r"(next[1])
               : "r"(from)
               : "memory");
}
