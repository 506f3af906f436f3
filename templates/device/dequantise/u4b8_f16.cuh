// A word of eight 4-bit codes -> the A fragment of mma.m16n8k16, exactly code - 8 in FP16.
//
// The Marlin format orders the nibbles so that four masks give the four half2 registers. A mask
// leaves a code in the low mantissa bits of an FP16 whose exponent it sets by the same LOP3:
// 0x6400 | code = 1024 + code, and with the code one nibble up, 0x5400 | code << 4 = 64 + code.
// Source of the technique: Kim et al., "Who Says Elephants Can't Run", 2022.
//
// needs: types/f16

template <unsigned Mask, unsigned Exponent>
__device__ __forceinline__ unsigned lop3_and_or(unsigned word) {
  unsigned result;
  asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(result) : "r"(word), "n"(Mask), "n"(Exponent));
  return result;
}

// Registers: columns g and g + 8 at k = 2t, 2t + 1, then both at k = 2t + 8, 2t + 9, for lane
// 4 g + t.
__device__ __forceinline__ void dequantise(unsigned (&weights)[4], unsigned word) {
  constexpr unsigned kMinus1032 = 0xe408e408, kMinus72 = 0xd480d480;
  const unsigned upper = word >> 8;
  weights[0] = add2(lop3_and_or<0x000f000f, 0x64006400>(word), kMinus1032);
  weights[1] = add2(lop3_and_or<0x000f000f, 0x64006400>(upper), kMinus1032);
  weights[2] = add2(lop3_and_or<0x00f000f0, 0x54005400>(word), kMinus72);
  weights[3] = add2(lop3_and_or<0x00f000f0, 0x54005400>(upper), kMinus72);
}
