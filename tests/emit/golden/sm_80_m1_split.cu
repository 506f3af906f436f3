// marlin_stripe_1x4096x4096_g128: Marlin stripe kernel, 1x4096x4096 g128
//
// C[1, 4096] = A[1, 4096] * dequantised(B)[4096, 4096].
// B: 4-bit codes in the Marlin format, one FP16 scale for each 128 along K.
// Written for sm_80, 108 SMs by config 'm8 n64 w1x8 k128 s2 accumulators split1 b1'.
// 1 x 64 x 1 blocks of 256 threads, 100352 bytes of shared memory each, 0 of workspace.
//
// A block computes tiles of 1 tokens x 64 columns and takes 1024 of K from each of the 2
// stages of its pipeline; 1 warps split the columns and 8 split that K. Weights are the
// A operand of the tensor cores, tokens the B operand: C^T = W^T A^T.

// Asynchronous copies from global to shared memory (cp.async, sm_80 and later).

// Sixteen bytes, past L1. The source is fetched into L2 by lines of 128 bytes.
__device__ __forceinline__ void copy16(unsigned to, const char* from) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(to), "l"(from)
               : "memory");
}

// Closes the group of copies that make up one stage.
__device__ __forceinline__ void close_stage() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits until at most `Pending` of the latest stages are still on their way.
template <int Pending>
__device__ __forceinline__ void wait_for_stage() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
}

// Shared memory -> registers, in the fragment layout of mma.m16n8k16.

__device__ __forceinline__ unsigned shared_address(const void* pointer) {
  return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

// Four words of packed codes: one lane's weights of a k16 row of 64 columns.
__device__ __forceinline__ void load_words(uint4& words, unsigned from) {
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(words.x), "=r"(words.y), "=r"(words.z), "=r"(words.w)
               : "r"(from)
               : "memory");
}

// B fragments of eight tokens (k = 0..7 and 8..15 of a k16 step).
__device__ __forceinline__ void load_tokens(unsigned (&tile)[2], unsigned from) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(tile[0]), "=r"(tile[1])
               : "r"(from)
               : "memory");
}

// The same for sixteen tokens: two tiles at once.
__device__ __forceinline__ void load_tokens(unsigned (&tile)[2], unsigned (&next)[2],
                                            unsigned from) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(tile[0]), "=r"(tile[1]), "=r"(next[0]), "=r"(next[1])
               : "r"(from)
               : "memory");
}

// A word of eight 4-bit codes -> the A fragment of mma.m16n8k16, exactly code - 8 in FP16.
//
// The Marlin format orders the nibbles so that four masks give the four half2 registers. A mask
// leaves a code in the low mantissa bits of an FP16 whose exponent it sets by the same LOP3:
// 0x6400 | code = 1024 + code, and with the code one nibble up, 0x5400 | code << 4 = 64 + code.
// Source of the technique: Kim et al., "Who Says Elephants Can't Run", 2022.

template <unsigned Mask, unsigned Exponent>
__device__ __forceinline__ unsigned masked_or(unsigned word) {
  unsigned result;
  asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(result) : "r"(word), "n"(Mask), "n"(Exponent));
  return result;
}

__device__ __forceinline__ unsigned add_half2(unsigned a, unsigned b) {
  unsigned result;
  asm("add.f16x2 %0, %1, %2;" : "=r"(result) : "r"(a), "r"(b));
  return result;
}

__device__ __forceinline__ unsigned multiply_half2(unsigned a, unsigned b) {
  unsigned result;
  asm("mul.f16x2 %0, %1, %2;" : "=r"(result) : "r"(a), "r"(b));
  return result;
}

// Registers: columns g and g + 8 at k = 2t, 2t + 1, then both at k = 2t + 8, 2t + 9, for lane
// 4 g + t.
__device__ __forceinline__ void dequantise(unsigned (&weights)[4], unsigned word) {
  constexpr unsigned kMinus1032 = 0xe408e408, kMinus72 = 0xd480d480;
  const unsigned upper = word >> 8;
  weights[0] = add_half2(masked_or<0x000f000f, 0x64006400>(word), kMinus1032);
  weights[1] = add_half2(masked_or<0x000f000f, 0x64006400>(upper), kMinus1032);
  weights[2] = add_half2(masked_or<0x00f000f0, 0x54005400>(word), kMinus72);
  weights[3] = add_half2(masked_or<0x00f000f0, 0x54005400>(upper), kMinus72);
}

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

// The tensor core product of sixteen columns and eight tokens over k = 16, in FP32:
// d[column, token] = weights[column, k] * tokens[k, token] + d.

__device__ __forceinline__ void mma(float (&d)[4], const unsigned (&weights)[4],
                                    const unsigned (&tokens)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(weights[0]), "r"(weights[1]), "r"(weights[2]), "r"(weights[3]), "r"(tokens[0]),
        "r"(tokens[1]));
}

// The same with nothing to add to: the first step of a group.
__device__ __forceinline__ void mma_first(float (&d)[4], const unsigned (&weights)[4],
                                          const unsigned (&tokens)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %10, %10, %10};"
      : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
      : "r"(weights[0]), "r"(weights[1]), "r"(weights[2]), "r"(weights[3]), "r"(tokens[0]),
        "r"(tokens[1]), "f"(0.f));
}

template <int Blocks, int Tiles>
__device__ __forceinline__ void clear(float (&sums)[Blocks][4][Tiles][4]) {
#pragma unroll
  for (int block = 0; block < Blocks; ++block) {
#pragma unroll
    for (int i = 0; i < 16 * Tiles; ++i) sums[block][i / (4 * Tiles)][i / 4 % Tiles][i % 4] = 0.f;
  }
}

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

// What the generator took for granted.
static_assert(__CUDA_ARCH__ == 800, "written for sm_80");
static_assert(4096 % 64 == 0 && 4096 % 1024 == 0, "N and K are whole tiles");
static_assert(2 * 50176 <= 100352, "the ring fits");

extern "C" __global__ void __launch_bounds__(256, 1)
marlin_stripe_1x4096x4096_g128(const char* __restrict__ a, const char* __restrict__ b, const char* __restrict__ scales,
    char* __restrict__ c, char* __restrict__ workspace, int m) {
  extern __shared__ __align__(128) char shared_memory[];
  const unsigned shared = shared_address(shared_memory);
  const unsigned lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const unsigned warp_k = warp;

  // ---- Which tiles this block computes.
  const unsigned slice = blockIdx.y;

  // ---- Global -> shared memory: every warp copies the words and scales that it alone reads.
  const char* from_weights = b + slice * 512ll + warp_k * 262144ll + lane * 16;
  const unsigned words_at = shared + warp * 4096 + lane * 16;
  const unsigned copier = lane;
  const unsigned copy_row = copier / 16, copy_chunk = copier & 15;
  const char* from_tokens = a + copy_row * 8192ll + warp * 256 + copy_chunk * 16;
  const unsigned copy_place = copy_row * 256 + copy_chunk * 16;
  const unsigned to_tokens = shared + 32768 + warp * 2048 + (copy_place ^ ((copy_place >> 8 & 7) << 4));
  const char* from_scales = scales + slice * 128ll + warp_k * 8192ll + lane * 16;
  const unsigned to_scales = shared + 49152 + warp * 128 + lane * 16;
  auto fetch = [&](unsigned stage) {
    copy16(words_at + stage, from_weights);
    copy16(words_at + stage + 512, from_weights + 32768);
    copy16(words_at + stage + 1024, from_weights + 65536);
    copy16(words_at + stage + 1536, from_weights + 98304);
    copy16(words_at + stage + 2048, from_weights + 131072);
    copy16(words_at + stage + 2560, from_weights + 163840);
    copy16(words_at + stage + 3072, from_weights + 196608);
    copy16(words_at + stage + 3584, from_weights + 229376);
    if (copier < 16) copy16(to_tokens + stage, from_tokens);
    if (lane < 8) copy16(to_scales + stage, from_scales);
    from_weights += 2097152ll;
    from_tokens += 2048ll;
    from_scales += 65536ll;
  };

  // ---- Shared memory -> fragments.
  const unsigned token_row = lane & 7;
  const unsigned token_place = token_row * 256 + (lane / 8 & 1) * 16;
  const unsigned tokens_at = shared + 32768 + warp * 2048 + (token_place ^ ((token_place >> 8 & 7) << 4));
  const unsigned scales_at = shared + 49152 + warp * 128 + lane / 4 * 16;
  float sums[1][4][1][4];  // [64 columns][16 of them][8 tokens][fragment]
  clear(sums);

  // ---- Sums -> shared memory -> C.
  const unsigned sums_to = shared + warp_k * 2176 + (lane & 3) * 544 + (lane / 4) * 4;
  const int row = threadIdx.x / 16, column_quad = threadIdx.x & 15;
  const unsigned quads_at = shared + row * 272 + column_quad * 16;
  auto finish = [&]() {
    char* output = c + slice * 128ll + row * 8192ll + column_quad * 8;
    // Tokens 0..7 of the tile.
    __syncthreads();  // Nobody reads this memory any more.
    stage_sums<272>(sums_to, sums[0][0][0]);
    stage_sums<272>(sums_to + 64, sums[0][1][0]);
    stage_sums<272>(sums_to + 128, sums[0][2][0]);
    stage_sums<272>(sums_to + 192, sums[0][3][0]);
    __syncthreads();
    if (row < 1) {
      float4 quad = load_quad(quads_at);
      add_quad(quad, load_quad(quads_at + 2176));
      add_quad(quad, load_quad(quads_at + 4352));
      add_quad(quad, load_quad(quads_at + 6528));
      add_quad(quad, load_quad(quads_at + 8704));
      add_quad(quad, load_quad(quads_at + 10880));
      add_quad(quad, load_quad(quads_at + 13056));
      add_quad(quad, load_quad(quads_at + 15232));
      store_quad(output, quad);
    }
  };

  // ---- Fill the pipeline.
  fetch(0);
  close_stage();
  fetch(50176);
  close_stage();

  // ---- The product: each k16 step multiplies one set of fragments while the next one loads.
  uint4 words[2][1];
  unsigned tokens[2][1][2];
  unsigned weights[4];
  uint4 scale_pairs[1];
  float group_sums[1][4][1][4];
  unsigned stage = 0;
  wait_for_stage<1>();
  __syncwarp();
  load_words(words[0][0], words_at + stage);
  load_tokens(tokens[0][0], tokens_at + stage);
  #pragma unroll 1
  for (int k_tile = 0; k_tile < 4; ++k_tile) {
    load_words(scale_pairs[0], scales_at + stage);
    // k16 step 1 of 8.
    load_words(words[1][0], words_at + stage + 512);
    load_tokens(tokens[1][0], (tokens_at + stage ^ 32));
    dequantise(weights, words[0][0].x);
    mma_first(group_sums[0][0][0], weights, tokens[0][0]);
    dequantise(weights, words[0][0].y);
    mma_first(group_sums[0][1][0], weights, tokens[0][0]);
    dequantise(weights, words[0][0].z);
    mma_first(group_sums[0][2][0], weights, tokens[0][0]);
    dequantise(weights, words[0][0].w);
    mma_first(group_sums[0][3][0], weights, tokens[0][0]);
    // k16 step 2 of 8.
    load_words(words[0][0], words_at + stage + 1024);
    load_tokens(tokens[0][0], (tokens_at + stage ^ 64));
    dequantise(weights, words[1][0].x);
    mma(group_sums[0][0][0], weights, tokens[1][0]);
    dequantise(weights, words[1][0].y);
    mma(group_sums[0][1][0], weights, tokens[1][0]);
    dequantise(weights, words[1][0].z);
    mma(group_sums[0][2][0], weights, tokens[1][0]);
    dequantise(weights, words[1][0].w);
    mma(group_sums[0][3][0], weights, tokens[1][0]);
    // k16 step 3 of 8.
    load_words(words[1][0], words_at + stage + 1536);
    load_tokens(tokens[1][0], (tokens_at + stage ^ 96));
    dequantise(weights, words[0][0].x);
    mma(group_sums[0][0][0], weights, tokens[0][0]);
    dequantise(weights, words[0][0].y);
    mma(group_sums[0][1][0], weights, tokens[0][0]);
    dequantise(weights, words[0][0].z);
    mma(group_sums[0][2][0], weights, tokens[0][0]);
    dequantise(weights, words[0][0].w);
    mma(group_sums[0][3][0], weights, tokens[0][0]);
    // k16 step 4 of 8.
    load_words(words[0][0], words_at + stage + 2048);
    load_tokens(tokens[0][0], tokens_at + stage + 128);
    dequantise(weights, words[1][0].x);
    mma(group_sums[0][0][0], weights, tokens[1][0]);
    dequantise(weights, words[1][0].y);
    mma(group_sums[0][1][0], weights, tokens[1][0]);
    dequantise(weights, words[1][0].z);
    mma(group_sums[0][2][0], weights, tokens[1][0]);
    dequantise(weights, words[1][0].w);
    mma(group_sums[0][3][0], weights, tokens[1][0]);
    // k16 step 5 of 8.
    load_words(words[1][0], words_at + stage + 2560);
    load_tokens(tokens[1][0], (tokens_at + stage ^ 32) + 128);
    dequantise(weights, words[0][0].x);
    mma(group_sums[0][0][0], weights, tokens[0][0]);
    dequantise(weights, words[0][0].y);
    mma(group_sums[0][1][0], weights, tokens[0][0]);
    dequantise(weights, words[0][0].z);
    mma(group_sums[0][2][0], weights, tokens[0][0]);
    dequantise(weights, words[0][0].w);
    mma(group_sums[0][3][0], weights, tokens[0][0]);
    // k16 step 6 of 8.
    load_words(words[0][0], words_at + stage + 3072);
    load_tokens(tokens[0][0], (tokens_at + stage ^ 64) + 128);
    dequantise(weights, words[1][0].x);
    mma(group_sums[0][0][0], weights, tokens[1][0]);
    dequantise(weights, words[1][0].y);
    mma(group_sums[0][1][0], weights, tokens[1][0]);
    dequantise(weights, words[1][0].z);
    mma(group_sums[0][2][0], weights, tokens[1][0]);
    dequantise(weights, words[1][0].w);
    mma(group_sums[0][3][0], weights, tokens[1][0]);
    // k16 step 7 of 8.
    load_words(words[1][0], words_at + stage + 3584);
    load_tokens(tokens[1][0], (tokens_at + stage ^ 96) + 128);
    dequantise(weights, words[0][0].x);
    mma(group_sums[0][0][0], weights, tokens[0][0]);
    dequantise(weights, words[0][0].y);
    mma(group_sums[0][1][0], weights, tokens[0][0]);
    dequantise(weights, words[0][0].z);
    mma(group_sums[0][2][0], weights, tokens[0][0]);
    dequantise(weights, words[0][0].w);
    mma(group_sums[0][3][0], weights, tokens[0][0]);
    // k16 step 8 of 8.
    // This stage is in registers. Wait for the next one, give the slot back and turn to it.
    wait_for_stage<0>();
    __syncwarp();
    if (k_tile < 2) fetch(stage);
    close_stage();
    stage = stage == 50176 ? 0 : stage + 50176;
    load_words(words[0][0], words_at + stage);
    load_tokens(tokens[0][0], tokens_at + stage);
    dequantise(weights, words[1][0].x);
    mma(group_sums[0][0][0], weights, tokens[1][0]);
    dequantise(weights, words[1][0].y);
    mma(group_sums[0][1][0], weights, tokens[1][0]);
    dequantise(weights, words[1][0].z);
    mma(group_sums[0][2][0], weights, tokens[1][0]);
    dequantise(weights, words[1][0].w);
    mma(group_sums[0][3][0], weights, tokens[1][0]);
    // The group's sums, scaled, join the running sums.
    add_scaled(sums[0][0][0], group_sums[0][0][0], widen(scale_pairs[0].x));
    add_scaled(sums[0][1][0], group_sums[0][1][0], widen(scale_pairs[0].y));
    add_scaled(sums[0][2][0], group_sums[0][2][0], widen(scale_pairs[0].z));
    add_scaled(sums[0][3][0], group_sums[0][3][0], widen(scale_pairs[0].w));
  }
  finish();
}
