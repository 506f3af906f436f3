// ${title}
//
${description}

${device}
${beliefs}
extern "C" __global__ void __launch_bounds__(${threads}, ${blocks_per_sm})${cluster_dims}
${entry}(const char* __restrict__ a, const char* __restrict__ b, const char* __restrict__ scales,
    char* __restrict__ c, char* __restrict__, int m) {
  extern __shared__ __align__(1024) char shared_memory[];
  const unsigned shared = shared_address(shared_memory);
  const unsigned lane = threadIdx.x & 31;
  // Shuffled so that the compiler knows it is the same in all lanes, as bulk copies want it.
  const unsigned warp = __shfl_sync(~0u, threadIdx.x >> 5, 0);

  // ---- What this block and this warp compute.
${work}

  // ---- Global -> shared memory: words and scales of a unit by bulk copies, tokens by every lane.
${requests}

  // ---- Fill the pipeline: weights at once, tokens when the previous kernel is done.
${fill}

  // ---- Shared memory -> fragments.
${fragment_addresses}

  // ---- The product: each k16 step multiplies one set of fragments while the next one loads.
${product}

  // ---- Sums -> the block that owns them -> C.
${output}
}
