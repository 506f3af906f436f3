// Sums of several warps and blocks -> C.

// A fragment's four sums into the FP32 tile [token][column]: columns g and g + 8 of tokens 2t and
// 2t + 1.
template <int Pitch>
__device__ __forceinline__ void stage_sums(unsigned to, const float (&sums)[4]) {
  asm volatile(
      "st.shared.f32 [%0], %1;\n\t"
      "st.shared.f32 [%0 + %5], %2;\n\t"
      "st.shared.f32 [%0 + 32], %3;\n\t"
      "st.shared.f32 [%0 + %6], %4;" ::"r"(to),
      "f"(sums[0]), "f"(sums[1]), "f"(sums[2]), "f"(sums[3]), "n"(Pitch), "n"(Pitch + 32)
      : "memory");
}

__device__ __forceinline__ float4 load_quad(unsigned from) {
  float4 quad;
  asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(quad.x), "=f"(quad.y), "=f"(quad.z), "=f"(quad.w)
               : "r"(from)
               : "memory");
  return quad;
}

__device__ __forceinline__ void add_quad(float4& sum, float4 quad) {
  sum.x += quad.x;
  sum.y += quad.y;
  sum.z += quad.z;
  sum.w += quad.w;
}

// Four columns of one token to C.
__device__ __forceinline__ void store_quad(char* to, float4 quad) {
  *reinterpret_cast<uint2*>(to) = make_uint2(narrow(quad.x, quad.y), narrow(quad.z, quad.w));
}
