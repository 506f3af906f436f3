// Bulk copies between global and shared memory by the tensor memory accelerator (sm_90 and later).
// PTX ISA, "Tensors" and "cp.async.bulk.tensor".

// What the driver encodes: a matrix, the box that one copy moves, and how its lines are swizzled.
struct __align__(64) TensorMap {
  unsigned long long opaque[16];
};

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
