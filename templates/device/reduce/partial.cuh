// Four partial sums of a thread to another block and back, through L2.

__device__ __forceinline__ void store_partial(char* to, float4 sum) {
  asm volatile("st.global.cg.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(to), "f"(sum.x), "f"(sum.y),
               "f"(sum.z), "f"(sum.w)
               : "memory");
}

__device__ __forceinline__ float4 load_partial(const char* from) {
  float4 sum;
  asm volatile("ld.global.cg.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(sum.x), "=f"(sum.y), "=f"(sum.z), "=f"(sum.w)
               : "l"(from)
               : "memory");
  return sum;
}
