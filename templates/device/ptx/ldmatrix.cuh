// Shared memory -> B fragments of mma.m16n8k16. PTX ISA, "ldmatrix".

// B fragments of eight tokens (k = 0..7 and 8..15 of a k16 step).
__device__ __forceinline__ void ldmatrix(unsigned (&tile)[2], unsigned from) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(tile[0]), "=r"(tile[1])
               : "r"(from)
               : "memory");
}

// The same for sixteen tokens: two tiles at once.
__device__ __forceinline__ void ldmatrix(unsigned (&tile)[2], unsigned (&next)[2], unsigned from) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(tile[0]), "=r"(tile[1]), "=r"(next[0]), "=r"(next[1])
               : "r"(from)
               : "memory");
}
