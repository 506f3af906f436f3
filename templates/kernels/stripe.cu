// ${title}
//
${description}

// ---- Primitives: each is defined and explained after the kernel.
${declarations}

${assumptions}
${stripes}
extern "C" __global__ void __launch_bounds__(${threads}, ${blocks_per_sm})
${entry}(
    const char* __restrict__ a, const char* __restrict__ b, const char* __restrict__ scales,
    char* __restrict__ c, char* __restrict__ workspace, int m) {
  extern __shared__ __align__(128) char shared_memory[];
  const unsigned shared = shared_address(shared_memory);
${shared_map}
  const unsigned lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
${warp_index}

  // ---- Which tiles this block computes.
${work}

  // ---- Global -> shared memory: every warp copies the packed weights and scales that it alone reads.
${copy_addresses}
  auto fetch = [&](unsigned stage) {
${fetch}
  };

  // ---- Shared memory -> fragments.
${fragment_addresses}

  // ---- Sums -> shared memory -> C.
${output_addresses}
  auto finish = [&]() {
${finish}
  };

  // ---- Fill the pipeline.
${fill}

  // ---- The product: each k16 step multiplies one set of fragments while the next one loads.
${product}
}

// ==== Primitives ==================================================================================

${definitions}
