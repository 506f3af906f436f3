// Group scales. One FP16 pair holds the scales of columns g and g + 8 of a fragment.

// Each scale of a pair doubled into a half2 of its own.
__device__ __forceinline__ void spread_scales(unsigned& low, unsigned& high, unsigned pair) {
  low = __byte_perm(pair, pair, 0x1010);
  high = __byte_perm(pair, pair, 0x3232);
}

// Scales the weights of one fragment.
__device__ __forceinline__ void scale_weights(unsigned (&weights)[4], unsigned low,
                                              unsigned high) {
  weights[0] = multiply_half2(weights[0], low);
  weights[1] = multiply_half2(weights[1], high);
  weights[2] = multiply_half2(weights[2], low);
  weights[3] = multiply_half2(weights[3], high);
}

__device__ __forceinline__ float2 widen(unsigned pair) {
  float2 result;
  asm("{.reg .f16 a, b; mov.b32 {a, b}, %2; cvt.f32.f16 %0, a; cvt.f32.f16 %1, b;}"
      : "=f"(result.x), "=f"(result.y)
      : "r"(pair));
  return result;
}

__device__ __forceinline__ unsigned narrow(float low, float high) {
  unsigned pair;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}

// Adds one group's sums, scaled, to the running sums: each four of them are a fragment's.
template <int Sums>
__device__ __forceinline__ void add_scaled(float (&sums)[Sums], const float (&group)[Sums],
                                           float2 scales) {
#pragma unroll
  for (int i = 0; i < Sums; ++i) sums[i] = fmaf(i & 2 ? scales.y : scales.x, group[i], sums[i]);
}

// One scale for the whole K: those of four neighbouring columns. Within 32 columns the Marlin
// format stores columns x, x + 1 (x even) as a pair at 8 (x % 8 / 2) + 2 (x / 8).
__device__ __forceinline__ uint2 channel_scales_of(const char* scales, int column_quad) {
  const char* from =
      scales + column_quad / 8 * 64 + (column_quad & 1) * 32 + (column_quad / 2 & 3) * 4;
  return make_uint2(*reinterpret_cast<const unsigned*>(from),
                    *reinterpret_cast<const unsigned*>(from + 16));
}

__device__ __forceinline__ void scale_quad(float4& quad, uint2 scales) {
  const float2 low = widen(scales.x), high = widen(scales.y);
  quad.x *= low.x;
  quad.y *= low.y;
  quad.z *= high.x;
  quad.w *= high.y;
}

// The same for one column, as a factor.
__device__ __forceinline__ float channel_scale_of(const char* scales, int column) {
  const int place = column / 32 * 32 + (column & 7) / 2 * 8 + (column / 8 & 3) * 2 + (column & 1);
  unsigned pair = reinterpret_cast<const unsigned*>(scales)[place / 2];
  const float2 both = widen(pair);
  return place & 1 ? both.y : both.x;
}
