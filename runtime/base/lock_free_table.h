// LockFreeTable: a hash table of pointers, read by any number of threads without a lock.
//
// Open addressing with linear probing in slots that get a key once and are never emptied. A writer
// fills a slot's key, then publishes its value with a release store, which readers load with
// acquire, so a reader sees a whole slot or an empty one. A table that is half full is copied into
// one of twice the size; the old one is kept for readers still in it, which at most doubles the
// memory. A reader in an old table may find a value that has been replaced since, so values must
// outlive the table.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace marlin {

// The steps of splitmix64's output function (S. Vigna, public domain), which carry every bit of a
// key into the low ones that pick the slot.
inline std::size_t mixed_bits(std::uint64_t bits) noexcept {
  bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9u;
  bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebu;
  return static_cast<std::size_t>(bits ^ (bits >> 31));
}

template <typename Key, typename Value, typename Hash>
class LockFreeTable {
 public:
  LockFreeTable() { current_.store(add_slots(64), std::memory_order_release); }

  // The value, or null. Wait-free.
  const Value* find(const Key& key) const noexcept {
    const Slots& slots = *current_.load(std::memory_order_acquire);
    for (std::size_t at = Hash()(key) & slots.mask;; at = (at + 1) & slots.mask) {
      const Slot& slot = slots.slots[at];
      const Value* value = slot.value.load(std::memory_order_acquire);
      if (value == nullptr || slot.key == key) return value;
    }
  }

  // The value now under this key: the given one, or the one that was there already.
  const Value* insert(const Key& key, const Value* value) {
    const std::lock_guard lock(mutex_);
    if (const Value* present = find(key)) return present;
    add(key, value);
    return value;
  }

  // The value takes the place of the one under this key. Readers may still be at the old one.
  void assign(const Key& key, const Value* value) {
    const std::lock_guard lock(mutex_);
    if (find(key) == nullptr) {
      add(key, value);
    } else {
      slot_of(*current_.load(std::memory_order_relaxed), key)
          .value.store(value, std::memory_order_release);
    }
  }

 private:
  struct Slot {
    Key key;
    std::atomic<const Value*> value{nullptr};
  };
  struct Slots {
    explicit Slots(std::size_t count) : mask(count - 1), slots(count) {}
    std::size_t mask;  // the count is a power of two
    std::vector<Slot> slots;
  };

  Slots* add_slots(std::size_t count) {
    return all_.emplace_back(std::make_unique<Slots>(count)).get();
  }

  // Where the key stands, or the empty slot where it belongs.
  static Slot& slot_of(Slots& slots, const Key& key) {
    std::size_t at = Hash()(key) & slots.mask;
    while (slots.slots[at].value.load(std::memory_order_relaxed) != nullptr &&
           !(slots.slots[at].key == key)) {
      at = (at + 1) & slots.mask;
    }
    return slots.slots[at];
  }

  static void fill(Slot& slot, const Key& key, const Value* value) {
    slot.key = key;
    slot.value.store(value, std::memory_order_release);
  }

  void add(const Key& key, const Value* value) {
    Slots* slots = current_.load(std::memory_order_relaxed);
    if (2 * (size_ + 1) > slots->mask + 1) slots = grow(*slots);
    fill(slot_of(*slots, key), key, value);
    ++size_;
  }

  Slots* grow(const Slots& from) {
    Slots* slots = add_slots(2 * (from.mask + 1));
    for (const Slot& slot : from.slots) {
      if (const Value* value = slot.value.load(std::memory_order_relaxed)) {
        fill(slot_of(*slots, slot.key), slot.key, value);
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
