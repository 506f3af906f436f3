// Config: the choices that problem and target leave open.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <variant>

namespace marlin {

// Which way of writing the kernel the config belongs to; families/family.h says what each brings.
enum class Family { stripe, decode, wgmma };
inline constexpr Family kFamilies[] = {Family::stripe, Family::decode, Family::wgmma};
inline constexpr std::array<std::string_view, 3> kFamilyNames = {"stripe", "decode", "wgmma"};

// "stripe", "decode" or "wgmma", as databases call it.
const char* name_of(Family family);

// Where a group's scale is applied: on the FP16 weights as they are dequantised, or on FP32
// accumulators at the end of each group (fewer instructions at few tokens, twice the registers).
enum class ScaleOn { weights, accumulators };
inline constexpr std::array<std::string_view, 2> kScaleOnNames = {"weights", "accumulators"};

// How output tiles (one tile_m x tile_n tile over all of K) go to thread blocks.
//   split s   each tile is cut along K into s equal parts, one block each
//   span t    each block does t whole tiles of one row of tiles, one after the other
//   stripes b the tiles, laid end to end along K, are cut into b stripes of equal length (+-1 k
//             tile); a stripe may begin and end inside a tile
//   cluster c the c blocks of a thread block cluster share one tile and split its K
// The decode family has clusters only, the stripe family all others. In the wgmma family split 1 is
// persistent blocks over whole tiles, split s is s blocks a tile, all of them resident (a
// cooperative launch), and stripes b cuts only the tiles of the last waves into stripes.
struct Partition {
  enum class Kind { split, span, stripes, cluster };
  Kind kind = Kind::split;
  int count = 1;

  friend bool operator==(const Partition&, const Partition&) = default;
};
inline constexpr std::array<std::string_view, 4> kPartitionNames = {"split", "span", "stripes",
                                                                    "cluster"};

// What the configs of one family have beside what all have. `visit` names each option once: for
// text, records, dumps and limits alike.
struct StripeOptions {
  template <class Self, class Visitor>
  static void visit(Self&, Visitor&) {}
  friend bool operator==(const StripeOptions&, const StripeOptions&) = default;
};

struct DecodeOptions {
  // Request the weights of all stages before waiting for the previous kernel and for activations,
  // which pays in dependent launches; else weights and activations stage by stage.
  bool early_weights = false;

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor& visitor) {
    visitor.flag("early_weights", "early", self.early_weights);
  }
  friend bool operator==(const DecodeOptions&, const DecodeOptions&) = default;
};

struct WgmmaOptions {
  // Request the weights of the first stages before waiting for the previous kernel.
  bool early_weights = false;
  int k_steps_per_commit = 1;  // k16 steps whose products are one commit group
  int raster = 1;              // m tiles that follow one another before the next n tile comes
  int multicast = 1;  // blocks of a cluster, side by side along n, that share their activations
  // The order of a consumer's loop. Fragments for all k16 steps of a stage, each step a commit
  // group, so that no product waits for one of its own stage; else two commit groups' in turns.
  bool whole_stage = false;
  // A stage's sums are scaled while the products of the next one, with a set of their own, run.
  int sum_sets = 1;
  // The next stage's packed weights are read behind the last products of a stage, not before them.
  bool late_packed = false;

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor& visitor) {
    visitor.flag("early_weights", "early", self.early_weights);
    visitor.count("burst", "burst", self.k_steps_per_commit);  // as records and texts call it
    visitor.count("raster", "raster", self.raster);
    visitor.count("multicast", "multicast", self.multicast);
    visitor.flag("whole_stage", "whole", self.whole_stage);
    visitor.count("sum_sets", "sets", self.sum_sets);
    visitor.flag("late_packed", "late", self.late_packed);
  }
  friend bool operator==(const WgmmaOptions&, const WgmmaOptions&) = default;
};

struct Config {
  int tile_m = 16;   // rows of a block's tile, a multiple of 8
  int tile_n = 256;  // columns of a block's tile, a multiple of 64
  int warps_n = 4;   // warps side by side along n; each has tile_n / warps_n columns
  int warps_k = 2;   // warps that share those columns and split the k of each stage
  int warp_k = 32;   // k that one warp takes from one stage
  int stages = 4;    // depth of the asynchronous copy pipeline
  ScaleOn scale_on = ScaleOn::weights;
  Partition partition;
  int blocks_per_sm = 1;  // blocks meant to share one SM; bounds registers and shared memory
  // Those of the family, in the order of Family's enumerators. The wgmma family's warps are the
  // consumers' alone.
  std::variant<StripeOptions, DecodeOptions, WgmmaOptions> options;

  Family family() const { return static_cast<Family>(options.index()); }
  const DecodeOptions& decode() const { return std::get<DecodeOptions>(options); }
  const WgmmaOptions& wgmma() const { return std::get<WgmmaOptions>(options); }
  DecodeOptions& decode() { return std::get<DecodeOptions>(options); }
  WgmmaOptions& wgmma() { return std::get<WgmmaOptions>(options); }

  int warps() const { return warps_n * warps_k; }
  int threads() const { return warps() * 32; }
  int tile_k() const { return warps_k * warp_k; }  // k of one stage

  friend bool operator==(const Config&, const Config&) = default;
};

// Those of the family as they are when none is asked for.
std::variant<StripeOptions, DecodeOptions, WgmmaOptions> options_of(Family family);

// Names every field once, in a fixed order. A visitor has
//   family(options)                          first: whose options follow
//   number(name, prefix, value[, joined])    joined: no blank before it in the text form
//   choice(name, value, names)               an enum with the names of its enumerators
//   flag(name, word, value)                  an option of some families, left out when false
//   count(name, prefix, value)               the same, left out when 1
template <class Self, class Visitor>
void visit_config(Self& config, Visitor& visitor) {
  visitor.family(config.options);
  visitor.number("tile_m", "m", config.tile_m);
  visitor.number("tile_n", "n", config.tile_n);
  visitor.number("warps_n", "w", config.warps_n);
  visitor.number("warps_k", "x", config.warps_k, true);
  visitor.number("warp_k", "k", config.warp_k);
  visitor.number("stages", "s", config.stages);
  visitor.choice("scale_on", config.scale_on, kScaleOnNames);
  visitor.choice("partition", config.partition.kind, kPartitionNames);
  visitor.number("count", "", config.partition.count, true);
  visitor.number("blocks_per_sm", "b", config.blocks_per_sm);
  std::visit([&](auto& options) { options.visit(options, visitor); }, config.options);
}

// "m16 n256 w4x2 k32 s4 weights split1 b1", "decode m8 n64 w1x8 k64 s4 accumulators cluster2 b1
// early", "wgmma m128 n256 w8x1 k128 s3 weights split1 b1 burst2 raster8": the family's name comes
// first but for the stripe family, and what it alone has comes last, but for a count of 1.
// parse_config reads it back and throws Error{invalid_config} naming the word it cannot read.
std::string to_string(const Config& config);
Config parse_config(std::string_view text);

}  // namespace marlin
