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
