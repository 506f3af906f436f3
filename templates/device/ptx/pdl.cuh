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
__device__ __forceinline__ uint4 ld_global_cg(const char* from) {
  uint4 bytes;
  asm volatile("ld.global.cg.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(bytes.x), "=r"(bytes.y), "=r"(bytes.z), "=r"(bytes.w)
               : "l"(from)
               : "memory");
  return bytes;
}

__device__ __forceinline__ void st_shared(unsigned to, uint4 bytes) {
  asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(bytes.x), "r"(bytes.y),
               "r"(bytes.z), "r"(bytes.w)
               : "memory");
}

// A barrier of the warps that share activations; numbers from 1, as 0 is the whole block's.
__device__ __forceinline__ void named_barrier_sync(unsigned barrier, unsigned threads) {
  asm volatile("barrier.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}
