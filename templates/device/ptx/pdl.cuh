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
