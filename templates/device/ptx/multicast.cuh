// What the blocks of a cluster that share activations have beyond others (sm_90 and later): each copies
// a part of the activations into the shared memory of all.

// All threads of the cluster, before its barriers are used by other blocks and before it ends.
__device__ __forceinline__ void cluster_sync() {
  asm volatile(
      "barrier.cluster.arrive.aligned;\n\t"
      "barrier.cluster.wait.aligned;" ::: "memory");
}

// tma_load_2d to the same place of every block of the mask, with the bytes to its same barrier.
__device__ __forceinline__ void tma_load_2d_multicast(unsigned to, const TensorMap* map, int x, int y,
                                                unsigned barrier, unsigned short blocks) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes"
      ".multicast::cluster [%0], [%1, {%2, %3}], [%4], %5;" ::"r"(to),
      "l"(map), "r"(x), "r"(y), "r"(barrier), "h"(blocks)
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
