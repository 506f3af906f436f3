// marlin_decode_8x4096x4096_g128: Marlin decode kernel, 8x4096x4096 g128
//
// C[m, 4096] = A[m, 4096] * dequantised(B)[4096, 4096] for any m in 1..8.
// B: 4-bit codes in the Marlin format, one FP16 scale for each 128 along K.
// Written for sm_90a, 132 SMs by config 'decode m8 n64 w1x4 k64 s4 accumulators cluster2 b1 early'.
// 2 x 64 x 1 blocks of 128 threads, 59408 bytes of shared memory each, 0 of workspace.
//
// A cluster of 2 blocks computes 8 rows x 64 columns. Its 8 warps for each 64 columns
// take turns at units of 64 of K, 4 of them on their way to each warp at any time.
// Weights are the A operand of the tensor cores, activations the B operand: C^T = W^T A^T.

// ---- Primitives: each is defined and explained after the kernel.
__device__ __forceinline__ void cp_async16(unsigned to, const char* from);
__device__ __forceinline__ void cp_async_commit();
template <int Pending>
__device__ __forceinline__ void cp_async_wait();
__device__ __forceinline__ void launch_dependents();
__device__ __forceinline__ void wait_for_previous();
__device__ __forceinline__ unsigned shared_address(const void* pointer);
__device__ __forceinline__ void ld_shared(uint4& packed, unsigned from);
__device__ __forceinline__ void ld_shared(unsigned (&packed)[1], unsigned from);
__device__ __forceinline__ void ld_shared(unsigned (&packed)[2], unsigned from);
__device__ __forceinline__ void ld_shared(unsigned (&packed)[4], unsigned from);
__device__ __forceinline__ void st_shared(unsigned to, uint4 bytes);
__device__ __forceinline__ uint4 ld_global_cg(const char* from);
__device__ __forceinline__ void ldmatrix(unsigned (&tile)[2], unsigned from);
__device__ __forceinline__ void ldmatrix(unsigned (&tile)[2], unsigned (&next)[2], unsigned from);
template <int Barrier, int Threads>
__device__ __forceinline__ void named_barrier_arrive();
template <int Barrier, int Threads>
__device__ __forceinline__ void named_barrier_sync();
__device__ __forceinline__ void named_barrier_sync(unsigned barrier, unsigned threads);
__device__ __forceinline__ void mma(float (&d)[4], const unsigned (&weights)[4],
                                    const unsigned (&activations)[2]);
__device__ __forceinline__ void mma_first(float (&d)[4], const unsigned (&weights)[4],
                                          const unsigned (&activations)[2]);
template <int Blocks, int Tiles>
__device__ __forceinline__ void clear(float (&sums)[Blocks][4][Tiles][4]);
template <int Sums>
__device__ __forceinline__ void clear(float (&sums)[Sums]);
__device__ __forceinline__ void cluster_arrive_relaxed();
__device__ __forceinline__ void cluster_wait();
__device__ __forceinline__ void cluster_sync();
__device__ __forceinline__ void mbarrier_arrive_cluster(unsigned barrier, unsigned rank);
__device__ __forceinline__ void cluster_reduce_expect(unsigned barrier, unsigned bytes,
                                                      unsigned lane);
template <int Sums>
__device__ __forceinline__ void cluster_reduce_send(unsigned to, unsigned rank, unsigned barrier,
                                                    const float (&sums)[Sums], int first);
__device__ __forceinline__ void cluster_reduce_wait(unsigned barrier);
__device__ __forceinline__ unsigned add2(unsigned a, unsigned b);
__device__ __forceinline__ unsigned mul2(unsigned a, unsigned b);
__device__ __forceinline__ float2 unpack_half2(unsigned pair);
__device__ __forceinline__ unsigned pack_half2(float low, float high);
__device__ __forceinline__ void stage_fragment(unsigned to, const float (&sums)[4]);
__device__ __forceinline__ float2 load_float2(unsigned from);
__device__ __forceinline__ void add_float2(float2& sum, float2 pair);
__device__ __forceinline__ unsigned shuffle_half2(float2 sum, bool odd_column);
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
static_assert(__CUDA_ARCH__ == 900, "written for sm_90a");
static_assert(32 * sizeof(uint4) == 512, "a warp loads a pack tile at once");

extern "C" __global__ void __launch_bounds__(128, 1) __cluster_dims__(2, 1, 1)
marlin_decode_8x4096x4096_g128(
    const char* __restrict__ a, const char* __restrict__ b, const char* __restrict__ scales,
    char* __restrict__ c, char* __restrict__, int m) {
  extern __shared__ __align__(128) char shared_memory[];
  const unsigned shared = shared_address(shared_memory);
  // ---- Shared memory, 59408 bytes: where each area begins, how many there are of how many
  // bytes, and what they hold.
  constexpr unsigned kActivations = 0;        //   4 x   4096  rings of activations, 4 stages
  constexpr unsigned kPacked = 16384;         //   4 x   8704  rings of a warp's packed weights and scales, 4 stages
  constexpr unsigned kReceived = 51200;       //   8 x   1024  FP32 sums of a split
  constexpr unsigned kReduceBarrier = 59392;  //   1 x      8  mbarrier of these sums
  static_assert(kReduceBarrier + 1 * 8 <= 59408, "the areas fit");
  const unsigned lane = threadIdx.x & 31, warp = threadIdx.x >> 5;

  // ---- What this block and this warp compute.
  const unsigned n_tile = blockIdx.y;
  const unsigned rank = blockIdx.x;  // in the cluster
  const unsigned warp_k = warp;
  const unsigned split = warp_k + rank * 4;  // of 8: takes the units split, split + 8, ...
  constexpr int units = 8;

  // ---- Global -> shared memory: every warp copies the packed weights and scales that it alone reads.
  const unsigned column = n_tile * 64;
  const char* from_packed = b + column * 8ll + split * 131072ll + lane * 16;
  const char* first_scales = scales + column * 2ll + lane * 16;
  const unsigned packed_ring = shared + kPacked + warp * 8704;
  const unsigned packed_at = packed_ring + lane * 16;
  const unsigned copier = lane;
  const unsigned copy_row = copier / 8, copy_chunk = copier & 7;
  const int copy_rows = m - static_cast<int>(copy_row);  // from copy_row on
  const char* from_activations = a + copy_row * 8192ll + split * 128 + copy_chunk * 16;
  const unsigned activations_ring = shared + kActivations + warp_k * 4096;
  const unsigned activations_to = activations_ring + copy_row * 128 + ((copy_chunk ^ copy_row) & 7) * 16;
  auto copy_packed = [&](unsigned stage, unsigned unit) {
    const unsigned to = packed_at + stage * 2176;
    cp_async16(to, from_packed);
    cp_async16(to + 512, from_packed + 32768);
    cp_async16(to + 1024, from_packed + 65536);
    cp_async16(to + 1536, from_packed + 98304);
    from_packed += 1048576ll;
    const char* row = first_scales + unit / 2 * 8192ll;
    if (lane < 8) cp_async16(to + 2048, row);
  };
  auto copy_activations = [&](unsigned stage) {
    const unsigned to = activations_to + stage * 1024;
    if (copy_rows > 0) cp_async16(to, from_activations);
    if (copy_rows > 4) cp_async16((to ^ 64) + 512, from_activations + 32768);
    from_activations += 1024;
  };

  // ---- Fill the pipeline. Nothing that the previous kernel writes is touched before it is done.
  copy_packed(0, split);
  cp_async_commit();
  copy_packed(1, split + 8);
  cp_async_commit();
  copy_packed(2, split + 16);
  cp_async_commit();
  copy_packed(3, split + 24);
  cp_async_commit();
  // The fragments of each warp that this block adds up, from the first on.
  const unsigned reduce_first = rank == 0 ? 0 : 2;
  constexpr unsigned reduce_count = 2;
  const unsigned reduce_barrier = shared + kReduceBarrier;
  if (warp == 0) cluster_reduce_expect(reduce_barrier, reduce_count * 4096, lane);
  cluster_arrive_relaxed();
  launch_dependents();
  wait_for_previous();
  // Through registers: cp.async groups complete in order, so the activations would wait for
  // the packed weights of all stages already in flight.
  uint4 first_activations[4][2];
  if (copy_rows > 0) first_activations[0][0] = ld_global_cg(from_activations);
  if (copy_rows > 4) first_activations[0][1] = ld_global_cg(from_activations + 32768);
  if (copy_rows > 0) first_activations[1][0] = ld_global_cg(from_activations + 1024);
  if (copy_rows > 4) first_activations[1][1] = ld_global_cg(from_activations + 1024 + 32768);
  if (copy_rows > 0) first_activations[2][0] = ld_global_cg(from_activations + 2048);
  if (copy_rows > 4) first_activations[2][1] = ld_global_cg(from_activations + 2048 + 32768);
  if (copy_rows > 0) first_activations[3][0] = ld_global_cg(from_activations + 3072);
  if (copy_rows > 4) first_activations[3][1] = ld_global_cg(from_activations + 3072 + 32768);
  if (copy_rows > 0) st_shared(activations_to, first_activations[0][0]);
  if (copy_rows > 4) st_shared((activations_to ^ 64) + 512, first_activations[0][1]);
  if (copy_rows > 0) st_shared(activations_to + 1024, first_activations[1][0]);
  if (copy_rows > 4) st_shared((activations_to + 1024 ^ 64) + 512, first_activations[1][1]);
  if (copy_rows > 0) st_shared(activations_to + 2048, first_activations[2][0]);
  if (copy_rows > 4) st_shared((activations_to + 2048 ^ 64) + 512, first_activations[2][1]);
  if (copy_rows > 0) st_shared(activations_to + 3072, first_activations[3][0]);
  if (copy_rows > 4) st_shared((activations_to + 3072 ^ 64) + 512, first_activations[3][1]);
  from_activations += 4096;

  // ---- Shared memory -> fragments.
  const unsigned activation_row = lane & 7;
  const unsigned activations_at = activations_ring + activation_row * 128 + (((lane / 8 & 1) ^ (lane & 7)) << 4);
  const unsigned scales_at = packed_ring + 2048 + lane / 4 * 16;
  float sums[1][4][1][4];  // [64 columns][16 of them][8 tokens][fragment]
  clear(sums);

  // ---- The product: each k16 step multiplies one set of fragments while the next one loads.
  uint4 packed[2][1];
  unsigned activations[2][1][2];
  unsigned weights[4];
  uint4 scale_pairs[1];
  float group_sums[1][4][1][4];
  unsigned stage = 0;
  unsigned unit = split + 32;  // to copy next
  cp_async_wait<3>();
  __syncwarp();
  ld_shared(packed[0][0], packed_at + stage * 2176);
  ldmatrix(activations[0][0], activations_at + stage * 1024);
  #pragma unroll 1
  for (int left = units; left > 0; --left) {
    // k16 step 1 of 4.
    ld_shared(scale_pairs[0], scales_at + stage * 2176);
    ld_shared(packed[1][0], packed_at + stage * 2176 + 512);
    ldmatrix(activations[1][0], (activations_at + stage * 1024 ^ 32));
    dequantise(weights, packed[0][0].x);
    mma_first(group_sums[0][0][0], weights, activations[0][0]);
    dequantise(weights, packed[0][0].y);
    mma_first(group_sums[0][1][0], weights, activations[0][0]);
    dequantise(weights, packed[0][0].z);
    mma_first(group_sums[0][2][0], weights, activations[0][0]);
    dequantise(weights, packed[0][0].w);
    mma_first(group_sums[0][3][0], weights, activations[0][0]);
    // k16 step 2 of 4.
    ld_shared(packed[0][0], packed_at + stage * 2176 + 1024);
    ldmatrix(activations[0][0], (activations_at + stage * 1024 ^ 64));
    dequantise(weights, packed[1][0].x);
    mma(group_sums[0][0][0], weights, activations[1][0]);
    dequantise(weights, packed[1][0].y);
    mma(group_sums[0][1][0], weights, activations[1][0]);
    dequantise(weights, packed[1][0].z);
    mma(group_sums[0][2][0], weights, activations[1][0]);
    dequantise(weights, packed[1][0].w);
    mma(group_sums[0][3][0], weights, activations[1][0]);
    // k16 step 3 of 4.
    ld_shared(packed[1][0], packed_at + stage * 2176 + 1536);
    ldmatrix(activations[1][0], (activations_at + stage * 1024 ^ 96));
    dequantise(weights, packed[0][0].x);
    mma(group_sums[0][0][0], weights, activations[0][0]);
    dequantise(weights, packed[0][0].y);
    mma(group_sums[0][1][0], weights, activations[0][0]);
    dequantise(weights, packed[0][0].z);
    mma(group_sums[0][2][0], weights, activations[0][0]);
    dequantise(weights, packed[0][0].w);
    mma(group_sums[0][3][0], weights, activations[0][0]);
    // k16 step 4 of 4.
    // This stage is in registers: wait for the next one, refill this one and turn to the next.
    cp_async_wait<2>();
    __syncwarp();
    if (left > 4) {
      copy_packed(stage, unit);
      copy_activations(stage);
    }
    unit += 8;
    cp_async_commit();
    stage = stage == 3 ? 0 : stage + 1;
    ld_shared(packed[0][0], packed_at + stage * 2176);
    ldmatrix(activations[0][0], activations_at + stage * 1024);
    dequantise(weights, packed[1][0].x);
    mma(group_sums[0][0][0], weights, activations[1][0]);
    dequantise(weights, packed[1][0].y);
    mma(group_sums[0][1][0], weights, activations[1][0]);
    dequantise(weights, packed[1][0].z);
    mma(group_sums[0][2][0], weights, activations[1][0]);
    dequantise(weights, packed[1][0].w);
    mma(group_sums[0][3][0], weights, activations[1][0]);
    // The group's sums, scaled, join the running sums.
    add_scaled(sums[0][0][0], group_sums[0][0][0], unpack_half2(scale_pairs[0].x));
    add_scaled(sums[0][1][0], group_sums[0][1][0], unpack_half2(scale_pairs[0].y));
    add_scaled(sums[0][2][0], group_sums[0][2][0], unpack_half2(scale_pairs[0].z));
    add_scaled(sums[0][3][0], group_sums[0][3][0], unpack_half2(scale_pairs[0].w));
  }

  // ---- Sums -> the block that owns them -> C.
  const unsigned sums_to = shared + kReceived + split * 1024 + lane * 16;
  cluster_wait();  // The mbarriers of all blocks are initialised.
  cluster_reduce_send(sums_to, 0, reduce_barrier, sums[0][0][0], 0);
  cluster_reduce_send(sums_to + 512, 0, reduce_barrier, sums[0][1][0], 0);
  cluster_reduce_send(sums_to, 1, reduce_barrier, sums[0][2][0], 0);
  cluster_reduce_send(sums_to + 512, 1, reduce_barrier, sums[0][3][0], 0);
  cluster_reduce_wait(reduce_barrier);
  __syncwarp();
  const unsigned pairs_at = shared + kReceived + threadIdx.x * 8;
  {
    const unsigned pair = threadIdx.x;
    const unsigned fragment = pair / 64, source_lane = pair / 2 & 31, half = pair & 1;
    const unsigned index = reduce_first + fragment;
    const unsigned out_column = index * 16 + n_tile * 64 + half * 8 + source_lane / 4;
    const bool odd_column = out_column & 1;
    const unsigned token = (source_lane & 3) * 2 + odd_column;
    float2 sum = load_float2(pairs_at);
    add_float2(sum, load_float2(pairs_at + 1024));
    add_float2(sum, load_float2(pairs_at + 2048));
    add_float2(sum, load_float2(pairs_at + 3072));
    add_float2(sum, load_float2(pairs_at + 4096));
    add_float2(sum, load_float2(pairs_at + 5120));
    add_float2(sum, load_float2(pairs_at + 6144));
    add_float2(sum, load_float2(pairs_at + 7168));
    const unsigned both = shuffle_half2(sum, odd_column);
    char* to = c + token * 8192ll + (out_column & ~1u) * 2ll;
    if (token < m) *reinterpret_cast<unsigned*>(to) = both;
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

// Programmatic dependent launch (sm_90 and later): this kernel may start while the previous one of
// the stream still runs. CUDA C++ Programming Guide, "Programmatic Dependent Launch".

// The next kernel may take its place on the GPU as soon as there is room.
__device__ __forceinline__ void launch_dependents() {
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}

// Waits until the previous kernel is done and all it wrote can be read. Nothing to wait for unless
// this launch was a dependent one.
__device__ __forceinline__ void wait_for_previous() {
  asm volatile("griddepcontrol.wait;" ::: "memory");
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

// Named barriers of a block: 0 is __syncthreads(). PTX ISA, "barrier{.cta}".

// Named barriers with numbers known in advance. The arriving warps do not wait; `Threads` counts
// those that arrive and those that wait.
template <int Barrier, int Threads>
__device__ __forceinline__ void named_barrier_arrive() {
  asm volatile("barrier.arrive %0, %1;" ::"n"(Barrier), "n"(Threads) : "memory");
}

template <int Barrier, int Threads>
__device__ __forceinline__ void named_barrier_sync() {
  asm volatile("barrier.sync %0, %1;" ::"n"(Barrier), "n"(Threads) : "memory");
}

// A barrier of the warps that share activations; numbers from 1, as 0 is the whole block's.
__device__ __forceinline__ void named_barrier_sync(unsigned barrier, unsigned threads) {
  asm volatile("barrier.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
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

// Barriers of a thread block cluster (sm_90 and later), and arrivals at those of another block.

// The first half of a barrier over the cluster. Relaxed: what peers must see before they send, the
// barriers, is published by a fence, and a release would wait for the copies under way.
__device__ __forceinline__ void cluster_arrive_relaxed() {
  asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
}

__device__ __forceinline__ void cluster_wait() {
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// All threads of the cluster, before its barriers are used by other blocks and before it ends.
__device__ __forceinline__ void cluster_sync() {
  asm volatile(
      "barrier.cluster.arrive.aligned;\n\t"
      "barrier.cluster.wait.aligned;" ::
          : "memory");
}

// Arrives at the same barrier of the block of this rank.
__device__ __forceinline__ void mbarrier_arrive_cluster(unsigned barrier, unsigned rank) {
  asm volatile(
      "{\n\t"
      ".reg .b32 place;\n\t"
      "mapa.shared::cluster.u32 place, %0, %1;\n\t"
      "mbarrier.arrive.shared::cluster.b64 _, [place];\n\t"
      "}" ::"r"(barrier),
      "r"(rank)
      : "memory");
}

// The reduce-scatter of a thread block cluster through distributed shared memory (sm_90 and later):
// every block receives what it reduces and adds it in a fixed order.

// Makes the barrier that this block's sums come by and tells it how many bytes that will be. By a
// whole warp, whose first lane does it, before the block arrives at the cluster.
__device__ __forceinline__ void cluster_reduce_expect(unsigned barrier, unsigned bytes,
                                                      unsigned lane) {
  if (lane == 0) asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(barrier) : "memory");
  __syncwarp();
  if (lane == 0) {
    asm volatile(
        "fence.mbarrier_init.release.cluster;\n\t"
        "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier),
        "r"(bytes)
        : "memory");
  }
  __syncwarp();
}

// A fragment's four sums, from `first` on, to the same place of the block of this rank, their bytes
// to its barrier.
template <int Sums>
__device__ __forceinline__ void cluster_reduce_send(unsigned to, unsigned rank, unsigned barrier,
                                                    const float (&sums)[Sums], int first) {
  asm volatile(
      "{\n\t"
      ".reg .b32 place, signal;\n\t"
      "mapa.shared::cluster.u32 place, %0, %1;\n\t"
      "mapa.shared::cluster.u32 signal, %2, %1;\n\t"
      "st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.f32 [place], {%3, %4, %5, %6}, "
      "[signal];\n\t"
      "}" ::"r"(to),
      "r"(rank), "r"(barrier), "f"(sums[first]), "f"(sums[first + 1]), "f"(sums[first + 2]),
      "f"(sums[first + 3])
      : "memory");
}

// Waits for all that was sent to this block.
__device__ __forceinline__ void cluster_reduce_wait(unsigned barrier) {
  asm volatile(
      "{\n\t"
      ".reg .pred done;\n"
      "again%=:\n\t"
      "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 done, [%0], 0;\n\t"
      "@!done bra again%=;\n\t"
      "}" ::"r"(barrier)
      : "memory");
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

// Partial sums of several warps -> C: a thread adds one column of two tokens and stores two columns
// of one token.

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
