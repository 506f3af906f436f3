// KernelTable: kernels by device, SMs and problem, read by any number of threads without a lock.
#pragma once

#include <cstddef>
#include <cstdint>

#include "codegen/problem/problem.h"
#include "runtime/base/lock_free_table.h"

namespace marlin {

class Kernel;

struct TableKey {
  int device = 0;
  int sms = 0;      // that the context has: the kernel is written for so many
  int variant = 0;  // 0: our choice of config for the device itself; 1: that for chained launches
  Problem problem;  // m is a rung unless it is exact

  friend bool operator==(const TableKey&, const TableKey&) = default;
};

struct TableKeyHash {
  std::size_t operator()(const TableKey& key) const noexcept {
    // Each field times an odd constant of its own.
    const std::uint64_t sum =
        static_cast<std::uint64_t>(key.problem.shape.n) * 0x9e3779b97f4a7c15u +
        static_cast<std::uint64_t>(key.problem.shape.k) * 0xc2b2ae3d27d4eb4fu +
        static_cast<std::uint64_t>(key.problem.shape.m) * 0x165667b19e3779f9u +
        static_cast<std::uint64_t>(key.problem.scheme.group) * 0x27d4eb2f165667c5u +
        static_cast<std::uint64_t>(key.problem.scheme.activation) * 0x94d049bb133111ebu +
        static_cast<std::uint64_t>(key.problem.scheme.weight) * 0xbf58476d1ce4e5b9u +
        static_cast<std::uint64_t>(key.problem.epilogue) * 0x9fb21c651e98df25u +
        static_cast<std::uint64_t>(key.problem.grouping) * 0xd6e8feb86659fd93u +
        static_cast<std::uint64_t>(key.problem.shape.a_stride) * 0xa0761d6478bd642fu +
        static_cast<std::uint64_t>(key.problem.shape.c_stride) * 0xe7037ed1a0b428dbu +
        static_cast<std::uint64_t>(key.device) * 0x85ebca77c2b2ae63u +
        static_cast<std::uint64_t>(key.sms) * 0xd1342543de82ef95u +
        static_cast<std::uint64_t>(key.variant) * 0xff51afd7ed558ccdu +
        static_cast<std::uint64_t>(key.problem.batch_invariant) * 2 +
        static_cast<std::uint64_t>(key.problem.shape.exact_m);
    return mixed_bits(sum);
  }
};

// A kernel lives as long as the process. The first one of a key stays until a tuned one is adopted.
using KernelTable = LockFreeTable<TableKey, Kernel, TableKeyHash>;

}  // namespace marlin
