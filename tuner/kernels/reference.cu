// The FP64 reference product from the logical codes and scales, and what a result is held against
// it with. It knows nothing of packing, fragments or tiles of the kernels it checks.

typedef unsigned long long u64;

__device__ double half_value(unsigned short bits) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
}

// out[m, n] = sum over k of a[m, k] * scales[k / group, n] * (codes[k, n] - 8), all in FP64.
// a, scales: FP16 row-major; codes: one in each byte, row-major; group divides k. n and k are
// multiples of 16; one block of 256 threads makes a 64 x 64 tile, block x along n.
extern "C" __global__ void __launch_bounds__(256)
    reference_gemm(const unsigned short* a, const unsigned char* codes,
                   const unsigned short* scales, double* out, int m, int n, int k, int group) {
  constexpr int kTile = 64, kDepth = 16;
  __shared__ double a_tile[kDepth][kTile + 2];
  __shared__ double w_tile[kDepth][kTile + 2];
  const int row0 = blockIdx.y * kTile, column0 = blockIdx.x * kTile;
  const int thread_row = threadIdx.x / 16, thread_column = threadIdx.x % 16;
  double sum[4][4] = {};

  for (int k0 = 0; k0 < k; k0 += kDepth) {
    for (int e = threadIdx.x; e < kTile * kDepth; e += 256) {
      const int a_k = e % kDepth, a_row = row0 + e / kDepth;
      a_tile[a_k][e / kDepth] = a_row < m ? half_value(a[(u64)a_row * k + k0 + a_k]) : 0.0;
      const int w_k = e / kTile, column = column0 + e % kTile;
      double weight = 0.0;
      if (column < n) {
        const double scale = half_value(scales[(u64)((k0 + w_k) / group) * n + column]);
        weight = scale * ((int)codes[(u64)(k0 + w_k) * n + column] - 8);
      }
      w_tile[w_k][e % kTile] = weight;
    }
    __syncthreads();
#pragma unroll 4
    for (int kk = 0; kk < kDepth; ++kk) {
      double a_part[4], w_part[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        a_part[i] = a_tile[kk][thread_row + 16 * i];
        w_part[i] = w_tile[kk][thread_column + 16 * i];
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) sum[i][j] += a_part[i] * w_part[j];
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int row = row0 + thread_row + 16 * i, column = column0 + thread_column + 16 * j;
      if (row < m && column < n) out[(u64)row * n + column] = sum[i][j];
    }
  }
}

// For each block of 256 threads, four sums over its share of the elements, with the reference
// repeating after `period` of them:
//   partial[4 b + 0] = sum (out - ref)^2     partial[4 b + 1] = sum ref^2
//   partial[4 b + 2] = max |out - ref|       partial[4 b + 3] = values that are not finite
// A value that is not finite counts in the last sum and nowhere else.
extern "C" __global__ void __launch_bounds__(256)
    compare(const unsigned short* out, const double* ref, u64 count, u64 period, double* partial) {
  double error2 = 0, ref2 = 0, worst = 0, strange = 0;
  const u64 stride = (u64)gridDim.x * blockDim.x;
  for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride) {
    const double expected = ref[i % period];
    ref2 += expected * expected;
    if ((out[i] & 0x7C00) == 0x7C00) {
      strange += 1;
      continue;
    }
    const double difference = fabs(half_value(out[i]) - expected);
    error2 += difference * difference;
    worst = fmax(worst, difference);
  }
  __shared__ double shared[4][256];
  const int t = threadIdx.x;
  shared[0][t] = error2;
  shared[1][t] = ref2;
  shared[2][t] = worst;
  shared[3][t] = strange;
  for (int half = 128; half > 0; half /= 2) {
    __syncthreads();
    if (t < half) {
      shared[0][t] += shared[0][t + half];
      shared[1][t] += shared[1][t + half];
      shared[2][t] = fmax(shared[2][t], shared[2][t + half]);
      shared[3][t] += shared[3][t + half];
    }
  }
  if (t == 0) {
    for (int i = 0; i < 4; ++i) partial[4 * (u64)blockIdx.x + i] = shared[i][0];
  }
}

// Adds to *result how many of the 16-bit words differ from the value.
extern "C" __global__ void count_other(const unsigned short* words, u64 count, unsigned value,
                                       u64* result) {
  u64 other = 0;
  const u64 stride = (u64)gridDim.x * blockDim.x;
  for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride) {
    other += words[i] != value;
  }
  if (other) atomicAdd(result, other);
}

// Adds to *result how many of the 16-bit words of two arrays differ.
extern "C" __global__ void count_different(const unsigned short* x, const unsigned short* y,
                                           u64 count, u64* result) {
  u64 different = 0;
  const u64 stride = (u64)gridDim.x * blockDim.x;
  for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride) {
    different += x[i] != y[i];
  }
  if (different) atomicAdd(result, different);
}
