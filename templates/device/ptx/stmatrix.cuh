// Sums of m64 tiles -> C: as FP16 through shared memory, where lines of 64 columns of one token are
// swizzled by 128 bytes, as the tensor map of C has them.
//
// needs: types/f16

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
