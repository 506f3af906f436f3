// Partial sums of several warps -> C: a thread adds one column of two tokens and stores two columns
// of one token.
//
// needs: types/f16

// A fragment's four sums, kept in the order of the fragment.
__device__ __forceinline__ void stage_fragment(unsigned to, const float (&sums)[4]) {
  asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(to), "f"(sums[0]), "f"(sums[1]),
               "f"(sums[2]), "f"(sums[3])
               : "memory");
}

// The sums of one column and two neighbouring tokens.
__device__ __forceinline__ float2 load_float2(unsigned from) {
  float2 pair;
  asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];"
               : "=f"(pair.x), "=f"(pair.y)
               : "r"(from)
               : "memory");
  return pair;
}

__device__ __forceinline__ void add_float2(float2& sum, float2 pair) {
  sum.x += pair.x;
  sum.y += pair.y;
}

// Lanes that differ in bit 3 hold neighbouring columns, the even one first, of the same two tokens.
// Each gets one of the tokens with both columns: the even column's lane the first.
__device__ __forceinline__ unsigned shuffle_half2(float2 sum, bool odd_column) {
  const float other = __shfl_xor_sync(~0u, odd_column ? sum.x : sum.y, 8);
  const float low = odd_column ? other : sum.x, high = odd_column ? sum.y : other;
  return pack_half2(low, high);
}
