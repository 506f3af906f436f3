// The tensor core product of sixteen columns and eight tokens over k = 16, in FP32:
// d[column, token] = weights[column, k] * activations[k, token] + d.

__device__ __forceinline__ void mma(float (&d)[4], const unsigned (&weights)[4],
                                    const unsigned (&activations)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(weights[0]), "r"(weights[1]), "r"(weights[2]), "r"(weights[3]), "r"(activations[0]),
        "r"(activations[1]));
}

// The same with nothing to add to: the first step of a group.
__device__ __forceinline__ void mma_first(float (&d)[4], const unsigned (&weights)[4],
                                          const unsigned (&activations)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %10, %10, %10};"
      : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
      : "r"(weights[0]), "r"(weights[1]), "r"(weights[2]), "r"(weights[3]), "r"(activations[0]),
        "r"(activations[1]), "f"(0.f));
}
