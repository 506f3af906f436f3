// Fresh random data for checks and measurements. Every value is a hash of (seed, index), so that
// the same seed gives the same data whatever the grid.

typedef unsigned long long u64;

// The output function of splitmix64 (Steele, Lea and Flood 2014) on a Weyl sequence.
__device__ u64 hash(u64 seed, u64 index) {
  u64 x = seed + (index + 1) * 0x9E3779B97F4A7C15ull;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

// In (0, 1], from the upper 24 of 32 random bits.
__device__ float uniform(unsigned bits) { return ((bits >> 8) + 1) * (1.0f / 16777216.0f); }

__device__ unsigned short half_bits(float value) {
  unsigned short bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}

__device__ u64 first() { return (u64)blockIdx.x * blockDim.x + threadIdx.x; }
__device__ u64 stride() { return (u64)gridDim.x * blockDim.x; }

// 4-bit codes, one in each byte; count is a multiple of 16.
extern "C" __global__ void fill_codes(uint4* out, u64 count, u64 seed) {
  for (u64 i = first(); i < count / 16; i += stride()) {
    const u64 x = hash(seed, i);
    const u64 even = x & 0x0F0F0F0F0F0F0F0Full;
    const u64 odd = (x >> 4) & 0x0F0F0F0F0F0F0F0Full;
    out[i] = make_uint4((unsigned)even, (unsigned)(even >> 32), (unsigned)odd,
                        (unsigned)(odd >> 32));
  }
}

// Random bytes; count is a multiple of 8.
extern "C" __global__ void fill_bytes(u64* out, u64 count, u64 seed) {
  for (u64 i = first(); i < count / 8; i += stride()) out[i] = hash(seed, i);
}

// FP16, uniform between low and high.
extern "C" __global__ void fill_uniform(unsigned short* out, u64 count, u64 seed, float low,
                                        float high) {
  for (u64 i = first(); i < count; i += stride()) {
    out[i] = half_bits(low + (high - low) * uniform((unsigned)hash(seed, i)));
  }
}

// FP16, normal with mean 0 (Box and Muller 1958).
extern "C" __global__ void fill_normal(unsigned short* out, u64 count, u64 seed, float deviation) {
  for (u64 i = first(); i < count; i += stride()) {
    const u64 x = hash(seed, i);
    const float radius = sqrtf(-2.0f * logf(uniform((unsigned)x)));
    out[i] = half_bits(deviation * radius * cosf(6.2831853f * uniform((unsigned)(x >> 32))));
  }
}
