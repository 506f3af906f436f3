// The asynchronous tensor core product of a warpgroup (sm_90a): weights in registers, activations in
// shared memory, sums in registers. PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions".

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

// Registers that the warps of a warpgroup hold from here on.
template <int Count>
__device__ __forceinline__ void warpgroup_reg_alloc() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Count));
}
template <int Count>
__device__ __forceinline__ void warpgroup_reg_dealloc() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Count));
}

// One lane's packed weights of a k16 row of 64 columns: those of one, two or all four fragments.
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

template <int Sums>
__device__ __forceinline__ void clear(float (&sums)[Sums]) {
#pragma unroll
  for (int i = 0; i < Sums; ++i) sums[i] = 0.f;
}
