// ${title}
//
${description}

// ---- Primitives: each is defined and explained after the kernel.
${declarations}

${assumptions}
extern "C" __global__ void __launch_bounds__(${threads}, ${blocks_per_sm})${cluster_dims}
${entry}(
    const __grid_constant__ TensorMap activation_map, const __grid_constant__ TensorMap packed_map,
    const __grid_constant__ TensorMap output_map, const char* __restrict__ scales,
    char* __restrict__ workspace, int m) {
  extern __shared__ __align__(1024) char shared_memory[];
  const unsigned shared = shared_address(shared_memory);
${shared_map}
  const unsigned warpgroup = __shfl_sync(~0u, threadIdx.x / 128, 0);
  const unsigned thread = threadIdx.x & 127, warp = thread / 32, lane = thread & 31;

  // ---- Which segments of which tiles this block computes.
${work}

  // ---- Barriers: a stage has arrived; a stage may be filled again.
${barriers}

  if (warpgroup == ${producer}) {
    // ---- The producer: global -> shared memory, by one thread.
${warpgroup_reg_dealloc}
${produce}
  } else {
    // ---- A consumer: shared memory -> fragments -> sums.
${warpgroup_reg_alloc}
${addresses}
${open_segment}
${consume}

      // ---- Sums -> C.
${output}
    }
    if (thread == 0) tma_store_wait<0>();  // which still read shared memory
  }
${leave}
}

// ==== Primitives ==================================================================================

${definitions}
