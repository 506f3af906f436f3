// Accesses of a simulated kernel -> values, or the rule of the memory model that they break.
// Entry points: Buffer, SharedMemory, count_banks.
#include "tests/simulator/memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <stdexcept>

namespace marlin::simulator {

Buffer::Buffer(std::string buffer_name, std::int64_t number, std::int64_t size, int grain_bytes,
               std::uint8_t fill)
    : name(std::move(buffer_name)),
      base(number << 44),
      bytes(static_cast<std::size_t>(size), fill),
      reads(static_cast<std::size_t>((size + grain_bytes - 1) / grain_bytes)),
      writes(reads.size()),
      grain(grain_bytes) {}

bool Buffer::holds(std::int64_t address) const {
  constexpr std::int64_t kReach = std::int64_t{1} << 43;
  return address >= base - kReach && address < base + kReach;
}

std::uint8_t* Buffer::at(std::int64_t address, int size) {
  const std::int64_t offset = address - base;
  if (offset < 0 || offset + size > static_cast<std::int64_t>(bytes.size())) {
    throw std::runtime_error(
        fmt::format("{}: bytes {}..{} of {}", name, offset, offset + size, bytes.size()));
  }
  if (offset % size != 0) {
    throw std::runtime_error(fmt::format("{}: byte {} is not aligned to {}", name, offset, size));
  }
  return bytes.data() + offset;
}

const std::uint8_t* Buffer::read(std::int64_t address, int size) {
  const std::uint8_t* found = at(address, size);
  ++reads[static_cast<std::size_t>((address - base) / grain)];
  return found;
}

std::uint8_t* Buffer::write(std::int64_t address, int size) {
  std::uint8_t* found = at(address, size);
  for (std::int64_t i = (address - base) / grain; i * grain < address - base + size; ++i) {
    ++writes[static_cast<std::size_t>(i)];
  }
  return found;
}

void Touch::add(const Now& now) {
  const int warp = now.thread / 32;
  if (epoch_ != now.block_epoch) {
    *this = {};
    epoch_ = now.block_epoch;
    group_ = now.group;
  } else if (group_ != now.group) {
    group_ = kMany;
    return;
  }
  if (warp_ < 0 || group_epoch_ != now.group_epoch) {
    group_epoch_ = now.group_epoch;
    warp_ = warp;
    warp_epoch_ = now.warp_epoch;
    thread_ = now.thread;
  } else if (warp_ != warp) {
    warp_ = kMany;
  } else if (warp_epoch_ != now.warp_epoch) {
    warp_epoch_ = now.warp_epoch;
    thread_ = now.thread;
  } else if (thread_ != now.thread) {
    thread_ = kMany;
  }
}

bool Touch::races(const Now& now) const {
  if (epoch_ != now.block_epoch) return false;
  if (group_ != now.group) return true;
  if (group_epoch_ != now.group_epoch) return false;
  return warp_ != now.thread / 32 || (warp_epoch_ == now.warp_epoch && thread_ != now.thread);
}

SharedMemory::SharedMemory(std::uint32_t base, int size, int warps, int group_warps)
    : base_(base),
      words_(static_cast<std::size_t>(size / 4)),
      group_warps_(group_warps),
      group_epochs_(warps / group_warps, 0),
      warp_epochs_(warps, 0) {}

void SharedMemory::block_barrier() { ++block_epoch_; }
void SharedMemory::group_barrier(int group) { ++group_epochs_[group]; }
void SharedMemory::warp_barrier(int warp) { ++warp_epochs_[warp]; }

Touch::Now SharedMemory::now(int thread) const {
  const int warp = thread / 32, group = warp / group_warps_;
  return {thread, group, block_epoch_, group_epochs_[group], warp_epochs_[warp]};
}

void SharedMemory::fail(const std::string& what, std::uint32_t address, int thread) const {
  throw std::runtime_error(fmt::format("shared memory, byte {}, thread {}: {}",
                                       static_cast<std::int64_t>(address) - base_, thread, what));
}

SharedMemory::Word& SharedMemory::word(std::uint32_t address) {
  const std::size_t at = (address - base_) / 4;
  if (address < base_ || at >= words_.size()) fail("outside", address, -1);
  return words_[at];
}

void SharedMemory::require_aligned(std::uint32_t address, std::uint32_t size) const {
  if (address % size != 0) fail(fmt::format("not aligned to {}", size), address, -1);
}

std::uint32_t SharedMemory::load(int thread, std::uint32_t address) {
  Word& found = word(address);
  if (found.written.races(now(thread))) {
    fail("read without a barrier since it was written", address, thread);
  }
  if (found.in_flight) fail("read while a copy to it is on its way", address, thread);
  found.read.add(now(thread));
  return found.value;
}

void SharedMemory::check_writable(const Word& word, int thread, std::uint32_t address) const {
  if (word.in_flight) fail("written while a copy to it is on its way", address, thread);
  if (word.read.races(now(thread))) {
    fail("written without a barrier since it was read", address, thread);
  }
  if (word.written.races(now(thread))) {
    fail("written by two threads without a barrier between", address, thread);
  }
}

void SharedMemory::store(int thread, std::uint32_t address, std::uint32_t value) {
  Word& found = word(address);
  check_writable(found, thread, address);
  found.value = value;
  found.written.add(now(thread));
}

void SharedMemory::start_copy(int thread, std::uint32_t address) {
  for (int i = 0; i < 16; i += 4) {
    Word& found = word(address + i);
    check_writable(found, thread, address + i);
    found.in_flight = true;
  }
}

void SharedMemory::land_copy(int thread, std::uint32_t address, const std::uint8_t* bytes) {
  for (int i = 0; i < 16; i += 4) {
    Word& found = word(address + i);
    std::memcpy(&found.value, bytes + i, 4);
    found.in_flight = false;
    found.written.add(now(thread));
  }
}

void SharedMemory::receive(std::uint32_t address, std::uint32_t value) {
  Word& found = word(address);
  if (found.in_flight || !found.written.never() || !found.read.never()) {
    fail("sent by another block to a word in use", address, -1);
  }
  found.value = value;
  found.in_flight = true;
  received_.push_back(address);
}

void SharedMemory::land_received() {
  for (const std::uint32_t address : received_) word(address).in_flight = false;
  received_.clear();
}

void count_banks(BankCount& count, const std::vector<std::uint32_t>& lanes,
                 const std::vector<bool>& active, int width) {
  const int group = 128 / width;
  for (int first = 0; first < 32; first += group) {
    std::vector<std::uint32_t> words;
    for (int lane = first; lane < first + group; ++lane) {
      for (int i = 0; active[lane] && i < width; i += 4) words.push_back(lanes[lane] / 4 + i / 4);
    }
    std::sort(words.begin(), words.end());
    words.erase(std::unique(words.begin(), words.end()), words.end());
    std::array<int, 32> banks{};
    int passes = 0;
    for (const std::uint32_t word : words) passes = std::max(passes, ++banks[word % 32]);
    if (passes == 0) continue;
    ++count.accesses;
    count.extra += passes - 1;
  }
}

}  // namespace marlin::simulator
