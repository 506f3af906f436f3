// Config: the choices that shape and target leave open.
#pragma once

#include <string>
#include <string_view>

namespace marlin {

// Which way of writing the kernel the config belongs to; families/family.h says what each brings.
enum class Family { stripe, decode, wgmma };
inline constexpr Family kFamilies[] = {Family::stripe, Family::decode, Family::wgmma};

// "stripe", "decode" or "wgmma", as databases call it.
const char* name_of(Family family);

// Where a group's scale is applied: on the FP16 weights as they are dequantised, or on FP32
// accumulators at the end of each group (fewer instructions at few tokens, twice the registers).
enum class ScaleOn { weights, accumulators };

// How output slices (one tile_m x tile_n tile over all of K) go to thread blocks.
//   split s   each slice is cut along K into s equal parts, one block each
//   span t    each block does t whole slices of one row of tiles, one after the other
//   stripes b the slices, laid end to end along K, are cut into b stripes of equal length (+-1
//             tile); a stripe may begin and end inside a slice
//   cluster c the c blocks of a thread block cluster share one slice and split its K
// The decode family has clusters only, the stripe family all others. In the wgmma family split 1 is
// whole slices for as many blocks as there are places, split s needs places for all blocks at once,
// and stripes b cuts only the slices of the last waves into stripes.
struct Partition {
  enum class Kind { split, span, stripes, cluster };
  Kind kind = Kind::split;
  int count = 1;

  friend bool operator==(const Partition&, const Partition&) = default;
};

struct Config {
  int tile_m = 16;   // tokens of a block's tile, a multiple of 8
  int tile_n = 256;  // columns of a block's tile, a multiple of 64
  int warps_n = 4;   // warps side by side along n; each has tile_n / warps_n columns
  int warps_k = 2;   // warps that share those columns and split the k of each stage
  int warp_k = 32;   // k that one warp takes from one stage
  int stages = 4;    // depth of the asynchronous copy pipeline
  ScaleOn scale_on = ScaleOn::weights;
  Partition partition;
  int blocks_per_sm = 1;  // blocks meant to share one SM; bounds registers and shared memory
  Family family = Family::stripe;
  // Decode and wgmma families: request all stages' weights before waiting for the previous kernel
  // and for tokens, which pays in dependent launches; else weights and tokens stage by stage.
  bool early_weights = false;
  // Wgmma family, whose warps are the consumers' alone:
  int burst = 1;      // k16 steps whose products are issued together
  int raster = 1;     // token tiles that follow one another before the next columns come
  int multicast = 1;  // blocks of a cluster, side by side along n, that share the tokens they copy

  int warps() const { return warps_n * warps_k; }
  int threads() const { return warps() * 32; }
  int tile_k() const { return warps_k * warp_k; }  // k of one stage

  friend bool operator==(const Config&, const Config&) = default;
};

// "m16 n256 w4x2 k32 s4 weights split1 b1", "decode m8 n64 w1x8 k64 s4 accumulators cluster2 b1
// early", "wgmma m128 n256 w8x1 k128 s3 weights split1 b1 burst2 raster8": the family's name comes
// first but for the stripe family, and what it alone has comes last, but for a count of 1.
// parse_config reads it back and throws Error{invalid_config} naming the field it cannot read.
std::string to_string(const Config& config);
Config parse_config(std::string_view text);

}  // namespace marlin
