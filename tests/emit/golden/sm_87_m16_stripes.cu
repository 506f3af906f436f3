// marlin_stripe_16x6144x4096_gall: Marlin stripe kernel, 16x6144x4096 g-1
//
// C[m, 6144] = A[m, 4096] * dequantised(B)[4096, 6144] for any m in 1..16.
// B: 4-bit codes in the Marlin format, one FP16 scale for the whole K.
// Written for sm_87, 16 SMs by config 'm16 n256 w4x2 k32 s4 accumulators stripes16 b1'.
// 16 x 1 x 1 blocks of 256 threads, 74256 bytes of shared memory each, 327680 of workspace.
//
// A block computes tiles of 16 rows x 256 columns and takes 64 of K from each of the 4 stages of its
// pipeline; columns are split over 4 warps and that K over 2 warps. Weights are the
// A operand of the tensor cores, activations the B operand: C^T = W^T A^T.

// ---- Primitives: each is defined and explained after the kernel.
__device__ __forceinline__ void cp_async16(unsigned to, const char* from);
__device__ __forceinline__ void cp_async_commit();
template <int Pending>
__device__ __forceinline__ void cp_async_wait();
__device__ __forceinline__ unsigned shared_address(const void* pointer);
__device__ __forceinline__ void ld_shared(uint4& packed, unsigned from);
__device__ __forceinline__ void ld_shared(unsigned (&packed)[1], unsigned from);
__device__ __forceinline__ void ld_shared(unsigned (&packed)[2], unsigned from);
__device__ __forceinline__ void ld_shared(unsigned (&packed)[4], unsigned from);
__device__ __forceinline__ void st_shared(unsigned to, uint4 bytes);
__device__ __forceinline__ uint4 ld_global_cg(const char* from);
__device__ __forceinline__ void ldmatrix(unsigned (&tile)[2], unsigned from);
__device__ __forceinline__ void ldmatrix(unsigned (&tile)[2], unsigned (&next)[2], unsigned from);
__device__ __forceinline__ void mma(float (&d)[4], const unsigned (&weights)[4],
                                    const unsigned (&activations)[2]);
__device__ __forceinline__ void mma_first(float (&d)[4], const unsigned (&weights)[4],
                                          const unsigned (&activations)[2]);
template <int Blocks, int Tiles>
__device__ __forceinline__ void clear(float (&sums)[Blocks][4][Tiles][4]);
template <int Sums>
__device__ __forceinline__ void clear(float (&sums)[Sums]);
__device__ __forceinline__ unsigned add2(unsigned a, unsigned b);
__device__ __forceinline__ unsigned mul2(unsigned a, unsigned b);
__device__ __forceinline__ float2 unpack_half2(unsigned pair);
__device__ __forceinline__ unsigned pack_half2(float low, float high);
template <int Pitch>
__device__ __forceinline__ void stage_sums(unsigned to, const float (&sums)[4]);
__device__ __forceinline__ float4 load_float4(unsigned from);
__device__ __forceinline__ void add_float4(float4& sum, float4 addend);
__device__ __forceinline__ void store_half4(char* to, float4 sum);
__device__ __forceinline__ void store_partial(char* to, float4 sum);
__device__ __forceinline__ float4 load_partial(const char* from);
__device__ __forceinline__ bool is_last_arriver(char* counter, unsigned contributors,
                                                unsigned* arrival);
template <unsigned Mask, unsigned Exponent>
__device__ __forceinline__ unsigned lop3_and_or(unsigned word);
__device__ __forceinline__ void dequantise(unsigned (&weights)[4], unsigned word);
__device__ __forceinline__ void spread_scales(unsigned& low, unsigned& high, unsigned pair);
__device__ __forceinline__ void scale_weights(unsigned (&weights)[4], unsigned low, unsigned high);
template <int Sums>
__device__ __forceinline__ void add_scaled(float (&sums)[Sums], const float (&group)[Sums],
                                           float2 scales);
__device__ __forceinline__ uint2 channel_scales_of(const char* scales, int column_float4);
__device__ __forceinline__ void scale_float4(float4& sum, uint2 scales);
__device__ __forceinline__ float channel_scale_of(const char* scales, int column);
template <int Sums>
__device__ __forceinline__ void scale_sums(float (&sums)[Sums], float low, float high);

// Assumptions, checked at compile time.
static_assert(__CUDA_ARCH__ == 870, "written for sm_87");
static_assert(32 * sizeof(uint4) == 512, "a warp loads a pack tile at once");

// Where each block's stripe begins, how long it is, and with whom it shares its first
// and its last tile.
struct SharedTile {
  int contributors, rank, counter, slot;
};
struct Stripe {
  int m_tile, n_tile, k_tile, k_tiles;
  SharedTile first, last;
};
__constant__ Stripe kStripes[16] = {
  {0, 0, 0, 96, {1, 0, -1, -1}, {2, 0, 0, 0}},
  {0, 1, 32, 96, {2, 1, 0, 0}, {1, 0, -1, -1}},
  {0, 3, 0, 96, {1, 0, -1, -1}, {2, 0, 1, 2}},
  {0, 4, 32, 96, {2, 1, 1, 2}, {1, 0, -1, -1}},
  {0, 6, 0, 96, {1, 0, -1, -1}, {2, 0, 2, 4}},
  {0, 7, 32, 96, {2, 1, 2, 4}, {1, 0, -1, -1}},
  {0, 9, 0, 96, {1, 0, -1, -1}, {2, 0, 3, 6}},
  {0, 10, 32, 96, {2, 1, 3, 6}, {1, 0, -1, -1}},
  {0, 12, 0, 96, {1, 0, -1, -1}, {2, 0, 4, 8}},
  {0, 13, 32, 96, {2, 1, 4, 8}, {1, 0, -1, -1}},
  {0, 15, 0, 96, {1, 0, -1, -1}, {2, 0, 5, 10}},
  {0, 16, 32, 96, {2, 1, 5, 10}, {1, 0, -1, -1}},
  {0, 18, 0, 96, {1, 0, -1, -1}, {2, 0, 6, 12}},
  {0, 19, 32, 96, {2, 1, 6, 12}, {1, 0, -1, -1}},
  {0, 21, 0, 96, {1, 0, -1, -1}, {2, 0, 7, 14}},
  {0, 22, 32, 96, {2, 1, 7, 14}, {1, 0, -1, -1}},
};

extern "C" __global__ void __launch_bounds__(256, 1)
marlin_stripe_16x6144x4096_gall(
    const char* __restrict__ a, const char* __restrict__ b, const char* __restrict__ scales,
    char* __restrict__ c, char* __restrict__ workspace, int m) {
  extern __shared__ __align__(128) char shared_memory[];
  const unsigned shared = shared_address(shared_memory);
  // ---- Shared memory, 74256 bytes: where each area begins, how many there are of how many
  // bytes, and what they hold.
  constexpr unsigned kStages = 0;             //   4 x  10240  the ring of stages, each:
  constexpr unsigned kPacked = 0;             //   8 x   1024  packed weights of a warp
  constexpr unsigned kActivations = 8192;     //   1 x   2048  activations, 16 rows
  constexpr unsigned kSums = 40960;           //   2 x  16640  FP32 sums of a pass, 16 rows
  constexpr unsigned kArrival = 74240;        //   1 x      4  whether this block came last
  static_assert(kArrival + 1 * 4 <= 74256, "the areas fit");
  const unsigned lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const unsigned warp_n = warp & 3, warp_k = warp / 4;

  // ---- Which tiles this block computes.
  const Stripe& stripe = kStripes[blockIdx.x];
  unsigned n_tile = stripe.n_tile;
  const unsigned first_k_tile = stripe.k_tile;
  const int block_k_tiles = stripe.k_tiles;
  int rows = m;

  // ---- Global -> shared memory: every warp copies the packed weights and scales that it alone reads.
  const char* from_packed = b + n_tile * 2048ll + first_k_tile * 196608ll + warp_k * 98304ll + warp_n * 512 + lane * 16;
  const unsigned packed_at = shared + kPacked + warp * 1024 + lane * 16;
  const unsigned copier = threadIdx.x;
  const unsigned copy_row = copier / 8, copy_chunk = copier & 7;
  const char* from_activations = a + first_k_tile * 128ll + copy_row * 8192ll + copy_chunk * 16;
  int copy_rows = rows - static_cast<int>(copy_row);  // of the tile, from copy_row on
  const unsigned copy_offset = copy_row * 128 + copy_chunk * 16;
  const unsigned to_activations = shared + kActivations + (copy_offset ^ ((copy_offset >> 7 & 7) << 4));
  int fetch_left = 64 - first_k_tile;  // k tiles of the tile being fetched
  int to_fetch = block_k_tiles;
  auto fetch = [&](unsigned stage) {
    cp_async16(packed_at + stage, from_packed);
    cp_async16(packed_at + stage + 512, from_packed + 49152);
    if (copy_rows > 0) cp_async16(to_activations + stage, from_activations);
    from_packed += 196608ll;
    from_activations += 128ll;
    if (--fetch_left == 0) {  // on to the next tile
      fetch_left = 64;
      from_packed -= 12582912ll;
      from_activations -= 8192ll;
      from_packed += 2048ll;
    }
  };

  // ---- Shared memory -> fragments.
  const unsigned activation_row = (lane & 7) + lane / 16 * 8;
  const unsigned activation_offset = activation_row * 128 + (lane / 8 & 1) * 16 + warp_k * 64;
  const unsigned activations_at = shared + kActivations + (activation_offset ^ ((activation_offset >> 7 & 7) << 4));
  float sums[1][4][2][4];  // [64 columns][16 of them][8 tokens][fragment]
  clear(sums);

  // ---- Sums -> shared memory -> C.
  const unsigned sums_to = shared + kSums + warp_k * 16640 + warp_n * 256 + (lane & 3) * 2080 + (lane / 4) * 4;
  const int row = threadIdx.x / 64, column_float4 = threadIdx.x & 63;
  const unsigned float4_at = shared + kSums + row * 1040 + column_float4 * 16;
  SharedTile shared_tile = stripe.first;
  uint2 channel_scales;
  auto load_channel_scales = [&]() {
    channel_scales = channel_scales_of(scales + n_tile * 512ll, column_float4);
  };
  load_channel_scales();
  auto finish = [&]() {
    char* output = c + n_tile * 512ll + row * 12288ll + column_float4 * 8;
    if (shared_tile.contributors == 1) {
      // Tokens 0..15 of the tile.
      __syncthreads();  // Nobody reads this memory any more.
      stage_sums<1040>(sums_to, sums[0][0][0]);
      stage_sums<1040>(sums_to + 8320, sums[0][0][1]);
      stage_sums<1040>(sums_to + 64, sums[0][1][0]);
      stage_sums<1040>(sums_to + 8384, sums[0][1][1]);
      stage_sums<1040>(sums_to + 128, sums[0][2][0]);
      stage_sums<1040>(sums_to + 8448, sums[0][2][1]);
      stage_sums<1040>(sums_to + 192, sums[0][3][0]);
      stage_sums<1040>(sums_to + 8512, sums[0][3][1]);
      __syncthreads();
      if (row < rows) {
        float4 sum = load_float4(float4_at);
        add_float4(sum, load_float4(float4_at + 16640));
        scale_float4(sum, channel_scales);
        store_half4(output, sum);
      }
      if (row + 4 < rows) {
        float4 sum = load_float4(float4_at + 4160);
        add_float4(sum, load_float4(float4_at + 20800));
        scale_float4(sum, channel_scales);
        store_half4(output + 49152, sum);
      }
      if (row + 8 < rows) {
        float4 sum = load_float4(float4_at + 8320);
        add_float4(sum, load_float4(float4_at + 24960));
        scale_float4(sum, channel_scales);
        store_half4(output + 98304, sum);
      }
      if (row + 12 < rows) {
        float4 sum = load_float4(float4_at + 12480);
        add_float4(sum, load_float4(float4_at + 29120));
        scale_float4(sum, channel_scales);
        store_half4(output + 147456, sum);
      }
    } else {
      const unsigned counter = shared_tile.counter, slot = shared_tile.slot, rank = shared_tile.rank;
      char* partials = workspace + 65536 + slot * 16384ll + row * 1024 + column_float4 * 16;
      char* partial = partials + rank * 16384ll;
      // Tokens 0..15 of the tile.
      __syncthreads();  // Nobody reads this memory any more.
      stage_sums<1040>(sums_to, sums[0][0][0]);
      stage_sums<1040>(sums_to + 8320, sums[0][0][1]);
      stage_sums<1040>(sums_to + 64, sums[0][1][0]);
      stage_sums<1040>(sums_to + 8384, sums[0][1][1]);
      stage_sums<1040>(sums_to + 128, sums[0][2][0]);
      stage_sums<1040>(sums_to + 8448, sums[0][2][1]);
      stage_sums<1040>(sums_to + 192, sums[0][3][0]);
      stage_sums<1040>(sums_to + 8512, sums[0][3][1]);
      __syncthreads();
      if (row < rows) {
        float4 sum = load_float4(float4_at);
        add_float4(sum, load_float4(float4_at + 16640));
        store_partial(partial, sum);
      }
      if (row + 4 < rows) {
        float4 sum = load_float4(float4_at + 4160);
        add_float4(sum, load_float4(float4_at + 20800));
        store_partial(partial + 4096, sum);
      }
      if (row + 8 < rows) {
        float4 sum = load_float4(float4_at + 8320);
        add_float4(sum, load_float4(float4_at + 24960));
        store_partial(partial + 8192, sum);
      }
      if (row + 12 < rows) {
        float4 sum = load_float4(float4_at + 12480);
        add_float4(sum, load_float4(float4_at + 29120));
        store_partial(partial + 12288, sum);
      }
      if (is_last_arriver(workspace + counter * 4, shared_tile.contributors, reinterpret_cast<unsigned*>(shared_memory + kArrival))) {
        if (row < rows) {
          float4 sum = load_partial(partials);
          for (int contributor = 1; contributor < shared_tile.contributors; ++contributor) {
            add_float4(sum, load_partial(partials + contributor * 16384ll));
          }
          scale_float4(sum, channel_scales);
          store_half4(output, sum);
        }
        if (row + 4 < rows) {
          float4 sum = load_partial(partials + 4096);
          for (int contributor = 1; contributor < shared_tile.contributors; ++contributor) {
            add_float4(sum, load_partial(partials + contributor * 16384ll + 4096));
          }
          scale_float4(sum, channel_scales);
          store_half4(output + 49152, sum);
        }
        if (row + 8 < rows) {
          float4 sum = load_partial(partials + 8192);
          for (int contributor = 1; contributor < shared_tile.contributors; ++contributor) {
            add_float4(sum, load_partial(partials + contributor * 16384ll + 8192));
          }
          scale_float4(sum, channel_scales);
          store_half4(output + 98304, sum);
        }
        if (row + 12 < rows) {
          float4 sum = load_partial(partials + 12288);
          for (int contributor = 1; contributor < shared_tile.contributors; ++contributor) {
            add_float4(sum, load_partial(partials + contributor * 16384ll + 12288));
          }
          scale_float4(sum, channel_scales);
          store_half4(output + 147456, sum);
        }
      }
    }
  };

  // ---- Fill the pipeline.
  if (to_fetch-- > 0) fetch(kStages);
  cp_async_commit();
  if (to_fetch-- > 0) fetch(kStages + 10240);
  cp_async_commit();
  if (to_fetch-- > 0) fetch(kStages + 20480);
  cp_async_commit();
  if (to_fetch-- > 0) fetch(kStages + 30720);
  cp_async_commit();

  // ---- The product: each k16 step multiplies one set of fragments while the next one loads.
  uint4 packed[2][1];
  unsigned activations[2][2][2];
  unsigned weights[4];
  unsigned stage = 0;
  int tile_left = min(64 - static_cast<int>(first_k_tile), block_k_tiles);
  cp_async_wait<3>();
  __syncthreads();
  ld_shared(packed[0][0], packed_at + stage);
  ldmatrix(activations[0][0], activations[0][1], activations_at + stage);
  #pragma unroll 1
  for (int k_tile = 0; k_tile < block_k_tiles; ++k_tile) {
    // k16 step 1 of 2.
    ld_shared(packed[1][0], packed_at + stage + 512);
    ldmatrix(activations[1][0], activations[1][1], (activations_at + stage ^ 32));
    dequantise(weights, packed[0][0].x);
    mma(sums[0][0][0], weights, activations[0][0]);
    mma(sums[0][0][1], weights, activations[0][1]);
    dequantise(weights, packed[0][0].y);
    mma(sums[0][1][0], weights, activations[0][0]);
    mma(sums[0][1][1], weights, activations[0][1]);
    dequantise(weights, packed[0][0].z);
    mma(sums[0][2][0], weights, activations[0][0]);
    mma(sums[0][2][1], weights, activations[0][1]);
    dequantise(weights, packed[0][0].w);
    mma(sums[0][3][0], weights, activations[0][0]);
    mma(sums[0][3][1], weights, activations[0][1]);
    // k16 step 2 of 2.
    // This stage is in registers: wait for the next one, refill this one and turn to the next.
    cp_async_wait<2>();
    __syncthreads();
    if (to_fetch-- > 0) fetch(stage);
    cp_async_commit();
    stage = stage == 30720 ? 0 : stage + 10240;
    ld_shared(packed[0][0], packed_at + stage);
    ldmatrix(activations[0][0], activations[0][1], activations_at + stage);
    dequantise(weights, packed[1][0].x);
    mma(sums[0][0][0], weights, activations[1][0]);
    mma(sums[0][0][1], weights, activations[1][1]);
    dequantise(weights, packed[1][0].y);
    mma(sums[0][1][0], weights, activations[1][0]);
    mma(sums[0][1][1], weights, activations[1][1]);
    dequantise(weights, packed[1][0].z);
    mma(sums[0][2][0], weights, activations[1][0]);
    mma(sums[0][2][1], weights, activations[1][1]);
    dequantise(weights, packed[1][0].w);
    mma(sums[0][3][0], weights, activations[1][0]);
    mma(sums[0][3][1], weights, activations[1][1]);
    if (--tile_left == 0) {
      finish();
      clear(sums);
      ++n_tile;
      tile_left = min(64, block_k_tiles - k_tile - 1);
      shared_tile = tile_left == 64 ? SharedTile{1, 0, -1, -1} : stripe.last;
      if (k_tile + 1 < block_k_tiles) load_channel_scales();
    }
  }
}

// ==== Primitives ==================================================================================

// Asynchronous copies from global to shared memory (cp.async, sm_80 and later).

// Sixteen bytes, past L1. The source is fetched into L2 by lines of 128 bytes.
__device__ __forceinline__ void cp_async16(unsigned to, const char* from) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(to), "l"(from)
               : "memory");
}

// Closes the group of copies that make up one stage.
__device__ __forceinline__ void cp_async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits until at most `Pending` of the latest stages are still on their way.
template <int Pending>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
}

// Loads and stores of shared and global memory, and shared addresses.

__device__ __forceinline__ unsigned shared_address(const void* pointer) {
  return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

// Four words of packed codes: one lane's weights of a k16 step of 64 columns.
__device__ __forceinline__ void ld_shared(uint4& packed, unsigned from) {
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(packed.x), "=r"(packed.y), "=r"(packed.z), "=r"(packed.w)
               : "r"(from)
               : "memory");
}

// Those of one, two or all four fragments of 16 columns.
__device__ __forceinline__ void ld_shared(unsigned (&packed)[1], unsigned from) {
  asm volatile("ld.shared.u32 %0, [%1];" : "=r"(packed[0]) : "r"(from) : "memory");
}

__device__ __forceinline__ void ld_shared(unsigned (&packed)[2], unsigned from) {
  asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];"
               : "=r"(packed[0]), "=r"(packed[1])
               : "r"(from)
               : "memory");
}

__device__ __forceinline__ void ld_shared(unsigned (&packed)[4], unsigned from) {
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(packed[0]), "=r"(packed[1]), "=r"(packed[2]), "=r"(packed[3])
               : "r"(from)
               : "memory");
}

__device__ __forceinline__ void st_shared(unsigned to, uint4 bytes) {
  asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(bytes.x), "r"(bytes.y),
               "r"(bytes.z), "r"(bytes.w)
               : "memory");
}

// Sixteen bytes that the previous kernel may have written, past L1.
__device__ __forceinline__ uint4 ld_global_cg(const char* from) {
  uint4 bytes;
  asm volatile("ld.global.cg.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(bytes.x), "=r"(bytes.y), "=r"(bytes.z), "=r"(bytes.w)
               : "l"(from)
               : "memory");
  return bytes;
}

// Shared memory -> B fragments of mma.m16n8k16. PTX ISA, "ldmatrix".

// B fragments of eight tokens (k = 0..7 and 8..15 of a k16 step).
__device__ __forceinline__ void ldmatrix(unsigned (&tile)[2], unsigned from) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(tile[0]), "=r"(tile[1])
               : "r"(from)
               : "memory");
}

// The same for sixteen tokens: two tiles at once.
__device__ __forceinline__ void ldmatrix(unsigned (&tile)[2], unsigned (&next)[2], unsigned from) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(tile[0]), "=r"(tile[1]), "=r"(next[0]), "=r"(next[1])
               : "r"(from)
               : "memory");
}

// The tensor core product of sixteen columns and eight tokens over k = 16, in FP32:
// d[column, token] = weights[column, k] * activations[k, token] + d.

__device__ __forceinline__ void mma(float (&d)[4], const unsigned (&weights)[4],
                                    const unsigned (&activations)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(weights[0]), "r"(weights[1]), "r"(weights[2]), "r"(weights[3]), "r"(activations[0]),
        "r"(activations[1]));
}

// The same with nothing to add to: the first step of a group.
__device__ __forceinline__ void mma_first(float (&d)[4], const unsigned (&weights)[4],
                                          const unsigned (&activations)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %10, %10, %10};"
      : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
      : "r"(weights[0]), "r"(weights[1]), "r"(weights[2]), "r"(weights[3]), "r"(activations[0]),
        "r"(activations[1]), "f"(0.f));
}

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

// FP16 pairs: two halves of a 32-bit register.

__device__ __forceinline__ unsigned add2(unsigned a, unsigned b) {
  unsigned result;
  asm("add.f16x2 %0, %1, %2;" : "=r"(result) : "r"(a), "r"(b));
  return result;
}

__device__ __forceinline__ unsigned mul2(unsigned a, unsigned b) {
  unsigned result;
  asm("mul.f16x2 %0, %1, %2;" : "=r"(result) : "r"(a), "r"(b));
  return result;
}

__device__ __forceinline__ float2 unpack_half2(unsigned pair) {
  float2 result;
  asm("{.reg .f16 a, b; mov.b32 {a, b}, %2; cvt.f32.f16 %0, a; cvt.f32.f16 %1, b;}"
      : "=f"(result.x), "=f"(result.y)
      : "r"(pair));
  return result;
}

__device__ __forceinline__ unsigned pack_half2(float low, float high) {
  unsigned pair;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
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

// Four partial sums of a thread to another block and back, through L2.

__device__ __forceinline__ void store_partial(char* to, float4 sum) {
  asm volatile("st.global.cg.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(to), "f"(sum.x), "f"(sum.y),
               "f"(sum.z), "f"(sum.w)
               : "memory");
}

__device__ __forceinline__ float4 load_partial(const char* from) {
  float4 sum;
  asm volatile("ld.global.cg.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(sum.x), "=f"(sum.y), "=f"(sum.z), "=f"(sum.w)
               : "l"(from)
               : "memory");
  return sum;
}

// Output tiles with several contributors: partial sums through L2, added in a fixed order by
// whoever comes last, so that nobody ever waits and the result is the same from run to run.

// True in every thread of the block that is the last of `contributors` to arrive; `arrival` is a
// word of shared memory for nothing else. The counter wraps to zero by itself, fit for the next
// launch.
__device__ __forceinline__ bool is_last_arriver(char* counter, unsigned contributors,
                                                unsigned* arrival) {
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0)
    *arrival = atomicInc(reinterpret_cast<unsigned*>(counter), contributors - 1);
  __syncthreads();
  __threadfence();
  return *arrival == contributors - 1;
}

// A word of eight 4-bit codes -> the A fragment of mma.m16n8k16, exactly code - 8 in FP16.
//
// The Marlin format orders the nibbles so that four masks give the four half2 registers. A mask
// leaves a code in the low mantissa bits of an FP16 whose exponent it sets by the same LOP3:
// 0x6400 | code = 1024 + code, and with the code one nibble up, 0x5400 | code << 4 = 64 + code.
// Source of the technique: Kim et al., "Who Says Elephants Can't Run", 2022.

template <unsigned Mask, unsigned Exponent>
__device__ __forceinline__ unsigned lop3_and_or(unsigned word) {
  unsigned result;
  asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(result) : "r"(word), "n"(Mask), "n"(Exponent));
  return result;
}

// Registers: columns g and g + 8 at k = 2t, 2t + 1, then both at k = 2t + 8, 2t + 9, for lane
// 4 g + t.
__device__ __forceinline__ void dequantise(unsigned (&weights)[4], unsigned word) {
  constexpr unsigned kMinus1032 = 0xe408e408, kMinus72 = 0xd480d480;
  const unsigned upper = word >> 8;
  weights[0] = add2(lop3_and_or<0x000f000f, 0x64006400>(word), kMinus1032);
  weights[1] = add2(lop3_and_or<0x000f000f, 0x64006400>(upper), kMinus1032);
  weights[2] = add2(lop3_and_or<0x00f000f0, 0x54005400>(word), kMinus72);
  weights[3] = add2(lop3_and_or<0x00f000f0, 0x54005400>(upper), kMinus72);
}

// Group scales. One FP16 pair holds the scales of columns g and g + 8 of a fragment.

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
