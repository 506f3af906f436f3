// Loads and stores of shared and global memory, and shared addresses.

__device__ __forceinline__ unsigned shared_address(const void* pointer) {
  return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

// Four words of packed codes: one lane's weights of a k16 step of 64 columns.
__device__ __forceinline__ void ld_shared(uint4& packed, unsigned from) {
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(packed.x), "=r"(packed.y), "=r"(packed.z), "=r"(packed.w)
               : "r"(from)
               : "memory");
}

// Those of one, two or all four fragments of 16 columns.
__device__ __forceinline__ void ld_shared(unsigned (&packed)[1], unsigned from) {
  asm volatile("ld.shared.u32 %0, [%1];" : "=r"(packed[0]) : "r"(from) : "memory");
}

__device__ __forceinline__ void ld_shared(unsigned (&packed)[2], unsigned from) {
  asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];"
               : "=r"(packed[0]), "=r"(packed[1])
               : "r"(from)
               : "memory");
}

__device__ __forceinline__ void ld_shared(unsigned (&packed)[4], unsigned from) {
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(packed[0]), "=r"(packed[1]), "=r"(packed[2]), "=r"(packed[3])
               : "r"(from)
               : "memory");
}

__device__ __forceinline__ void st_shared(unsigned to, uint4 bytes) {
  asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(bytes.x), "r"(bytes.y),
               "r"(bytes.z), "r"(bytes.w)
               : "memory");
}

// Sixteen bytes that the previous kernel may have written, past L1.
__device__ __forceinline__ uint4 ld_global_cg(const char* from) {
  uint4 bytes;
  asm volatile("ld.global.cg.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(bytes.x), "=r"(bytes.y), "=r"(bytes.z), "=r"(bytes.w)
               : "l"(from)
               : "memory");
  return bytes;
}
