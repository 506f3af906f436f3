// Shape + Target + Config -> source -> cache key -> CacheEntry: what get() and prebuilding share.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "codegen/plan/plan.h"
#include "runtime/cache/cache_key.h"
#include "runtime/cache/cubin_cache.h"
#include "runtime/compile/nvrtc.h"

namespace marlin {

// A kernel's text and all that its cubin depends on but the compiler.
struct KernelText {
  Plan plan;
  std::string source;
  std::vector<std::string> options;
};

// Throws as make_plan() does.
KernelText write_kernel(const Problem& problem, const Target& target, const Config& config);

// The fields of the kernel's key under the NVRTC of this identity; cache_key() hashes them.
CacheKeyFields key_fields(const KernelText& kernel, std::string_view nvrtc_identity);

// NVRTC's answer. Throws Error{no_nvrtc}, for a version that cannot compile the kernel's config,
// too, or Error{compile_failed}.
CompileOutput compile_text(const KernelText& kernel);

// Compiles with nvrtc(), whose identity goes into entry.meta.key. When NVRTC refuses the source and
// `failed_dir` can be written, the source is kept as failed_dir/<sha256 of source>.cu and the error
// says so. Throws Error{no_nvrtc} or Error{compile_failed}.
CacheEntry compile_kernel(const KernelText& kernel, const std::string& failed_dir = {});

// Where a cache keeps the sources that failed; empty for a cache without a folder.
std::string failed_dir_of(const CubinCache& cache);

// nvrtc_identity() as this cache remembers it for the library that is there now, which is not
// opened; nothing when the cache does not know it.
std::optional<std::string> recalled_nvrtc_identity(const CubinCache& cache);
// The same, else nvrtc_identity(), which the cache then remembers. Throws Error{no_nvrtc}.
std::string remembered_nvrtc_identity(const CubinCache& cache);

// "marlin prebuild ..." with the arguments that put this kernel into that folder.
std::string prebuild_command(const Plan& plan, const std::string& config_text,
                             const std::string& dir);

}  // namespace marlin
