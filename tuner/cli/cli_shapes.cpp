// --shape, --shapes, --m, --group, --exact and --batch-invariant -> the list of valid shapes a verb
// works on. Entry point: ShapeOptions::resolve.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>

#include "codegen/base/error.h"
#include "tuner/cli/cli_common.h"
#include "tuner/cli/cli_presets.h"

namespace marlin {
namespace {

[[noreturn]] void refuse(const std::string& message) {
  throw Error(ErrorCode::invalid_argument, message);
}

template <typename Int>
bool read_int(std::string_view text, Int& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

// "MxNxK" or "NxK"; `where` opens the refusal.
Layer read_shape(std::string_view text, const std::string& where) {
  std::vector<std::int64_t> sizes;
  bool readable = true;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find('x', begin), text.size());
    readable = read_int(text.substr(begin, end - begin), sizes.emplace_back()) && readable;
    begin = end + 1;
  }
  if (readable && sizes.size() == 2) return {"", sizes[0], sizes[1], {}, {}};
  if (readable && sizes.size() == 3) return {"", sizes[1], sizes[2], {sizes[0]}, {}};
  refuse(fmt::format("{}: '{}' is not a shape: write MxNxK (16x28672x4096), or NxK with --m", where,
                     text));
}

// "[name:] MxNxK|NxK [group]", with # opening a comment; nothing for an empty line.
std::optional<Layer> read_line(std::string line, const std::string& where) {
  line.resize(std::min(line.find('#'), line.size()));
  std::istringstream words(line);
  std::string word, name;
  if (!(words >> word)) return std::nullopt;
  if (word.back() == ':') {
    name = word.substr(0, word.size() - 1);
    if (!(words >> word)) refuse(fmt::format("{}: '{}:' names no shape", where, name));
  }
  Layer layer = read_shape(word, where);
  layer.name = name;
  if (words >> word) {
    int group = 0;
    if (!read_int(word, group)) refuse(fmt::format("{}: '{}' is not a group size", where, word));
    layer.groups = {group};
  }
  if (words >> word) refuse(fmt::format("{}: '{}' after the group size", where, word));
  return layer;
}

std::vector<Layer> read_file(const std::string& path) {
  std::ifstream file(path);
  if (!file) {
    refuse(fmt::format("--shapes {}: neither a preset nor a file that can be read; presets: {}",
                       path, fmt::join(preset_names(), ", ")));
  }
  std::vector<Layer> layers;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    if (auto layer = read_line(line, fmt::format("{}:{}", path, number))) layers.push_back(*layer);
  }
  if (file.bad()) refuse(fmt::format("--shapes {}: the file cannot be read", path));
  if (layers.empty()) refuse(fmt::format("--shapes {}: the file holds no shape", path));
  return layers;
}

std::vector<Layer> named_layers(const ShapeOptions& options) {
  std::vector<Layer> layers;
  for (const std::string& text : options.shapes) layers.push_back(read_shape(text, "--shape"));
  for (const std::string& set : options.sets) {
    std::vector<Layer> more = preset_layers(set);
    if (more.empty()) more = read_file(set);
    layers.insert(layers.end(), more.begin(), more.end());
  }
  return layers;
}

// What the command line says about M must fit the layers: each needs one, and --m needs a use.
void require_m(const std::vector<Layer>& layers, const ShapeOptions& options) {
  const auto open = std::find_if(layers.begin(), layers.end(),
                                 [](const Layer& layer) { return layer.m.empty(); });
  if (open != layers.end() && options.m.empty() && options.default_m.empty()) {
    refuse(fmt::format("{}{}x{} has no M: give the token counts by --m, e.g. --m 1,16,64",
                       open->name.empty() ? "" : open->name + " ", open->n, open->k));
  }
  if (open == layers.end() && !options.m.empty()) {
    refuse("--m: every shape has an M of its own; write NxK to leave it open");
  }
}

void append_valid(std::vector<NamedProblem>& shapes, const std::string& name,
                  const Problem& problem) {
  if (const auto rule = broken_rule(problem)) {
    throw Error(ErrorCode::invalid_shape, fmt::format("{}: {}", to_string(problem), *rule));
  }
  const bool known = std::any_of(shapes.begin(), shapes.end(), [&](const NamedProblem& other) {
    return other.problem == problem;
  });
  if (!known) shapes.push_back({name, problem});
}

// Those of --scheme, or of --group, its short form.
std::vector<Scheme> asked_schemes(const ShapeOptions& options) {
  if (!options.schemes.empty() && !options.groups.empty()) {
    refuse("--scheme and --group: give one of them; --group 64 is --scheme f16.u4b8.g64");
  }
  std::vector<Scheme> asked;
  for (const std::string& text : options.schemes) asked.push_back(parse_scheme(text));
  for (const int group : options.groups) asked.push_back({.group = group});
  if (asked.empty()) asked.emplace_back();
  return asked;
}

// A layer with groups of its own keeps them.
std::vector<Scheme> schemes_of(const Layer& layer, const std::vector<Scheme>& asked) {
  if (layer.groups.empty()) return asked;
  std::vector<Scheme> own;
  for (const int group : layer.groups) {
    own.push_back(asked.front());
    own.back().group = group;
  }
  return own;
}

}  // namespace

void ShapeOptions::add_to(CLI::App& verb) {
  const std::string group = "Shapes";
  verb.add_option("--shape", shapes, "MxNxK, e.g. 16x28672x4096, or NxK with --m; may be repeated")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("MxNxK")
      ->group(group);
  verb.add_option("--shapes", sets,
                  fmt::format("a preset ({}) or a file with lines '[name:] MxNxK|NxK [group]'",
                              fmt::join(preset_names(), ", ")))
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("PRESET|FILE")
      ->group(group);
  verb.add_option("--m", m, "token counts for shapes without an M of their own, e.g. 1,16,64")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("M,...")
      ->group(group);
  verb.add_option("--scheme", schemes,
                  "how weights are held, e.g. f16.u4b8.g128 (default); the last part is the group: "
                  "128, 64, 32, or -1 for the whole K")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("SCHEME")
      ->group(group);
  verb.add_option(
          "--group", groups,
          "the scheme by its group alone: 64 for f16.u4b8.g64; shapes with a group of their "
          "own keep it")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("128|64|32|-1")
      ->group(group);
  verb.add_flag("--exact", exact,
                "a kernel for exactly M rows, instead of one for the rows up to the ladder's next "
                "rung")
      ->group(group);
  verb.add_flag("--batch-invariant", batch_invariant,
                "kernels that add up K in one order for every M: a row's bits depend on no other "
                "row, nor on how many there are")
      ->group(group);
}

std::vector<NamedProblem> ShapeOptions::resolve() const {
  const std::vector<Layer> layers = named_layers(*this);
  if (layers.empty()) refuse("no shape: give --shape MxNxK or --shapes PRESET|FILE");
  require_m(layers, *this);
  const std::vector<Scheme> asked = asked_schemes(*this);
  const std::vector<std::int64_t>& open_m = m.empty() ? default_m : m;
  std::vector<NamedProblem> resolved;
  for (const Layer& layer : layers) {
    for (const Scheme& scheme : schemes_of(layer, asked)) {
      for (std::int64_t rows : layer.m.empty() ? open_m : layer.m) {
        append_valid(resolved, layer.name,
                     {.shape = {.m = rows, .n = layer.n, .k = layer.k, .exact_m = exact},
                      .scheme = scheme,
                      .batch_invariant = batch_invariant});
      }
    }
  }
  return resolved;
}

NamedProblem ShapeOptions::resolve_one() const {
  const std::vector<NamedProblem> all = resolve();
  if (all.size() != 1) refuse(fmt::format("{} shapes: this works on one shape", all.size()));
  return all.front();
}

}  // namespace marlin
