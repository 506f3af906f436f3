// Group scales. One FP16 pair holds the scales of columns g and g + 8 of a fragment.
//
// needs: types/f16

// Each scale of a pair doubled into a half2 of its own.
__device__ __forceinline__ void spread_scales(unsigned& low, unsigned& high, unsigned pair) {
  low = __byte_perm(pair, pair, 0x1010);
  high = __byte_perm(pair, pair, 0x3232);
}

// Scales the weights of one fragment.
__device__ __forceinline__ void scale_weights(unsigned (&weights)[4], unsigned low, unsigned high) {
  weights[0] = mul2(weights[0], low);
  weights[1] = mul2(weights[1], high);
  weights[2] = mul2(weights[2], low);
  weights[3] = mul2(weights[3], high);
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
__device__ __forceinline__ uint2 channel_scales_of(const char* scales, int column_float4) {
  const char* from =
      scales + column_float4 / 8 * 64 + (column_float4 & 1) * 32 + (column_float4 / 2 & 3) * 4;
  return make_uint2(*reinterpret_cast<const unsigned*>(from),
                    *reinterpret_cast<const unsigned*>(from + 16));
}

__device__ __forceinline__ void scale_float4(float4& sum, uint2 scales) {
  const float2 low = unpack_half2(scales.x), high = unpack_half2(scales.y);
  sum.x *= low.x;
  sum.y *= low.y;
  sum.z *= high.x;
  sum.w *= high.y;
}

// The same for one column, as a factor.
__device__ __forceinline__ float channel_scale_of(const char* scales, int column) {
  const int index = column / 32 * 32 + (column & 7) / 2 * 8 + (column / 8 & 3) * 2 + (column & 1);
  unsigned pair = reinterpret_cast<const unsigned*>(scales)[index / 2];
  const float2 both = unpack_half2(pair);
  return index & 1 ? both.y : both.x;
}

// One scale for the whole K, on a fragment's sums: columns g and g + 8.
template <int Sums>
__device__ __forceinline__ void scale_sums(float (&sums)[Sums], float low, float high) {
#pragma unroll
  for (int i = 0; i < Sums; ++i) sums[i] *= i & 2 ? high : low;
}
