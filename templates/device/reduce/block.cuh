// Sums of several warps and blocks -> C.
//
// needs: types/f16

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

__device__ __forceinline__ float4 load_float4(unsigned from) {
  float4 sum;
  asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(sum.x), "=f"(sum.y), "=f"(sum.z), "=f"(sum.w)
               : "r"(from)
               : "memory");
  return sum;
}

__device__ __forceinline__ void add_float4(float4& sum, float4 addend) {
  sum.x += addend.x;
  sum.y += addend.y;
  sum.z += addend.z;
  sum.w += addend.w;
}

// Four columns of one token to C.
__device__ __forceinline__ void store_half4(char* to, float4 sum) {
  *reinterpret_cast<uint2*>(to) = make_uint2(pack_half2(sum.x, sum.y), pack_half2(sum.z, sum.w));
}
