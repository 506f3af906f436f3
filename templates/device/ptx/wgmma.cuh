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
