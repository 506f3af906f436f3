// Sizes in memory of what is not packed.
#pragma once

namespace marlin {

inline constexpr int kHalfBytes = 2;    // FP16: activations, scales and C
inline constexpr int kFloatBytes = 4;   // FP32: sums
inline constexpr int kChunkBytes = 16;  // of one asynchronous copy
inline constexpr int kLineBytes = 128;  // of shared memory, over all banks; what swizzles go by
inline constexpr int kLineK = kLineBytes / kHalfBytes;  // of one row of activations
inline constexpr int kBarrierBytes = 8;                 // an mbarrier
// FP32 sums of a fragment, 16 columns x 8 rows, over the lanes of a warp.
inline constexpr int kFragmentBytes = 16 * 8 * kFloatBytes;
inline constexpr int kPairBytes = 2 * kFloatBytes;  // two of them

}  // namespace marlin
