// The generator: what a kernel can be asked for here, its plan, its text, and which one to choose.
// The one door to codegen/; what lies behind it is included by codegen and its tests alone.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "codegen/cost/gpu_model.h"
#include "codegen/plan/config.h"
#include "codegen/plan/plan.h"
#include "codegen/plan/sum_order.h"
#include "codegen/problem/problem.h"
#include "codegen/problem/target.h"

namespace marlin {

// Changes whenever the same plan would give another text; part of every cache key.
inline constexpr int kKernelSchema = 3;

// Raised with every change of a family's kernels, or of the meaning of its configs, that makes
// earlier timings worthless; a tuning record of another schema is not used.
int schema_of(Family family);

// "stripe/1,decode/1": names and schemas of all families, as a tuning record says what was
// searched.
std::string searched_families();

// The rule that makes this config illegal here, or nothing when it is legal. Throws
// Error{invalid_target}.
std::optional<std::string> why_illegal(const Problem& problem, const Target& target,
                                       const Config& config);

// Every legal config of the search space for this problem and target, in a fixed order; where it is
// batch-invariant those of its order. Throws Error{invalid_shape or invalid_target}.
std::vector<Config> legal_configs(const Problem& problem, const Target& target);

// The oldest NVRTC that compiles kernels of this config, as CUDA numbers versions: 12010 is 12.1.
// tests/unit/runtime/nvrtc_versions_test.cpp holds it to what several versions do.
int least_nvrtc(const Target& target, const Config& config);

// Throws Error{invalid_shape, invalid_target or invalid_config} with the broken rule.
Plan make_plan(const Problem& problem, const Target& target, const Config& config);

// The CUDA text of one translation unit that holds one kernel; the same plan gives the same bytes.
// The kernel's signature is
//   extern "C" __global__ void <plan.entry>(const char* a, const char* b, const char* scales,
//                                           char* c, char* workspace, int m)
// or, where the plan has tensor maps, each an argument of 128 bytes,
//   extern "C" __global__ void <plan.entry>(<tensor maps>, const char* scales, char* workspace,
//                                           int m)
// with a: FP16 [m, k] row-major; b: packed codes; scales: FP16 [k / group, n] permuted; c: FP16
// [m, n] row-major; workspace: plan.workspace_bytes, zeroed once before its first use and left
// zeroed where it counts; m: the row count (1..shape.m; equal to shape.m when that is exact).
std::string emit_source(const Plan& plan);

// Microseconds of one launch with all its rows; chained: of one of a chain of dependent launches.
// The config must be legal.
double estimate_us(const Problem& problem, const Target& target, const GpuModel& gpu,
                   const Config& config, bool chained = false);

struct Estimate {
  Config config;
  double us = 0;
};

// The order in which the config's kernel adds up K; nothing where it depends on the tile. The
// config must be legal.
std::optional<SumOrder> sum_order(const Problem& problem, const Target& target,
                                  const Config& config);

// The order that batch-invariant kernels of this weight matrix have on this target, for every m: of
// those that all m can have the one whose kernels take the least time by the estimate, in the
// geometric mean over rows from decoding to prefill. It depends on n, k, the scheme and the target
// alone, and may change with a release of the library. The first time it takes about
// a tenth of a second; after that it is known. Safe to call from many threads. Throws as
// rank_configs().
SumOrder invariant_order(const Problem& problem, const Target& target);

// Every legal config of every family that an NVRTC of this version compiles (0: the newest), the
// fastest by the estimate first; ties in the order of legal_configs(). Pure and deterministic.
// Throws Error{invalid_shape, invalid_target} and Error{invalid_config} where no config is legal,
// or none of a batch-invariant problem's order is for this NVRTC.
std::vector<Estimate> rank_configs(const Problem& problem, const Target& target,
                                   const GpuModel& gpu, bool chained = false, int nvrtc = 0);

}  // namespace marlin
