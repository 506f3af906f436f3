// ${title}
//
${description}

// ---- Primitives: each is defined and explained after the kernel.
${declarations}

${assumptions}
extern "C" __global__ void __launch_bounds__(${threads}, ${blocks_per_sm})${cluster_dims}
${entry}(
    const char* __restrict__ a, const char* __restrict__ b, const char* __restrict__ scales,
    char* __restrict__ c, char* __restrict__, int m) {
  extern __shared__ __align__(128) char shared_memory[];
  const unsigned shared = shared_address(shared_memory);
${shared_map}
  const unsigned lane = threadIdx.x & 31, warp = threadIdx.x >> 5;

  // ---- What this block and this warp compute.
${work}

  // ---- Global -> shared memory: every warp copies the packed weights and scales that it alone reads.
${copies}

  // ---- Fill the pipeline. Nothing that the previous kernel writes is touched before it is done.
${fill}

  // ---- Shared memory -> fragments.
${fragment_addresses}

  // ---- The product: each k16 step multiplies one set of fragments while the next one loads.
${product}

  // ---- Sums -> the block that owns them -> C.
${output}
}

// ==== Primitives ==================================================================================

${definitions}
