// Weight packing: logical codes and scales, or FP16 weights, to the published Marlin format
// (codegen/formats/marlin_4bit.h says how it lies in memory) and back, on the CPU and on the GPU.
//
// Logical forms, all row-major; k, n and group are the problem's, its m plays no part:
//   weights        FP16  [k, n]          raw bits in uint16_t
//   codes          uint8 [k, n]          0..15; a weight is (code - 8) * its scale
//   scales         FP16  [k / group, n]  ([1, n] for group -1)
// Packed forms, as LaunchArgs::b and LaunchArgs::scales take them:
//   packed         uint32, k * n / 8 words: packed_bytes()
//   packed_scales  FP16, as many as scales, permuted: scales_bytes()
//
// Scales may have either sign and be zero or denormal; none is beyond kMaxScale in magnitude, as a
// weight, up to 8 times a scale, is a finite FP16. All kernels hold that range, and packing checks
// it.
//
// Rules: n and k are multiples of 64 within the limits of a Shape; group is 32, 64, 128 or -1 and
// divides k. Inputs and outputs must not overlap. All functions may be called from many threads at
// once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "marlin/error.h"
#include "marlin/problem.h"

struct CUstream_st;

namespace marlin {

inline constexpr float kMaxScale = 8188;

// The packing rule that the problem breaks, or nothing. Wider than broken_rule: weights can be
// packed for groups that no kernel serves yet.
std::optional<std::string> broken_packing_rule(const Problem& problem);

// Throws Error{invalid_shape} with the broken rule.
void require_packable(const Problem& problem);

// Bytes of the packed codes and of the packed scales. Throw Error{invalid_shape}.
std::size_t packed_bytes(const Problem& problem);
std::size_t scales_bytes(const Problem& problem);

// ---- On the CPU --------------------------------------------------------------------------------
// Each checks everything before it writes anything and spreads the work over the machine's cores.
// Throw Error{invalid_shape} with the broken rule, or Error{invalid_argument} for a span of another
// size than the problem asks for.

// Also throws Error{invalid_argument} for a code above 15 or a scale that is not finite or beyond
// kMaxScale.
void pack_codes(const Problem& problem, std::span<const std::uint8_t> codes,
                std::span<const std::uint16_t> scales, std::span<std::uint32_t> packed,
                std::span<std::uint16_t> packed_scales);

// The inverse of pack_codes, bit for bit.
void unpack_codes(const Problem& problem, std::span<const std::uint32_t> packed,
                  std::span<const std::uint16_t> packed_scales, std::span<std::uint8_t> codes,
                  std::span<std::uint16_t> scales);

// Round to nearest with symmetric group scales, as the published Marlin code quantises in its
// tests: for each group of a column
//   scale = min(FP16(FP32(max |w|) * FP32(2 / 15)), kMaxScale),
//   code = clamp(round_to_even(w / scale) + 8, 0, 15).
// The quotient is not rounded to FP16 first, so a code is always the nearest one. A group whose
// scale rounds to zero gets the codes 8. kMaxScale is reached for max |w| above 61400 only, where
// the published code has scales with which code 0 is infinite. Also throws Error{invalid_argument}
// for a weight that is not finite.
void quantize_rtn(const Problem& problem, std::span<const std::uint16_t> weights,
                  std::span<std::uint8_t> codes, std::span<std::uint16_t> scales);

// (code - 8) * scale: exact in FP32, rounded to nearest even in FP16. Also throws
// Error{invalid_argument} for a code above 15.
void dequantize(const Problem& problem, std::span<const std::uint8_t> codes,
                std::span<const std::uint16_t> scales, std::span<std::uint16_t> weights);
void dequantize(const Problem& problem, std::span<const std::uint8_t> codes,
                std::span<const std::uint16_t> scales, std::span<float> weights);

struct PackedWeights {
  std::vector<std::uint32_t> packed;
  std::vector<std::uint16_t> packed_scales;
};

// The same into new memory: packs given codes and scales, or quantises FP16 weights and packs.
PackedWeights pack_codes(const Problem& problem, std::span<const std::uint8_t> codes,
                         std::span<const std::uint16_t> scales);
PackedWeights pack_rtn(const Problem& problem, std::span<const std::uint16_t> weights);

// ---- On the GPU --------------------------------------------------------------------------------
// The same with device pointers of the current context, 16-byte aligned, bit-equal to the CPU; the
// work is enqueued on the stream and never synchronised. The first call on a device compiles or
// loads the kernels; later calls can be captured in a CUDA graph. Throw Error{invalid_shape},
// Error{invalid_argument} for a null or misaligned pointer, Error{capturing} for a first call
// during a capture, Error{jit_disabled} for one whose kernels would have to be compiled in no-JIT
// mode, and what compiling and launching can throw: no_driver, no_device, no_nvrtc, compile_failed,
// driver_failed.
//
// What the CPU refuses by its value cannot be refused here. Where the caller passes a status word
// (a zeroed uint32 in device memory, 4-byte aligned, or null), the kernels set these bits in it;
// the output is then of no use.
inline constexpr std::uint32_t kStatusBadCode = 1;    // a code above 15
inline constexpr std::uint32_t kStatusNotFinite = 2;  // a scale or a weight that is not finite
inline constexpr std::uint32_t kStatusBadScale = 4;   // a finite scale beyond kMaxScale

void pack_codes_gpu(CUstream_st* stream, const Problem& problem, const void* codes,
                    const void* scales, void* packed, void* packed_scales,
                    std::uint32_t* status = nullptr);
void unpack_codes_gpu(CUstream_st* stream, const Problem& problem, const void* packed,
                      const void* packed_scales, void* codes, void* scales);
void quantize_rtn_gpu(CUstream_st* stream, const Problem& problem, const void* weights, void* codes,
                      void* scales, std::uint32_t* status = nullptr);

}  // namespace marlin
