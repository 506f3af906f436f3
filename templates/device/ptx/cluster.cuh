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
