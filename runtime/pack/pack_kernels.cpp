// The packing template and the layout's tables -> CUDA text -> cubin, by way of the caches.
// Entry points: pack_source, with_pack_cubin.
#include "runtime/pack/pack_kernels.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <optional>
#include <utility>

#include "codegen/base/error.h"
#include "codegen/emit/templates.h"
#include "codegen/emit/text.h"
#include "codegen/formats/marlin_4bit.h"
#include "codegen/generator.h"
#include "marlin/pack.h"
#include "runtime/base/sha256.h"
#include "runtime/cache/cubin_cache.h"
#include "runtime/choose/settings.h"
#include "runtime/compile/kernel_build.h"
#include "runtime/compile/nvrtc.h"

namespace marlin {
namespace {

constexpr const char* kName = "marlin_pack";

// The elements of an initialiser, on lines of 16.
template <typename Values>
std::string listed(const Values& values, int indent) {
  constexpr std::size_t kPerLine = 16;
  Text text(indent);
  for (std::size_t i = 0; i < values.size(); i += kPerLine) {
    text.line("{},", fmt::join(values.data() + i, values.data() + i + kPerLine, ", "));
  }
  return text.str();
}

std::string scale_table(ScaleOrder order) {
  std::array<std::int64_t, kScaleBlock> columns{};
  for (int p = 0; p < kScaleBlock; ++p) columns[p] = scale_column(order, p);
  return listed(columns, 8);
}

CacheKeyFields key_fields(const std::string& source, const std::string& arch,
                          const std::string& nvrtc_identity) {
  return {kKernelSchema, sha256_hex(source), kernel_compile_options(), arch, kName, nvrtc_identity};
}

CacheEntry compile(const std::string& source, const std::string& arch) {
  CompileOutput output = nvrtc().compile({.source = source,
                                          .name = std::string(kName) + ".cu",
                                          .arch = arch,
                                          .options = kernel_compile_options()});
  CacheEntry entry;
  entry.meta.key = key_fields(source, arch, nvrtc().identity());
  entry.meta.problem = "weight packing";
  entry.meta.compile_ms = output.milliseconds;
  entry.cubin = std::move(output.cubin);
  return entry;
}

[[noreturn]] void refuse_to_compile(const std::string& arch, const CacheSearch& search) {
  throw Error(ErrorCode::jit_disabled,
              fmt::format("the kernels of GPU weight packing for {} are in no cache and "
                          "MARLIN_DISABLE_JIT is set: pack on the CPU, or pack on the GPU once "
                          "without it\nPassed over:\n  {}",
                          arch, fmt::join(search.passed_over, "\n  ")));
}

}  // namespace

std::string pack_source() {
  return expand(template_text("pack/pack.cu"),
                {{"tile_table", listed(pack_tile_table(), 4)},
                 {"grouped_scales", scale_table(ScaleOrder::grouped)},
                 {"single_scales", scale_table(ScaleOrder::single)},
                 {"bad_code", std::to_string(kStatusBadCode)},
                 {"not_finite", std::to_string(kStatusNotFinite)},
                 {"bad_scale", std::to_string(kStatusBadScale)},
                 {"max_scale", fmt::format("{:#06x}", kMaxScaleBits)}});
}

void with_pack_cubin(const std::string& arch, const std::function<void(const FoundKernel&)>& use) {
  KernelCaches caches(settings_from({}));
  const std::string source = pack_source();
  CacheSearch search{
      .key_under =
          [&](const std::string& nvrtc) { return cache_key(key_fields(source, arch, nvrtc)); },
      .use = use};
  if (caches.find(search)) return;
  if (caches.settings().disable_jit) refuse_to_compile(arch, search);
  caches.build(search, [&] { return compile(source, arch); });
}

}  // namespace marlin
