// Shape + Target + Config -> source -> cache key -> CacheEntry.
// Entry points: write_kernel, key_fields, compile_text, compile_kernel.
#include "runtime/compile/kernel_build.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <cstdint>

#include "codegen/base/error.h"
#include "codegen/generator.h"
#include "runtime/base/sha256.h"
#include "runtime/cache/cache_folder.h"

namespace marlin {
namespace {

CubinMeta describe(const KernelText& kernel, const CompileOutput& output,
                   const std::string& nvrtc_identity) {
  const KernelResources resources = parse_resources(output.log, kernel.plan.launch.entry);
  CubinMeta meta;
  meta.key = key_fields(kernel, nvrtc_identity);
  meta.problem = to_string(kernel.plan.problem);
  meta.config = to_string(kernel.plan.config);
  meta.sms = kernel.plan.target.sms;
  meta.threads = kernel.plan.launch.threads;
  // A cluster's blocks split K or share tokens, never both: one of the two counts is 1.
  meta.cluster = kernel.plan.launch.cluster;
  meta.shared_bytes = kernel.plan.launch.shared_bytes;
  meta.registers = resources.registers;
  meta.stack_bytes = resources.stack_bytes;
  meta.spill_bytes = resources.spill_stores + resources.spill_loads;
  meta.compile_ms = output.milliseconds;
  return meta;
}

// Where the source was kept, or nothing: the compile's own error must not be hidden by a full disk.
std::string keep_source(const std::string& source, const std::string& dir) {
  if (dir.empty()) return {};
  try {
    const std::string name = sha256_hex(source) + ".cu";
    const CacheFolder folder = CacheFolder::create(dir);
    folder.publish(name, source);
    return folder.path() + "/" + name;
  } catch (const std::exception&) {
    return {};
  }
}

// The NVRTC file this process would open, its identity left out.
std::optional<NvrtcMemo> library_here() {
  const std::string path = find_nvrtc();
  struct stat file = {};
  if (path.empty() || ::stat(path.c_str(), &file) != 0) return std::nullopt;
  return NvrtcMemo{path,
                   static_cast<std::uint64_t>(file.st_size),
                   std::int64_t{file.st_mtim.tv_sec} * 1'000'000'000 + file.st_mtim.tv_nsec,
                   {}};
}

// As a POSIX shell takes it for one word.
std::string shell_word(const std::string& text) {
  const bool plain = !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || std::string_view("/._-+,:=@%").find(c) != std::string_view::npos;
  });
  if (plain) return text;
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

// ptxas would name an instruction that it does not know, in a line of its own making.
void require_serves(const Nvrtc& compiler, const Plan& plan) {
  const int least = least_nvrtc(plan.target, plan.config);
  if (least <= std::max(compiler.number(), limits_of(plan.target).least_nvrtc)) return;
  throw Error(ErrorCode::no_nvrtc,
              fmt::format("NVRTC {} ({}) cannot compile config '{}' for {}: {} or newer is needed",
                          compiler.version(), compiler.path(), to_string(plan.config),
                          plan.target.arch, version_text(least)));
}

}  // namespace

KernelText write_kernel(const Problem& problem, const Target& target, const Config& config) {
  KernelText kernel{make_plan(problem, target, config), {}, kernel_compile_options()};
  kernel.source = emit_source(kernel.plan);
  return kernel;
}

CacheKeyFields key_fields(const KernelText& kernel, std::string_view nvrtc_identity) {
  return {kKernelSchema,           sha256_hex(kernel.source), kernel.options,
          kernel.plan.target.arch, kernel.plan.launch.entry,  std::string(nvrtc_identity)};
}

CompileOutput compile_text(const KernelText& kernel) {
  require_serves(nvrtc(), kernel.plan);
  return nvrtc().compile({.source = kernel.source,
                          .name = kernel.plan.launch.entry + ".cu",
                          .arch = kernel.plan.target.arch,
                          .options = kernel.options});
}

CacheEntry compile_kernel(const KernelText& kernel, const std::string& failed_dir) {
  try {
    CompileOutput output = compile_text(kernel);
    return {describe(kernel, output, nvrtc().identity()), std::move(output.cubin)};
  } catch (const Error& error) {
    if (error.code() != ErrorCode::compile_failed) throw;
    const std::string kept = keep_source(kernel.source, failed_dir);
    if (kept.empty()) throw;
    throw Error(error.code(), fmt::format("{} (the source is kept in {})", error.what(), kept))
        .with_log(error.log())
        .with_options(error.options())
        .with_source_path(kept);
  }
}

std::string failed_dir_of(const CubinCache& cache) {
  return cache.enabled() && !cache.read_only() ? cache.dir() + "/failed" : "";
}

std::optional<std::string> recalled_nvrtc_identity(const CubinCache& cache) {
  const std::optional<NvrtcMemo> library = library_here();
  if (!library) return std::nullopt;
  return cache.recall_nvrtc(library->path, library->size, library->mtime_ns);
}

std::string remembered_nvrtc_identity(const CubinCache& cache) {
  if (auto known = recalled_nvrtc_identity(cache)) return *known;
  std::string identity = nvrtc_identity();
  // When the library found first was refused for another, that other one is not remembered.
  std::optional<NvrtcMemo> library = library_here();
  if (library && library->path == nvrtc().path()) {
    library->identity = identity;
    cache.remember_nvrtc(*library);
  }
  return identity;
}

std::string prebuild_command(const Plan& plan, const std::string& config_text,
                             const std::string& dir) {
  const Problem& problem = plan.problem;
  std::string command =
      fmt::format("marlin prebuild --arch {} --sms {} --shape {}x{}x{} --scheme {}",
                  plan.target.arch, plan.target.sms, problem.shape.m, problem.shape.n,
                  problem.shape.k, to_string(problem.scheme));
  if (problem.shape.exact_m) command += " --exact";
  if (problem.batch_invariant) command += " --batch-invariant";
  if (!config_text.empty()) command += " --config " + shell_word(config_text);
  return command + " --out " + shell_word(dir.empty() ? "DIR" : dir);
}

}  // namespace marlin
