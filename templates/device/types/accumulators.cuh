// FP32 accumulators of MMA fragments, as arrays in registers.

template <int Blocks, int Tiles>
__device__ __forceinline__ void clear(float (&sums)[Blocks][4][Tiles][4]) {
#pragma unroll
  for (int block = 0; block < Blocks; ++block) {
#pragma unroll
    for (int i = 0; i < 16 * Tiles; ++i) sums[block][i / (4 * Tiles)][i / 4 % Tiles][i % 4] = 0.f;
  }
}

template <int Sums>
__device__ __forceinline__ void clear(float (&sums)[Sums]) {
#pragma unroll
  for (int i = 0; i < Sums; ++i) sums[i] = 0.f;
}
