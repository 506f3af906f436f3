// Config <-> its one-line text, as printed, cached and given on the command line.
// Entry points: to_string, parse_config.
#include "codegen/plan/config.h"

#include <fmt/format.h>

#include <charconv>
#include <sstream>

#include "codegen/base/error.h"

namespace marlin {

const char* name_of(Family family) {
  switch (family) {
    case Family::stripe: return "stripe";
    case Family::decode: return "decode";
    case Family::wgmma: return "wgmma";
  }
  return "?";
}

namespace {

const char* name_of(Partition::Kind kind) {
  switch (kind) {
    case Partition::Kind::split: return "split";
    case Partition::Kind::span: return "span";
    case Partition::Kind::stripes: return "stripes";
    case Partition::Kind::cluster: return "cluster";
  }
  return "?";
}

// Reads "<prefix><positive integer>" whole.
bool read_field(std::string_view word, std::string_view prefix, int& value) {
  if (word.substr(0, prefix.size()) != prefix) return false;
  const std::string_view digits = word.substr(prefix.size());
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return error == std::errc() && end == digits.data() + digits.size() && value > 0;
}

// "w<warps_n>x<warps_k>"
bool read_warps(std::string_view word, Config& config) {
  const std::size_t x = word.find('x');
  return x != std::string_view::npos && read_field(word.substr(0, x), "w", config.warps_n) &&
         read_field(word.substr(x), "x", config.warps_k);
}

bool read_partition(std::string_view word, Partition& partition) {
  for (auto kind : {Partition::Kind::split, Partition::Kind::span, Partition::Kind::stripes,
                    Partition::Kind::cluster}) {
    if (read_field(word, name_of(kind), partition.count)) {
      partition.kind = kind;
      return true;
    }
  }
  return false;
}

bool read_scale_on(std::string_view word, ScaleOn& scale_on) {
  scale_on = word == "weights" ? ScaleOn::weights : ScaleOn::accumulators;
  return word == "weights" || word == "accumulators";
}

bool read_word(int index, std::string_view word, Config& config) {
  switch (index) {
    case 0: return read_field(word, "m", config.tile_m);
    case 1: return read_field(word, "n", config.tile_n);
    case 2: return read_warps(word, config);
    case 3: return read_field(word, "k", config.warp_k);
    case 4: return read_field(word, "s", config.stages);
    case 5: return read_scale_on(word, config.scale_on);
    case 6: return read_partition(word, config.partition);
    case 7: return read_field(word, "b", config.blocks_per_sm);
    default: return false;
  }
}

// What only some families have, after the fields that all have.
bool read_option(std::string_view word, Config& config) {
  if (word == "early" && !config.early_weights) {
    config.early_weights = true;
    return true;
  }
  return (config.burst == 1 && read_field(word, "burst", config.burst)) ||
         (config.raster == 1 && read_field(word, "raster", config.raster)) ||
         (config.multicast == 1 && read_field(word, "multicast", config.multicast));
}

// The name of a family other than stripe, which goes without saying.
bool read_family(std::string_view word, Config& config) {
  for (const Family family : {Family::decode, Family::wgmma}) {
    if (word == name_of(family)) {
      config.family = family;
      return true;
    }
  }
  return false;
}

std::string options_of(const Config& config) {
  std::string text = config.early_weights ? " early" : "";
  if (config.burst != 1) text += fmt::format(" burst{}", config.burst);
  if (config.raster != 1) text += fmt::format(" raster{}", config.raster);
  if (config.multicast != 1) text += fmt::format(" multicast{}", config.multicast);
  return text;
}

}  // namespace

std::string to_string(const Config& config) {
  const std::string family =
      config.family == Family::stripe ? "" : fmt::format("{} ", name_of(config.family));
  return fmt::format("{}m{} n{} w{}x{} k{} s{} {} {}{} b{}{}", family, config.tile_m, config.tile_n,
                     config.warps_n, config.warps_k, config.warp_k, config.stages,
                     config.scale_on == ScaleOn::weights ? "weights" : "accumulators",
                     name_of(config.partition.kind), config.partition.count, config.blocks_per_sm,
                     options_of(config));
}

Config parse_config(std::string_view text) {
  constexpr int kWords = 8;
  Config config;
  std::istringstream words{std::string(text)};
  std::string word;
  int count = 0;
  while (words >> word) {
    if (count == 0 && config.family == Family::stripe && read_family(word, config)) continue;
    if (count == kWords && read_option(word, config)) continue;
    if (!read_word(count, word, config)) {
      throw Error(
          ErrorCode::invalid_config,
          fmt::format("config: cannot read '{}'; the form is '{}'", word, to_string(Config{})));
    }
    ++count;
  }
  if (count != kWords) {
    throw Error(ErrorCode::invalid_config, fmt::format("config: {} fields of {}; the form is '{}'",
                                                       count, kWords, to_string(Config{})));
  }
  return config;
}

}  // namespace marlin
