// marlin_wgmma_64x4096x4096_g128: Marlin wgmma kernel, 64x4096x4096 g128
//
// C[m, 4096] = A[m, 4096] * dequantised(B)[4096, 4096] for any m in 1..64.
// B: 4-bit codes in the Marlin format, one FP16 scale for each 128 along K.
// Written for sm_90a, 132 SMs by config 'wgmma m64 n128 w8x1 k64 s4 weights split1 b1 burst2'.
// 32 x 1 x 1 blocks of 384 threads, 66640 bytes of shared memory each, 0 of workspace.
//
// Tiles of 64 rows x 128 columns. 2 consumer warpgroups with 64 columns each; one thread of
// the producer warpgroup issues the TMA loads: 4 stages of 64 of K. Weights are the A
// operand of the tensor cores, from registers, activations the B operand: C^T = W^T A^T.

// ---- Primitives: each is defined and explained after the kernel.
__device__ __forceinline__ unsigned shared_address(const void* pointer);
__device__ __forceinline__ void ld_shared(uint4& packed, unsigned from);
__device__ __forceinline__ void ld_shared(unsigned (&packed)[1], unsigned from);
__device__ __forceinline__ void ld_shared(unsigned (&packed)[2], unsigned from);
__device__ __forceinline__ void ld_shared(unsigned (&packed)[4], unsigned from);
__device__ __forceinline__ void st_shared(unsigned to, uint4 bytes);
__device__ __forceinline__ uint4 ld_global_cg(const char* from);
template <int Barrier, int Threads>
__device__ __forceinline__ void named_barrier_arrive();
template <int Barrier, int Threads>
__device__ __forceinline__ void named_barrier_sync();
__device__ __forceinline__ void named_barrier_sync(unsigned barrier, unsigned threads);
__device__ __forceinline__ void fence_mbarrier_init();
__device__ __forceinline__ void fence_proxy_async();
__device__ __forceinline__ void mbarrier_init(unsigned barrier, unsigned arrivals);
__device__ __forceinline__ void mbarrier_arrive_expect_tx(unsigned barrier, unsigned bytes);
__device__ __forceinline__ void mbarrier_arrive(unsigned barrier);
__device__ __forceinline__ void mbarrier_wait_parity(unsigned barrier, unsigned parity);
// What the driver encodes: a matrix, the box that one copy moves, and how its lines are swizzled.
struct __align__(64) TensorMap {
  unsigned long long opaque[16];
};
__device__ __forceinline__ void prefetch_tensormap(const TensorMap* map);
__device__ __forceinline__ void tma_load_2d(unsigned to, const TensorMap* map, int x, int y,
                                            unsigned barrier);
__device__ __forceinline__ void bulk_copy(unsigned to, const char* from, unsigned bytes,
                                          unsigned barrier);
__device__ __forceinline__ void tma_store_2d(const TensorMap* map, unsigned from, int x, int y);
__device__ __forceinline__ void tma_store_commit();
template <int Pending>
__device__ __forceinline__ void tma_store_wait();
__device__ __forceinline__ void launch_dependents();
__device__ __forceinline__ void wait_for_previous();
template <int Count>
__device__ __forceinline__ void warpgroup_reg_alloc();
template <int Count>
__device__ __forceinline__ void warpgroup_reg_dealloc();
__device__ __forceinline__ void warpgroup_arrive();
__device__ __forceinline__ void warpgroup_commit();
template <int Pending>
__device__ __forceinline__ void warpgroup_wait();
__device__ __forceinline__ unsigned long long activation_descriptor(unsigned shared);
template <int Blocks, int Tiles>
__device__ __forceinline__ void clear(float (&sums)[Blocks][4][Tiles][4]);
template <int Sums>
__device__ __forceinline__ void clear(float (&sums)[Sums]);
__device__ __forceinline__ unsigned add2(unsigned a, unsigned b);
__device__ __forceinline__ unsigned mul2(unsigned a, unsigned b);
__device__ __forceinline__ float2 unpack_half2(unsigned pair);
__device__ __forceinline__ unsigned pack_half2(float low, float high);
template <int Sums>
__device__ __forceinline__ void stmatrix_trans(unsigned to, const float (&sums)[Sums], int tile);
template <int Sums>
__device__ __forceinline__ void stmatrix_trans(unsigned to, const float (&sums)[Sums],
                                               const float (&next)[Sums], int tile);
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
__device__ __forceinline__ void wgmma(float (&d)[32], const unsigned (&weights)[4],
                                         unsigned long long activations, int add);

// Assumptions, checked at compile time.
static_assert(__CUDA_ARCH__ == 900, "written for sm_90a");
static_assert(32 * sizeof(uint4) == 512, "a warp loads a pack tile at once");
static_assert(sizeof(TensorMap) == 128, "a tensor map is as large as the driver's");

extern "C" __global__ void __launch_bounds__(384, 1)
marlin_wgmma_64x4096x4096_g128(
    const __grid_constant__ TensorMap activation_map, const __grid_constant__ TensorMap packed_map,
    const __grid_constant__ TensorMap output_map, const char* __restrict__ scales,
    char* __restrict__ workspace, int m) {
  extern __shared__ __align__(1024) char shared_memory[];
  const unsigned shared = shared_address(shared_memory);
  // ---- Shared memory, 66640 bytes: where each area begins, how many there are of how many
  // bytes, and what they hold.
  constexpr unsigned kActivations = 0;        //   4 x   8192  activations of a stage
  constexpr unsigned kPacked = 32768;         //   4 x   4096  packed weights of a stage
  constexpr unsigned kScales = 49152;         //   4 x    256  scales of a stage
  constexpr unsigned kStaging = 50176;        //   2 x   8192  C of a warpgroup on its way out
  constexpr unsigned kFull = 66560;           //   4 x      8  mbarriers: a stage has arrived
  constexpr unsigned kEmpty = 66592;          //   4 x      8  mbarriers: it may be filled again
  static_assert(kEmpty + 4 * 8 <= 66640, "the areas fit");
  const unsigned warpgroup = __shfl_sync(~0u, threadIdx.x / 128, 0);
  const unsigned thread = threadIdx.x & 127, warp = thread / 32, lane = thread & 31;

  // ---- Which segments of which tiles this block computes.
  unsigned n_tile, m_tile;
  constexpr int k_first = 0, k_count = 64;
  auto find_segment = [&](unsigned segment) {
    const unsigned tile = blockIdx.x + segment * 32;
    if (tile >= 32) return false;
    n_tile = tile, m_tile = 0;
    return true;
  };

  // ---- Barriers: a stage has arrived; a stage may be filled again.
  const unsigned full = shared + kFull, empty = shared + kEmpty;
  if (threadIdx.x / 32 == 8) {
    if (lane == 0) {
      prefetch_tensormap(&activation_map);
      prefetch_tensormap(&packed_map);
      prefetch_tensormap(&output_map);
      for (unsigned stage = 0; stage < 4; ++stage) {
        mbarrier_init(full + stage * 8, 1);
        mbarrier_init(empty + stage * 8, 8);  // warps
      }
      fence_mbarrier_init();
    }
    __syncwarp();
    named_barrier_arrive<15, 288>();
  }
  launch_dependents();

  if (warpgroup == 2) {
    // ---- The producer: global -> shared memory, by one thread.
    warpgroup_reg_dealloc<24>();
    if (thread == 0) {
      auto copy_scales = [&](unsigned stage, unsigned k_tile) {
        const unsigned bytes = 256;
        const char* from = scales + k_tile / 2 * 8192ll + n_tile * 256;
        const unsigned to = shared + kScales + stage * 256;
        bulk_copy(to, from, bytes, full + stage * 8);
      };
      auto copy_packed = [&](unsigned stage, unsigned k_tile) {
        mbarrier_arrive_expect_tx(full + stage * 8, 12544);
        tma_load_2d(shared + kPacked + stage * 4096, &packed_map, n_tile * 128, k_tile * 4, full + stage * 8);
        copy_scales(stage, k_tile);
      };
      auto copy_activations = [&](unsigned stage, unsigned k_tile) {
        tma_load_2d(shared + kActivations + stage * 8192, &activation_map, k_tile * 64, m_tile * 64, full + stage * 8);
      };
      unsigned stage = 0, parity = 1;
      wait_for_previous();
      for (unsigned segment = 0; find_segment(segment); ++segment) {
        #pragma unroll 1
        for (int i = k_first; i < k_first + k_count; ++i) {
          mbarrier_wait_parity(empty + stage * 8, parity);
          copy_packed(stage, i);
          copy_activations(stage, i);
          stage = stage == 3 ? 0 : stage + 1;
          parity ^= stage == 0 ? 1 : 0;
        }
      }
    }
  } else {
    // ---- A consumer: shared memory -> fragments -> sums.
    warpgroup_reg_alloc<240>();
    // This warp's columns: 16 of each m64 tile, all in one block of 64 and neighbours there.
    const unsigned block = warpgroup, fragment = warp;
    const unsigned packed_at = shared + kPacked + block * 512 + lane * 16 + fragment * 4;
    const unsigned scales_at = shared + kScales + block * 128 + lane / 4 * 16 + fragment * 4;
    const unsigned long long activation_tile = activation_descriptor(shared + kActivations);
    float sums[1][32];  // [m64 tile][fragment of 8 tokens x 4]
    unsigned fragments[2][2][1][4], packed[4][1];
    unsigned scale_pairs[1][1];
    unsigned low[1], high[1];
    unsigned stage = 0, parity = 0;
    named_barrier_sync<15, 288>();
    for (unsigned segment = 0; find_segment(segment); ++segment) {
      mbarrier_wait_parity(full + stage * 8, parity);
      ld_shared(packed[0], packed_at + stage * 4096);
      ld_shared(packed[1], packed_at + stage * 4096 + 1024);
      ld_shared(packed[2], packed_at + stage * 4096 + 2048);
      ld_shared(packed[3], packed_at + stage * 4096 + 3072);
      ld_shared(scale_pairs[0], scales_at + stage * 256);
      spread_scales(low[0], high[0], scale_pairs[0][0]);
      dequantise(fragments[0][0][0], packed[0][0]);
      scale_weights(fragments[0][0][0], low[0], high[0]);
      dequantise(fragments[0][1][0], packed[1][0]);
      scale_weights(fragments[0][1][0], low[0], high[0]);
      unsigned previous = stage;
      #pragma unroll 1
      for (int left = k_count; left > 0; --left) {
        const bool more = left > 1;
        const unsigned next = stage == 3 ? 0 : stage + 1;
        const unsigned next_parity = next == 0 ? parity ^ 1 : parity;
        // Commit batch 1 of 2.
        warpgroup_arrive();
        wgmma(sums[0], fragments[0][0][0], activation_tile + stage * 512, left < k_count);
        wgmma(sums[0], fragments[0][1][0], activation_tile + stage * 512 + 2, 1);
        warpgroup_commit();
        warpgroup_wait<1>();
        __syncwarp();
        if (left < k_count && lane == 0) mbarrier_arrive(empty + previous * 8);
        dequantise(fragments[1][0][0], packed[2][0]);
        scale_weights(fragments[1][0][0], low[0], high[0]);
        dequantise(fragments[1][1][0], packed[3][0]);
        scale_weights(fragments[1][1][0], low[0], high[0]);
        if (more) {
          mbarrier_wait_parity(full + next * 8, next_parity);
          ld_shared(packed[0], packed_at + next * 4096);
          ld_shared(packed[1], packed_at + next * 4096 + 1024);
          ld_shared(packed[2], packed_at + next * 4096 + 2048);
          ld_shared(packed[3], packed_at + next * 4096 + 3072);
          ld_shared(scale_pairs[0], scales_at + next * 256);
        }
        // Commit batch 2 of 2.
        warpgroup_arrive();
        wgmma(sums[0], fragments[1][0][0], activation_tile + stage * 512 + 4, 1);
        wgmma(sums[0], fragments[1][1][0], activation_tile + stage * 512 + 6, 1);
        warpgroup_commit();
        warpgroup_wait<1>();
        if (more) {
          spread_scales(low[0], high[0], scale_pairs[0][0]);
          dequantise(fragments[0][0][0], packed[0][0]);
          scale_weights(fragments[0][0][0], low[0], high[0]);
          dequantise(fragments[0][1][0], packed[1][0]);
          scale_weights(fragments[0][1][0], low[0], high[0]);
        }
        previous = stage, stage = next, parity = next_parity;
      }
      warpgroup_wait<0>();
      __syncwarp();
      if (lane == 0) mbarrier_arrive(empty + previous * 8);

      // ---- Sums -> C.
      {
        const unsigned boxes = shared + kStaging + warpgroup * 8192;
        const unsigned staged = boxes + (lane & 7) * 128 +
            (((fragment * 2 + lane / 8) ^ (lane & 7)) & 7) * 16;
        if (thread == 0) tma_store_wait<0>();
        named_barrier_sync(warpgroup + 1, 128);
        stmatrix_trans(staged, sums[0], 0);
        stmatrix_trans(staged + 1024, sums[0], 1);
        stmatrix_trans(staged + 2048, sums[0], 2);
        stmatrix_trans(staged + 3072, sums[0], 3);
        stmatrix_trans(staged + 4096, sums[0], 4);
        stmatrix_trans(staged + 5120, sums[0], 5);
        stmatrix_trans(staged + 6144, sums[0], 6);
        stmatrix_trans(staged + 7168, sums[0], 7);
        fence_proxy_async();
        named_barrier_sync(warpgroup + 1, 128);
        if (thread == 0) {
          tma_store_2d(&output_map, boxes, n_tile * 128 + warpgroup * 64, m_tile * 64);
          tma_store_commit();
        }
      }
    }
    if (thread == 0) tma_store_wait<0>();  // which still read shared memory
  }
}

// ==== Primitives ==================================================================================

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

// Fences between the generic and the asynchronous proxy, and of new mbarriers.

__device__ __forceinline__ void fence_mbarrier_init() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

// What was stored to shared memory may be read, and what was loaded from it may be overwritten, by
// the bulk copies that follow.
__device__ __forceinline__ void fence_proxy_async() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// Barriers in shared memory that count arrivals and bytes of asynchronous copies (sm_90 and later).

// One thread makes all of a block's barriers, then publishes them.
__device__ __forceinline__ void mbarrier_init(unsigned barrier, unsigned arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

// Arrives and announces so many bytes.
__device__ __forceinline__ void mbarrier_arrive_expect_tx(unsigned barrier, unsigned bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
}

__device__ __forceinline__ void mbarrier_arrive(unsigned barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

// Waits for the end of the barrier's phase of this parity.
__device__ __forceinline__ void mbarrier_wait_parity(unsigned barrier, unsigned parity) {
  asm volatile(
      "{\n\t"
      ".reg .pred done;\n"
      "again%=:\n\t"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n\t"
      "@!done bra again%=;\n\t"
      "}" ::"r"(barrier),
      "r"(parity)
      : "memory");
}

// Bulk copies between global and shared memory by the tensor memory accelerator (sm_90 and later).
// PTX ISA, "Tensors" and "cp.async.bulk.tensor".

// The first copy by a map that is not in the cache yet would wait for it.
__device__ __forceinline__ void prefetch_tensormap(const TensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

// The box that begins at column x of row y to shared memory. What lies outside the matrix arrives
// as zeros, and its bytes count.
__device__ __forceinline__ void tma_load_2d(unsigned to, const TensorMap* map, int x, int y,
                                            unsigned barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%2, %3}], [%4];" ::"r"(to),
      "l"(map), "r"(x), "r"(y), "r"(barrier)
      : "memory");
}

// A run of bytes, a multiple of 16.
__device__ __forceinline__ void bulk_copy(unsigned to, const char* from, unsigned bytes,
                                          unsigned barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
      "[%0], [%1], %2, [%3];" ::"r"(to),
      "l"(from), "r"(bytes), "r"(barrier)
      : "memory");
}

// A box of shared memory to the matrix; what lies outside it is dropped.
__device__ __forceinline__ void tma_store_2d(const TensorMap* map, unsigned from, int x, int y) {
  asm volatile(
      "cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%1, %2}], [%3];" ::"l"(map),
      "r"(x), "r"(y), "r"(from)
      : "memory");
}

// Closes the group of stores issued since the last one.
__device__ __forceinline__ void tma_store_commit() {
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}

// Waits until at most `Pending` of the latest groups still have shared memory to read.
template <int Pending>
__device__ __forceinline__ void tma_store_wait() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(Pending) : "memory");
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

// Registers moved between warpgroups (sm_90a). PTX ISA, "setmaxnreg".

// Registers that the warps of a warpgroup hold from here on.
template <int Count>
__device__ __forceinline__ void warpgroup_reg_alloc() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Count));
}

template <int Count>
__device__ __forceinline__ void warpgroup_reg_dealloc() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Count));
}

// The asynchronous tensor core product of a warpgroup (sm_90a): weights in registers, activations
// in shared memory, sums in registers. PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions".

// Fragments and sums written so far may be read by the products that follow.
__device__ __forceinline__ void warpgroup_arrive() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

// Closes the group of products issued since the last one.
__device__ __forceinline__ void warpgroup_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

// Waits until at most `Pending` of the latest groups still run.
template <int Pending>
__device__ __forceinline__ void warpgroup_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Pending) : "memory");
}

// The descriptor of tokens in lines of 64 k, swizzled by 128 bytes; eight tokens are 1024 bytes.
// Bytes from there on are added to it in units of 16.
__device__ __forceinline__ unsigned long long activation_descriptor(unsigned shared) {
  return 1ull << 62 | 64ull << 32 | 1ull << 16 | shared >> 4;
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

// Sums of m64 tiles -> C: as FP16 through shared memory, where lines of 64 columns of one token are
// swizzled by 128 bytes, as the tensor map of C has them.

// A fragment's sums of an n8 tile: sixteen columns, one 16-byte chunk for each eight of them.
template <int Sums>
__device__ __forceinline__ void stmatrix_trans(unsigned to, const float (&sums)[Sums], int tile) {
  const unsigned low = pack_half2(sums[4 * tile], sums[4 * tile + 1]);
  const unsigned high = pack_half2(sums[4 * tile + 2], sums[4 * tile + 3]);
  asm volatile("stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0], {%1, %2};" ::"r"(to), "r"(low),
               "r"(high)
               : "memory");
}

// The same for two fragments of neighbouring columns.
template <int Sums>
__device__ __forceinline__ void stmatrix_trans(unsigned to, const float (&sums)[Sums],
                                               const float (&next)[Sums], int tile) {
  const unsigned low = pack_half2(sums[4 * tile], sums[4 * tile + 1]);
  const unsigned high = pack_half2(sums[4 * tile + 2], sums[4 * tile + 3]);
  const unsigned next_low = pack_half2(next[4 * tile], next[4 * tile + 1]);
  const unsigned next_high = pack_half2(next[4 * tile + 2], next[4 * tile + 3]);
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(to),
               "r"(low), "r"(high), "r"(next_low), "r"(next_high)
               : "memory");
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

// sums[column, token] = weights[column, k] * activations[k, token] + sums, for 64 columns, 64
// tokens and k = 16; without the last term where `add` is 0.
__device__ __forceinline__ void wgmma(float (&d)[32], const unsigned (&weights)[4],
                                         unsigned long long activations, int add) {
  asm volatile(
      "{.reg .pred p; setp.ne.b32 p, %37, 0;\n\t"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 "
      "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
      "{%32, %33, %34, %35}, %36, p, 1, 1, 0;}"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
        "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
        "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]),
        "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
      : "r"(weights[0]), "r"(weights[1]), "r"(weights[2]), "r"(weights[3]),
        "l"(activations), "r"(add));
}
