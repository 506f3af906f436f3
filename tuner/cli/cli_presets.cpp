// Preset name -> its layers: a transformer's sizes become its four fused weight matrices.
// Entry point: preset_layers.
#include "tuner/cli/cli_presets.h"

#include <algorithm>

namespace marlin {
namespace {

// What fixes the four matrices of a decoder layer. q_width = attention heads * head size, kv_width
// = key-value heads * head size.
struct Transformer {
  std::string_view preset;
  std::string_view prefix;  // of its layers' names
  std::int64_t hidden, q_width, kv_width, intermediate;
};

// From the config.json that each model is published with.
constexpr Transformer kTransformers[] = {
    {"llama3-8b", "8B", 4096, 4096, 1024, 14336},
    {"llama3-70b", "70B", 8192, 8192, 1024, 28672},
    {"llama3-405b", "405B", 16384, 16384, 1024, 53248},
    {"llama2-7b", "llama2-7b", 4096, 4096, 4096, 11008},
    {"llama2-13b", "llama2-13b", 5120, 5120, 5120, 13824},
    {"mistral-7b", "mistral-7b", 4096, 4096, 1024, 14336},
    {"qwen2.5-7b", "qwen2.5-7b", 3584, 3584, 512, 18944},
    {"qwen2.5-32b", "qwen2.5-32b", 5120, 5120, 1024, 27648},
    {"qwen2.5-72b", "qwen2.5-72b", 8192, 8192, 1024, 29568},
    {"gemma2-9b", "gemma2-9b", 3584, 4096, 2048, 14336},
};

std::vector<Layer> decoder_layers(const Transformer& model) {
  const std::string prefix(model.prefix);
  return {{prefix + ".qkv", model.q_width + 2 * model.kv_width, model.hidden, {}, {}},
          {prefix + ".o", model.hidden, model.q_width, {}, {}},
          {prefix + ".gate_up", 2 * model.intermediate, model.hidden, {}, {}},
          {prefix + ".down", model.hidden, model.intermediate, {}, {}}};
}

// The cases of the published kernel's own test (IST-DASLab/marlin, test.py): every M tail, K that
// its pipeline depth does not divide, K shorter than the pipeline, early Llama layers, wide N.
std::vector<Layer> published_layers() {
  const std::vector<std::int64_t> tails = {1,  2,  3,  4,   8,   12,  16,  24,
                                           32, 48, 64, 118, 128, 152, 768, 1024};
  std::vector<Layer> layers = {{"published.tiles", 512, 1024, tails, {128, -1}}};
  for (std::int64_t k : {768, 832, 896}) {
    layers.push_back({"published.stages", 512, k, {16}, {-1}});
  }
  for (std::int64_t k : {64, 128, 192}) {
    layers.push_back({"published.few_stages", 512, k, {16}, {-1}});
  }
  struct Early {
    std::int64_t hidden, intermediate;
  };
  for (Early model : {Early{4096, 10752}, {5120, 13568}, {6656, 17664}, {8192, 21760}}) {
    layers.push_back({"published.qkv", 3 * model.hidden, model.hidden, {1, 16}, {-1}});
    layers.push_back({"published.o", model.hidden, model.hidden, {1, 16}, {-1}});
    layers.push_back({"published.gate_up", 2 * model.intermediate, model.hidden, {1, 16}, {-1}});
    layers.push_back({"published.down", model.hidden, model.intermediate, {1, 16}, {-1}});
  }
  layers.push_back({"published.groups", 256, 512, {16}, {128}});
  layers.push_back({"published.groups", 256, 1024, {16}, {128}});
  layers.push_back({"published.groups", 256 * 128, 1024, {16}, {128}});
  return layers;
}

}  // namespace

const std::vector<std::string>& preset_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const Transformer& model : kTransformers) all.emplace_back(model.preset);
    all.insert(all.end(), {"published", "ideal"});
    return all;
  }();
  return names;
}

std::vector<Layer> preset_layers(std::string_view name) {
  if (name == "published") return published_layers();
  // The matrix of the published "peak" figure on 132 SMs: one 256-wide slice for each of them.
  if (name == "ideal") return {{"ideal", 256 * 132, 4 * 256 * 132, {}, {}}};
  const auto* found = std::find_if(std::begin(kTransformers), std::end(kTransformers),
                                   [&](const Transformer& model) { return model.preset == name; });
  if (found == std::end(kTransformers)) return {};
  return decoder_layers(*found);
}

}  // namespace marlin
