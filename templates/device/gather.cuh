// Partial sums of several warps -> C, one value a thread.

// A fragment's four sums, kept in the order of the fragment.
__device__ __forceinline__ void keep_sums(unsigned to, const float (&sums)[4]) {
  asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(to), "f"(sums[0]), "f"(sums[1]),
               "f"(sums[2]), "f"(sums[3])
               : "memory");
}

__device__ __forceinline__ float load_sum(unsigned from) {
  float value;
  asm volatile("ld.shared.f32 %0, [%1];" : "=f"(value) : "r"(from) : "memory");
  return value;
}

__device__ __forceinline__ void store_value(char* to, float value) {
  unsigned short half;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(value));
  *reinterpret_cast<unsigned short*>(to) = half;
}
