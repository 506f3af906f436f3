// marlin_wgmma_64x4096x4096_g128: Marlin wgmma kernel, 64x4096x4096 g128
//
// C[m, 4096] = A[m, 4096] * dequantised(B)[4096, 4096] for any m in 1..64.
// B: 4-bit codes in the Marlin format, one FP16 scale for each 128 along K.
// Written for sm_90a, 132 SMs by config 'wgmma m64 n128 w8x1 k64 s4 weights split1 b1 burst2'.
// 32 x 1 x 1 blocks of 384 threads, 66640 bytes of shared memory each, 0 of workspace.
//
// Tiles of 64 tokens x 128 columns. 2 warpgroups multiply 64 columns each; one thread of
// another brings the stages, 64 of K each, 4 on their way at any time. Weights are the A
// operand of the tensor cores, from registers, tokens the B operand: C^T = W^T A^T.

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

// Barriers in shared memory that count arrivals and bytes of asynchronous copies (sm_90 and later).

// One thread makes all of a block's barriers, then publishes them.
__device__ __forceinline__ void make_barrier(unsigned barrier, unsigned arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

__device__ __forceinline__ void publish_barriers() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

// The warp that has made them tells those that use them, so many threads with its own, and goes on.
template <int Threads>
__device__ __forceinline__ void tell_barriers_made() {
  asm volatile("barrier.arrive 15, %0;" ::"n"(Threads) : "memory");
}
template <int Threads>
__device__ __forceinline__ void wait_for_barriers_made() {
  asm volatile("barrier.sync 15, %0;" ::"n"(Threads) : "memory");
}

// Arrives and announces so many bytes.
__device__ __forceinline__ void expect_bytes(unsigned barrier, unsigned bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
}

__device__ __forceinline__ void arrive(unsigned barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

// Waits for the end of the barrier's phase of this parity.
__device__ __forceinline__ void wait_for_phase(unsigned barrier, unsigned parity) {
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

// What the driver encodes: a matrix, the box that one copy moves, and how its lines are swizzled.
struct __align__(64) TensorMap {
  unsigned long long opaque[16];
};

// The first copy by a map that is not in the cache yet would wait for it.
__device__ __forceinline__ void fetch_map(const TensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

// The box that begins at column x of row y to shared memory. What lies outside the matrix arrives
// as zeros, and its bytes count.
__device__ __forceinline__ void copy_box(unsigned to, const TensorMap* map, int x, int y,
                                         unsigned barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%2, %3}], [%4];" ::"r"(to),
      "l"(map), "r"(x), "r"(y), "r"(barrier)
      : "memory");
}

// A run of bytes, a multiple of 16.
__device__ __forceinline__ void copy_bytes(unsigned to, const char* from, unsigned bytes,
                                           unsigned barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
      "[%0], [%1], %2, [%3];" ::"r"(to),
      "l"(from), "r"(bytes), "r"(barrier)
      : "memory");
}

// A box of shared memory to the matrix; what lies outside it is dropped.
__device__ __forceinline__ void store_box(const TensorMap* map, unsigned from, int x, int y) {
  asm volatile(
      "cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%1, %2}], [%3];" ::"l"(map),
      "r"(x), "r"(y), "r"(from)
      : "memory");
}

// Closes the group of stores issued since the last one.
__device__ __forceinline__ void close_stores() {
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}

// Waits until at most `Pending` of the latest groups still have shared memory to read.
template <int Pending>
__device__ __forceinline__ void wait_for_stores() {
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

// Sixteen bytes that the previous kernel may have written, past L1.
__device__ __forceinline__ uint4 load16(const char* from) {
  uint4 bytes;
  asm volatile("ld.global.cg.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(bytes.x), "=r"(bytes.y), "=r"(bytes.z), "=r"(bytes.w)
               : "l"(from)
               : "memory");
  return bytes;
}

__device__ __forceinline__ void store16(unsigned to, uint4 bytes) {
  asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(bytes.x), "r"(bytes.y),
               "r"(bytes.z), "r"(bytes.w)
               : "memory");
}

// A barrier of the warps that share tokens; numbers from 1, as 0 is the whole block's.
__device__ __forceinline__ void meet(unsigned barrier, unsigned threads) {
  asm volatile("barrier.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}

// The asynchronous tensor core product of a warpgroup (sm_90a): weights in registers, tokens in
// shared memory, sums in registers. PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions".

// Fragments and sums written so far may be read by the products that follow.
__device__ __forceinline__ void open_products() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

// Closes the group of products issued since the last one.
__device__ __forceinline__ void close_products() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

// Waits until at most `Pending` of the latest groups still run.
template <int Pending>
__device__ __forceinline__ void wait_for_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Pending) : "memory");
}

// The descriptor of tokens in lines of 64 k, swizzled by 128 bytes; eight tokens are 1024 bytes.
// Bytes from there on are added to it in units of 16.
__device__ __forceinline__ unsigned long long describe_tokens(unsigned shared) {
  return 1ull << 62 | 64ull << 32 | 1ull << 16 | shared >> 4;
}

// Registers that the warps of a warpgroup hold from here on.
template <int Count>
__device__ __forceinline__ void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Count));
}
template <int Count>
__device__ __forceinline__ void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Count));
}

// One lane's words of a k16 row of 64 columns: those of one, two or all four fragments.
__device__ __forceinline__ void load_words(unsigned (&words)[1], unsigned from) {
  asm volatile("ld.shared.u32 %0, [%1];" : "=r"(words[0]) : "r"(from) : "memory");
}
__device__ __forceinline__ void load_words(unsigned (&words)[2], unsigned from) {
  asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];"
               : "=r"(words[0]), "=r"(words[1])
               : "r"(from)
               : "memory");
}
__device__ __forceinline__ void load_words(unsigned (&words)[4], unsigned from) {
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(from)
               : "memory");
}

template <int Sums>
__device__ __forceinline__ void clear(float (&sums)[Sums]) {
#pragma unroll
  for (int i = 0; i < Sums; ++i) sums[i] = 0.f;
}

// Sums of m64 tiles -> C: as FP16 through shared memory, where lines of 64 columns of one token are
// swizzled by 128 bytes, as the tensor map of C has them.

// A fragment's sums of eight tokens, the tile'th: sixteen columns, one 16-byte chunk for each eight.
template <int Sums>
__device__ __forceinline__ void stage_tokens(unsigned to, const float (&sums)[Sums], int tile) {
  const unsigned low = narrow(sums[4 * tile], sums[4 * tile + 1]);
  const unsigned high = narrow(sums[4 * tile + 2], sums[4 * tile + 3]);
  asm volatile("stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0], {%1, %2};" ::"r"(to), "r"(low),
               "r"(high)
               : "memory");
}

// The same for two fragments of neighbouring columns.
template <int Sums>
__device__ __forceinline__ void stage_tokens(unsigned to, const float (&sums)[Sums],
                                             const float (&next)[Sums], int tile) {
  const unsigned low = narrow(sums[4 * tile], sums[4 * tile + 1]);
  const unsigned high = narrow(sums[4 * tile + 2], sums[4 * tile + 3]);
  const unsigned next_low = narrow(next[4 * tile], next[4 * tile + 1]);
  const unsigned next_high = narrow(next[4 * tile + 2], next[4 * tile + 3]);
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(to),
               "r"(low), "r"(high), "r"(next_low), "r"(next_high)
               : "memory");
}

// What was stored to shared memory may be read, and what was loaded from it may be overwritten, by
// the bulk copies that follow.
__device__ __forceinline__ void show_to_copies() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// One scale for the whole K, on a fragment's sums: columns g and g + 8.
template <int Sums>
__device__ __forceinline__ void scale_sums(float (&sums)[Sums], float low, float high) {
#pragma unroll
  for (int i = 0; i < Sums; ++i) sums[i] *= i & 2 ? high : low;
}

// The sums of eight tokens that a part of K has sent, in place of a thread's own or added to them.
template <int Sums>
__device__ __forceinline__ void take_quad_at(float (&sums)[Sums], int eight, unsigned from) {
  asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(sums[4 * eight]), "=f"(sums[4 * eight + 1]), "=f"(sums[4 * eight + 2]),
                 "=f"(sums[4 * eight + 3])
               : "r"(from)
               : "memory");
}

template <int Sums>
__device__ __forceinline__ void add_quad_at(float (&sums)[Sums], int eight, unsigned from) {
  float part[4];
  take_quad_at(part, 0, from);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    // In place and at once: put off until many parts have come, these would need their registers.
    asm volatile("add.f32 %0, %0, %1;" : "+f"(sums[4 * eight + i]) : "f"(part[i]));
  }
}

// sums[column, token] = weights[column, k] * tokens[k, token] + sums, for 64 columns, 64
// tokens and k = 16; without the last term where `add` is 0.
__device__ __forceinline__ void multiply(float (&d)[32], const unsigned (&weights)[4],
                                         unsigned long long tokens, int add) {
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
        "l"(tokens), "r"(add));
}
// What the generator took for granted.
static_assert(__CUDA_ARCH__ == 900, "written for sm_90a");
static_assert(sizeof(TensorMap) == 128, "as the driver has it");
static_assert(4096 % 64 == 0, "K is whole stages");
static_assert(4 * 12544 <= 66640, "the rings fit");

extern "C" __global__ void __launch_bounds__(384, 1)
marlin_wgmma_64x4096x4096_g128(
    const __grid_constant__ TensorMap token_map, const __grid_constant__ TensorMap word_map,
    const __grid_constant__ TensorMap output_map, const char* __restrict__ scales,
    char* __restrict__ workspace, int m) {
  extern __shared__ __align__(1024) char shared_memory[];
  const unsigned shared = shared_address(shared_memory);
  const unsigned warpgroup = __shfl_sync(~0u, threadIdx.x / 128, 0);
  const unsigned thread = threadIdx.x & 127, warp = thread / 32, lane = thread & 31;

  // ---- Which pieces of which tiles this block computes.
  unsigned slice, m_tile;
  constexpr int k_first = 0, k_count = 64;
  auto find_piece = [&](unsigned piece) {
    const unsigned tile = blockIdx.x + piece * 32;
    if (tile >= 32) return false;
    slice = tile, m_tile = 0;
    return true;
  };

  // ---- Barriers: a stage has arrived; a stage may be filled again.
  const unsigned full = shared + 66560, empty = shared + 66592;
  if (threadIdx.x / 32 == 8) {
    if (lane == 0) {
      fetch_map(&token_map);
      fetch_map(&word_map);
      fetch_map(&output_map);
      for (unsigned stage = 0; stage < 4; ++stage) {
        make_barrier(full + stage * 8, 1);
        make_barrier(empty + stage * 8, 8);  // warps
      }
      publish_barriers();
    }
    __syncwarp();
    tell_barriers_made<288>();
  }
  launch_dependents();

  if (warpgroup == 2) {
    // ---- The producer: global -> shared memory, by one thread.
    give_registers<24>();
    if (thread == 0) {
      auto copy_scales = [&](unsigned stage, unsigned k_tile) {
        const unsigned bytes = 256;
        const char* from = scales + k_tile / 2 * 8192ll + slice * 256;
        const unsigned to = shared + 49152 + stage * 256;
        copy_bytes(to, from, bytes, full + stage * 8);
      };
      auto copy_words = [&](unsigned stage, unsigned k_tile) {
        expect_bytes(full + stage * 8, 12544);
        copy_box(shared + 32768 + stage * 4096, &word_map, slice * 128, k_tile * 4, full + stage * 8);
        copy_scales(stage, k_tile);
      };
      auto copy_tokens = [&](unsigned stage, unsigned k_tile) {
        copy_box(shared + stage * 8192, &token_map, k_tile * 64, m_tile * 64, full + stage * 8);
      };
      unsigned stage = 0, parity = 1;
      wait_for_previous();
      for (unsigned piece = 0; find_piece(piece); ++piece) {
        #pragma unroll 1
        for (int i = k_first; i < k_first + k_count; ++i) {
          wait_for_phase(empty + stage * 8, parity);
          copy_words(stage, i);
          copy_tokens(stage, i);
          stage = stage == 3 ? 0 : stage + 1;
          parity ^= stage == 0 ? 1 : 0;
        }
      }
    }
  } else {
    // ---- A consumer: shared memory -> fragments -> sums.
    take_registers<240>();
    // This warp's columns: 16 of each m64 tile, all in one block of 64 and neighbours there.
    const unsigned block = warpgroup, fragment = warp;
    const unsigned words_at = shared + 32768 + block * 512 + lane * 16 + fragment * 4;
    const unsigned scales_at = shared + 49152 + block * 128 + lane / 4 * 16 + fragment * 4;
    const unsigned long long token_tile = describe_tokens(shared);
    float sums[1][32];  // [m64 tile][fragment of 8 tokens x 4]
    unsigned fragments[2][2][1][4], words[4][1];
    unsigned scale_pairs[1][1];
    unsigned low[1], high[1];
    unsigned stage = 0, parity = 0;
    wait_for_barriers_made<288>();
    for (unsigned piece = 0; find_piece(piece); ++piece) {
      wait_for_phase(full + stage * 8, parity);
      load_words(words[0], words_at + stage * 4096);
      load_words(words[1], words_at + stage * 4096 + 1024);
      load_words(words[2], words_at + stage * 4096 + 2048);
      load_words(words[3], words_at + stage * 4096 + 3072);
      load_words(scale_pairs[0], scales_at + stage * 256);
      spread_scales(low[0], high[0], scale_pairs[0][0]);
      dequantise(fragments[0][0][0], words[0][0]);
      scale_weights(fragments[0][0][0], low[0], high[0]);
      dequantise(fragments[0][1][0], words[1][0]);
      scale_weights(fragments[0][1][0], low[0], high[0]);
      unsigned previous = stage;
      #pragma unroll 1
      for (int left = k_count; left > 0; --left) {
        const bool more = left > 1;
        const unsigned next = stage == 3 ? 0 : stage + 1;
        const unsigned next_parity = next == 0 ? parity ^ 1 : parity;
        // Burst 1 of 2.
        open_products();
        multiply(sums[0], fragments[0][0][0], token_tile + stage * 512, left < k_count);
        multiply(sums[0], fragments[0][1][0], token_tile + stage * 512 + 2, 1);
        close_products();
        wait_for_products<1>();
        __syncwarp();
        if (left < k_count && lane == 0) arrive(empty + previous * 8);
        dequantise(fragments[1][0][0], words[2][0]);
        scale_weights(fragments[1][0][0], low[0], high[0]);
        dequantise(fragments[1][1][0], words[3][0]);
        scale_weights(fragments[1][1][0], low[0], high[0]);
        if (more) {
          wait_for_phase(full + next * 8, next_parity);
          load_words(words[0], words_at + next * 4096);
          load_words(words[1], words_at + next * 4096 + 1024);
          load_words(words[2], words_at + next * 4096 + 2048);
          load_words(words[3], words_at + next * 4096 + 3072);
          load_words(scale_pairs[0], scales_at + next * 256);
        }
        // Burst 2 of 2.
        open_products();
        multiply(sums[0], fragments[1][0][0], token_tile + stage * 512 + 4, 1);
        multiply(sums[0], fragments[1][1][0], token_tile + stage * 512 + 6, 1);
        close_products();
        wait_for_products<1>();
        if (more) {
          spread_scales(low[0], high[0], scale_pairs[0][0]);
          dequantise(fragments[0][0][0], words[0][0]);
          scale_weights(fragments[0][0][0], low[0], high[0]);
          dequantise(fragments[0][1][0], words[1][0]);
          scale_weights(fragments[0][1][0], low[0], high[0]);
        }
        previous = stage, stage = next, parity = next_parity;
      }
      wait_for_products<0>();
      __syncwarp();
      if (lane == 0) arrive(empty + previous * 8);

      // ---- Sums -> C.
      {
        const unsigned boxes = shared + 50176 + warpgroup * 8192;
        const unsigned staged = boxes + (lane & 7) * 128 + ((fragment * 2 + lane / 8 ^ lane & 7) & 7) * 16;
        if (thread == 0) wait_for_stores<0>();
        meet(warpgroup + 1, 128);
        stage_tokens(staged, sums[0], 0);
        stage_tokens(staged + 1024, sums[0], 1);
        stage_tokens(staged + 2048, sums[0], 2);
        stage_tokens(staged + 3072, sums[0], 3);
        stage_tokens(staged + 4096, sums[0], 4);
        stage_tokens(staged + 5120, sums[0], 5);
        stage_tokens(staged + 6144, sums[0], 6);
        stage_tokens(staged + 7168, sums[0], 7);
        show_to_copies();
        meet(warpgroup + 1, 128);
        if (thread == 0) {
          store_box(&output_map, boxes, slice * 128 + warpgroup * 64, m_tile * 64);
          close_stores();
        }
      }
    }
    if (thread == 0) wait_for_stores<0>();  // which still read shared memory
  }
}
