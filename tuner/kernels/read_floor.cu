// The read floor: the fastest this GPU reads so many bytes of device memory in one launch with
// plain 16-byte loads. No kernel that needs those bytes can be faster by much.

// Nothing is loaded beyond `count`.
template <int kUnroll>
__device__ void load(uint4 (&v)[kUnroll], const uint4* data, unsigned long long count,
                     unsigned long long first, unsigned long long stride) {
#pragma unroll
  for (int u = 0; u < kUnroll; ++u) {
    v[u] = make_uint4(0, 0, 0, 0);
    if (first + u * stride < count) {
      asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0, %1, %2, %3}, [%4];"
                   : "=r"(v[u].x), "=r"(v[u].y), "=r"(v[u].z), "=r"(v[u].w)
                   : "l"(data + first + u * stride));
    }
  }
}

// Each thread keeps kUnroll loads in flight. The values are folded into one word that is stored
// only when it hits a value that it cannot be expected to hit, so that no load can be removed.
// `prepare` runs when the first loads are on their way and gives a word to begin with.
template <int kUnroll, class Prepare>
__device__ void read_all(const uint4* data, unsigned long long count, unsigned* sink,
                         const Prepare& prepare) {
  const unsigned long long stride = (unsigned long long)gridDim.x * blockDim.x;
  unsigned long long i = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
  uint4 v[kUnroll];
  load(v, data, count, i, stride);
  unsigned folded = prepare();
  while (i < count) {
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) folded ^= v[u].x ^ v[u].y ^ v[u].z ^ v[u].w;
    i += kUnroll * stride;
    if (i < count) load(v, data, count, i, stride);
  }
  if (folded == 0x12345678u) *sink = folded;
}

template <int kUnroll>
__device__ void read_alone(const uint4* data, unsigned long long count, unsigned* sink) {
  read_all<kUnroll>(data, count, sink, [] { return 0u; });
}

extern "C" __global__ void __launch_bounds__(256)
    read_floor_4(const uint4* data, unsigned long long count, unsigned* sink) {
  read_alone<4>(data, count, sink);
}

extern "C" __global__ void __launch_bounds__(256)
    read_floor_8(const uint4* data, unsigned long long count, unsigned* sink) {
  read_alone<8>(data, count, sink);
}

#if __CUDA_ARCH__ >= 900

// The same for launches that are chained by programmatic dependent launch, as the kernels of
// layers that follow each other: the next kernel may start at once, and requests its data while
// this one still reads; before it goes on it waits for this one's end and reads a word of `in`, as
// if that were the activations.
template <int kUnroll>
__device__ void read_chained(const uint4* data, unsigned long long count, unsigned* sink,
                             const unsigned* in) {
  asm volatile("griddepcontrol.launch_dependents;");
  read_all<kUnroll>(data, count, sink, [in] {
    asm volatile("griddepcontrol.wait;" ::: "memory");
    return *in;
  });
}

extern "C" __global__ void __launch_bounds__(256)
    chained_read_floor_4(const uint4* data, unsigned long long count, unsigned* sink,
                         const unsigned* in) {
  read_chained<4>(data, count, sink, in);
}

extern "C" __global__ void __launch_bounds__(256)
    chained_read_floor_8(const uint4* data, unsigned long long count, unsigned* sink,
                         const unsigned* in) {
  read_chained<8>(data, count, sink, in);
}

#endif
