// Weight packing on the device: codes and scales <-> the packed format, and FP16 weights -> codes
// and scales. This is no hot path: shapes are run-time arguments, and where things lie comes as
// tables made by the same layout functions as the rest.

// Entry 8 w + i is 64 k + n of the code in nibble i of word w of a pack tile (16 k by 64 n).
__device__ const unsigned short kTileTable[1024] = {
${tile_table}
};

// Entry p is the column within 64 whose scale lies at position p: grouped, then single.
__device__ const unsigned short kScaleTable[2][64] = {
    {
${grouped_scales}
    },
    {
${single_scales}
    }};

// Bits of the caller's status word.
const unsigned kStatusBadCode = ${bad_code};
const unsigned kStatusNotFinite = ${not_finite};
const unsigned kStatusBadScale = ${bad_scale};

const unsigned kMagnitude = 0x7fff;  // of FP16 bits: all but the sign
const unsigned kMaxFinite = 0x7bff;
const unsigned kMaxScale = ${max_scale};

__device__ void report(unsigned* status, unsigned bit) {
  if (status) atomicOr(status, bit);
}

__device__ float to_float(unsigned short bits) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
}

__device__ unsigned short to_half(float value) {
  unsigned short bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}

// The first code of this block's pack tile in the [k, n] matrix; blocks go along n, then along k.
__device__ long long first_code(long long size_n) {
  const long long across = size_n / 64;
  return blockIdx.x / across * 16 * size_n + blockIdx.x % across * 64;
}

// A block packs one tile, a thread one word of it.
extern "C" __global__ void marlin_pack_codes(const unsigned char* codes, unsigned* packed,
                                             long long size_n, unsigned* status) {
  const unsigned char* tile = codes + first_code(size_n);
  unsigned word = 0, seen = 0;
  for (int i = 0; i < 8; ++i) {
    const int at = kTileTable[8 * threadIdx.x + i];
    const unsigned code = tile[at / 64 * size_n + at % 64];
    seen |= code;
    word |= (code & 15) << (4 * i);
  }
  if (seen > 15) report(status, kStatusBadCode);
  packed[blockIdx.x * 128ll + threadIdx.x] = word;
}

// The inverse.
extern "C" __global__ void marlin_unpack_codes(const unsigned* packed, unsigned char* codes,
                                               long long size_n) {
  unsigned char* tile = codes + first_code(size_n);
  const unsigned word = packed[blockIdx.x * 128ll + threadIdx.x];
  for (int i = 0; i < 8; ++i) {
    const int at = kTileTable[8 * threadIdx.x + i];
    tile[at / 64 * size_n + at % 64] = (word >> (4 * i)) & 15;
  }
}

// A block permutes 64 scales of one row. single: one group for the whole k.
extern "C" __global__ void marlin_pack_scales(const unsigned short* scales, unsigned short* packed,
                                              long long size_n, int single, unsigned* status) {
  const long long first = blockIdx.y * size_n + blockIdx.x * 64;
  const unsigned short scale = scales[first + kScaleTable[single][threadIdx.x]];
  const unsigned magnitude = scale & kMagnitude;
  if (magnitude > kMaxScale) {
    report(status, magnitude > kMaxFinite ? kStatusNotFinite : kStatusBadScale);
  }
  packed[first + threadIdx.x] = scale;
}

// The inverse.
extern "C" __global__ void marlin_unpack_scales(const unsigned short* packed,
                                                unsigned short* scales, long long size_n,
                                                int single) {
  const long long first = blockIdx.y * size_n + blockIdx.x * 64;
  scales[first + kScaleTable[single][threadIdx.x]] = packed[first + threadIdx.x];
}

// A block of 32 x 8 threads quantises one group of 32 columns; its rows are dealt to the 8 threads
// of a column. Every operation rounds as the CPU's does, so that codes and scales are bit-equal.
extern "C" __global__ void __launch_bounds__(256)
    marlin_quantize_rtn(const unsigned short* weights, unsigned char* codes,
                        unsigned short* scales, long long size_n, long long rows,
                        unsigned* status) {
  __shared__ unsigned largest[8][32];
  const long long column = blockIdx.x * 32 + threadIdx.x;
  const long long first = blockIdx.y * rows * size_n + column;
  unsigned most = 0;
  for (long long k = threadIdx.y; k < rows; k += 8) {
    most = max(most, weights[first + k * size_n] & kMagnitude);
  }
  largest[threadIdx.y][threadIdx.x] = most;
  __syncthreads();
  for (int i = 0; i < 8; ++i) most = max(most, largest[i][threadIdx.x]);
  if (most > kMaxFinite) report(status, kStatusNotFinite);

  const unsigned short scale =
      min(unsigned{to_half(__fmul_rn(to_float(most), 2.0f / 15.0f))}, kMaxScale);
  if (threadIdx.y == 0) scales[blockIdx.y * size_n + column] = scale;
  // Where the scale is zero, so is every quotient, which gives code 8.
  const float divisor = scale ? to_float(scale) : __int_as_float(0x7f800000);
  for (long long k = threadIdx.y; k < rows; k += 8) {
    const float quotient = __fdiv_rn(to_float(weights[first + k * size_n]), divisor);
    codes[first + k * size_n] = min(max(__float2int_rn(quotient) + 8, 0), 15);
  }
}
