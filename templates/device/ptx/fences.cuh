// Fences between the generic and the asynchronous proxy, and of new mbarriers.

__device__ __forceinline__ void fence_mbarrier_init() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

// What was stored to shared memory may be read, and what was loaded from it may be overwritten, by
// the bulk copies that follow.
__device__ __forceinline__ void fence_proxy_async() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
