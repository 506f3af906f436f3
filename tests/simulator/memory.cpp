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
      writers(reads.size()),
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

SharedMemory::SharedMemory(Clocks& clocks, std::uint32_t base, int size, int warps)
    : clocks_(clocks),
      first_agent_(clocks.add_agents(warps)),
      base_(base),
      words_(static_cast<std::size_t>(size / 4)),
      warp_epochs_(warps, 0),
      unshown_(warps),
      loads_(warps) {}

void SharedMemory::meet(int first_warp, int warps) {
  clocks_.meet(first_agent_ + first_warp, warps);
  for (int warp = first_warp; warp < first_warp + warps; ++warp) warp_barrier(warp);
}

void SharedMemory::warp_barrier(int warp) { ++warp_epochs_[warp]; }

Access SharedMemory::now(int thread) const {
  return {agent(thread), clocks_.time(agent(thread)), thread, warp_epochs_[thread / 32]};
}

// Threads of a warp are ordered by its barriers, agents by what they know of each other.
bool SharedMemory::ordered(const Access& before, const Access& now) const {
  if (before.agent < 0) return true;
  if (before.agent != now.agent) return clocks_.knows(now.agent, before.agent, before.time);
  return before.warp_epoch != now.warp_epoch || before.thread == now.thread;
}

void SharedMemory::note_read(Word& word, const Access& now) {
  for (Access& read : word.reads) {
    if (read.agent != now.agent) continue;
    const bool together = read.warp_epoch == now.warp_epoch && read.thread != now.thread;
    read = now;
    if (together) read.thread = Access::kMany;
    return;
  }
  word.reads.push_back(now);
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

const SharedMemory::Word& SharedMemory::readable(const Access& now, std::uint32_t address) {
  const Word& found = word(address);
  if (!ordered(found.written, now)) {
    fail("read without a barrier since it was written", address, now.thread);
  }
  if (found.in_flight) fail("read while a copy to it is on its way", address, now.thread);
  return found;
}

std::uint32_t SharedMemory::load(int thread, std::uint32_t address) {
  readable(now(thread), address);
  note_read(word(address), now(thread));
  return word(address).value;
}

void SharedMemory::check_writable(const Word& word, const Access& now,
                                  std::uint32_t address) const {
  if (word.in_flight) fail("written while a copy to it is on its way", address, now.thread);
  if (word.held > 0) fail("written while something asynchronous reads it", address, now.thread);
  for (const Access& read : word.reads) {
    if (!ordered(read, now)) {
      fail("written without a barrier since it was read", address, now.thread);
    }
  }
  if (!ordered(word.written, now)) {
    fail("written by two threads without a barrier between", address, now.thread);
  }
}

void SharedMemory::replace(Word& word, const Access& now, std::uint32_t value) {
  word.value = value;
  word.written = now;
  word.reads.clear();
}

void SharedMemory::store(int thread, std::uint32_t address, std::uint32_t value) {
  Word& found = word(address);
  check_writable(found, now(thread), address);
  replace(found, now(thread), value);
  found.shown = false;
  unshown_[thread / 32].push_back(address);
}

void SharedMemory::start_copy(int thread, std::uint32_t address) {
  for (int i = 0; i < 16; i += 4) {
    Word& found = word(address + i);
    check_writable(found, now(thread), address + i);
    found.in_flight = true;
  }
}

void SharedMemory::land_copy(int thread, std::uint32_t address, const std::uint8_t* bytes) {
  for (int i = 0; i < 16; i += 4) {
    Word& found = word(address + i);
    std::uint32_t value = 0;
    std::memcpy(&value, bytes + i, 4);
    found.in_flight = false;
    replace(found, now(thread), value);
  }
}

void SharedMemory::receive(int sender, int arrival, int time, std::uint32_t address,
                           std::uint32_t value) {
  Word& found = word(address);
  check_writable(found, {sender, clocks_.time(sender), -1, -1}, address);
  replace(found, {arrival, time, -1, -1}, value);
  found.shown = true;
}

std::uint32_t SharedMemory::hold(int thread, std::uint32_t address, bool by_copy) {
  const Word& found = readable(now(thread), address);
  if (by_copy && !found.shown) fail("copied without a fence since it was stored", address, thread);
  ++word(address).held;
  return found.value;
}

void SharedMemory::let_go(int thread, std::uint32_t address) {
  --word(address).held;
  note_read(word(address), now(thread));
}

std::uint32_t SharedMemory::start_load(int thread, std::uint32_t address) {
  loads_[thread / 32].emplace_back(thread, address);
  return hold(thread, address, false);
}

void SharedMemory::fence_proxy_async(int warp) {
  for (const std::uint32_t address : unshown_[warp]) word(address).shown = true;
  unshown_[warp].clear();
  for (const auto& [thread, address] : loads_[warp]) let_go(thread, address);
  loads_[warp].clear();
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
