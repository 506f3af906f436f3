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
