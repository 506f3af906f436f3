// Source: Plan -> the text of one CUDA translation unit holding one kernel.
#pragma once

#include <string>

#include "codegen/plan.h"

namespace marlin {

// Changes whenever the same plan would give another text; part of every cache key.
inline constexpr int kKernelSchema = 2;

// The same plan gives the same bytes. The kernel's signature is
//   extern "C" __global__ void <plan.entry>(const char* a, const char* b, const char* scales,
//                                           char* c, char* workspace, int m)
// or, where the plan has tensor maps, each an argument of 128 bytes,
//   extern "C" __global__ void <plan.entry>(<tensor maps>, const char* b, const char* scales,
//                                           char* workspace, int m)
// with a: FP16 [m, k] row-major; b: packed codes; scales: FP16 [k / group, n] permuted; c: FP16
// [m, n] row-major; workspace: plan.workspace_bytes, zeroed once before its first use and left
// zeroed where it counts; m: the row count (1..shape.m; equal to shape.m when that is exact).
std::string emit_source(const Plan& plan);

}  // namespace marlin
