// TMA loads into the shared memory of several blocks of a cluster (sm_90 and later).
//
// needs: ptx/tma

// tma_load_2d to the same place of every block of the mask, with the bytes to its same barrier.
__device__ __forceinline__ void tma_load_2d_multicast(unsigned to, const TensorMap* map, int x,
                                                      int y, unsigned barrier,
                                                      unsigned short blocks) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes"
      ".multicast::cluster [%0], [%1, {%2, %3}], [%4], %5;" ::"r"(to),
      "l"(map), "r"(x), "r"(y), "r"(barrier), "h"(blocks)
      : "memory");
}
