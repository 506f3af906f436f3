// KernelTable: kernels by device and shape, read by any number of threads without a lock.
//
// Open addressing with linear probing in slots that are filled once and never emptied: a kernel
// lives as long as the process. A writer fills a slot's key, then publishes its kernel with a
// release store, which readers load with acquire, so a reader sees a whole slot or an empty one.
// A table that is half full is copied into one of twice the size; the old one is kept for readers
// still in it, which at most doubles the memory.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "codegen/shape.h"

namespace marlin {

class Kernel;

struct TableKey {
  int device = 0;
  int variant = 0;  // 0: our choice of config for the device itself
  Shape shape;      // m is a rung unless it is exact

  friend bool operator==(const TableKey&, const TableKey&) = default;
};

struct TableKeyHash {
  std::size_t operator()(const TableKey& key) const noexcept {
    // Each field times an odd constant of its own; the last steps (those of splitmix64's output
    // function, S. Vigna, public domain) carry every bit into the low ones that pick the slot.
    std::uint64_t hash = static_cast<std::uint64_t>(key.shape.n) * 0x9e3779b97f4a7c15u +
                         static_cast<std::uint64_t>(key.shape.k) * 0xc2b2ae3d27d4eb4fu +
                         static_cast<std::uint64_t>(key.shape.m) * 0x165667b19e3779f9u +
                         static_cast<std::uint64_t>(key.shape.group) * 0x27d4eb2f165667c5u +
                         static_cast<std::uint64_t>(key.device) * 0x85ebca77c2b2ae63u +
                         static_cast<std::uint64_t>(key.variant) * 0xff51afd7ed558ccdu +
                         static_cast<std::uint64_t>(key.shape.exact_m);
    hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9u;
    hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebu;
    return static_cast<std::size_t>(hash ^ (hash >> 31));
  }
};

class KernelTable {
 public:
  KernelTable() { current_.store(add_slots(64), std::memory_order_release); }

  // The kernel, or null. Wait-free.
  const Kernel* find(const TableKey& key) const noexcept {
    const Slots& slots = *current_.load(std::memory_order_acquire);
    for (std::size_t at = TableKeyHash()(key) & slots.mask;; at = (at + 1) & slots.mask) {
      const Slot& slot = slots.slots[at];
      const Kernel* kernel = slot.kernel.load(std::memory_order_acquire);
      if (kernel == nullptr || slot.key == key) return kernel;
    }
  }

  // The kernel now under this key: the given one, or the one that was there already.
  const Kernel* insert(const TableKey& key, const Kernel* kernel) {
    const std::lock_guard lock(mutex_);
    if (const Kernel* present = find(key)) return present;
    Slots* slots = current_.load(std::memory_order_relaxed);
    if (2 * (size_ + 1) > slots->mask + 1) slots = grow(*slots);
    put(*slots, key, kernel);
    ++size_;
    return kernel;
  }

 private:
  struct Slot {
    TableKey key;
    std::atomic<const Kernel*> kernel{nullptr};
  };
  struct Slots {
    explicit Slots(std::size_t count) : mask(count - 1), slots(count) {}
    std::size_t mask;  // the count is a power of two
    std::vector<Slot> slots;
  };

  Slots* add_slots(std::size_t count) {
    return all_.emplace_back(std::make_unique<Slots>(count)).get();
  }

  static void put(Slots& slots, const TableKey& key, const Kernel* kernel) {
    std::size_t at = TableKeyHash()(key) & slots.mask;
    while (slots.slots[at].kernel.load(std::memory_order_relaxed) != nullptr) {
      at = (at + 1) & slots.mask;
    }
    slots.slots[at].key = key;
    slots.slots[at].kernel.store(kernel, std::memory_order_release);
  }

  Slots* grow(const Slots& from) {
    Slots* slots = add_slots(2 * (from.mask + 1));
    for (const Slot& slot : from.slots) {
      if (const Kernel* kernel = slot.kernel.load(std::memory_order_relaxed)) {
        put(*slots, slot.key, kernel);
      }
    }
    current_.store(slots, std::memory_order_release);
    return slots;
  }

  std::mutex mutex_;  // of writers
  std::vector<std::unique_ptr<Slots>> all_;
  std::size_t size_ = 0;
  std::atomic<Slots*> current_;
};

}  // namespace marlin
