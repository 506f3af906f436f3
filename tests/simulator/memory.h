// The memories a simulated kernel touches, with a record of who touched what and when.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tests/simulator/clocks.h"

namespace marlin::simulator {

// One agent's latest access of a word, by a thread and how many barriers of its warp that has
// passed.
struct Access {
  static constexpr int kMany = -2;  // threads of a warp
  int agent = -1, time = 0, thread = -1, warp_epoch = 0;
};

// One array in device memory. Its addresses lie far from any other array's, so that an access
// outside it is an access to nothing.
struct Buffer {
  std::string name;
  std::int64_t base = 0;
  std::vector<std::uint8_t> bytes;
  std::vector<int> reads, writes;  // for each `grain` bytes
  std::vector<Access> writers;     // the same, where somebody has noted it
  int grain = 16;

  Buffer(std::string buffer_name, std::int64_t number, std::int64_t size, int grain_bytes,
         std::uint8_t fill);
  bool holds(std::int64_t address) const;
  // Bytes [address, address + size), which must lie inside and be aligned to their size. Throws.
  std::uint8_t* at(std::int64_t address, int size);
  const std::uint8_t* read(std::int64_t address, int size);
  std::uint8_t* write(std::int64_t address, int size);
};

// Where a 128-byte swizzle puts a byte of shared memory: by which of eight lines it lies in.
inline std::uint32_t swizzle(std::uint32_t address) { return address ^ (address >> 7 & 7) << 4; }

// The shared memory of one block. Words are poisoned until written. A race, an access outside or a
// misaligned one throws; so does an access to a word that a copy is on its way to, which it is
// until the copying thread has waited for it, and a write to a word that something asynchronous
// still reads.
class SharedMemory {
 public:
  static constexpr std::uint32_t kPoison = 0x7fff7fff;  // NaNs, as FP16 and as FP32

  // `base`: what the kernel sees as the address of byte 0. Each warp becomes an agent.
  SharedMemory(Clocks& clocks, std::uint32_t base, int size, int warps);

  int agent(int thread) const { return first_agent_ + thread / 32; }
  // A barrier of so many warps in a row.
  void meet(int first_warp, int warps);
  void warp_barrier(int warp);

  std::uint32_t load(int thread, std::uint32_t address);
  void store(int thread, std::uint32_t address, std::uint32_t value);
  void start_copy(int thread, std::uint32_t address);  // 16 bytes
  void land_copy(int thread, std::uint32_t address, const std::uint8_t* bytes);

  // Asynchronous copies. A word that one brings, which the agent `sender` has issued, becomes known
  // as `arrival`'s at that time.
  void receive(int sender, int arrival, int time, std::uint32_t address, std::uint32_t value);
  // What a product or a copy that this thread issues is going to read until let_go. Copies see only
  // those stores that a fence of the storing thread's warp has shown to them.
  std::uint32_t hold(int thread, std::uint32_t address, bool by_copy);
  void let_go(int thread, std::uint32_t address);
  // A load that nothing has waited for yet: a copy could overtake it until fence_proxy_async.
  std::uint32_t start_load(int thread, std::uint32_t address);
  void fence_proxy_async(int warp);

  void require_aligned(std::uint32_t address, std::uint32_t size) const;

 private:
  struct Word {
    std::uint32_t value = kPoison;
    bool in_flight = false, shown = true;
    int held = 0;  // by so many that still read it
    Access written;
    std::vector<Access> reads;  // the latest of each agent since `written`
  };
  Word& word(std::uint32_t address);
  Access now(int thread) const;
  bool ordered(const Access& before, const Access& now) const;
  static void note_read(Word& word, const Access& now);
  const Word& readable(const Access& now, std::uint32_t address);
  void check_writable(const Word& word, const Access& now, std::uint32_t address) const;
  void replace(Word& word, const Access& now, std::uint32_t value);
  [[noreturn]] void fail(const std::string& what, std::uint32_t address, int thread) const;

  Clocks& clocks_;
  int first_agent_;
  std::uint32_t base_;
  std::vector<Word> words_;
  std::vector<int> warp_epochs_;
  std::vector<std::vector<std::uint32_t>> unshown_;                // addresses, of each warp
  std::vector<std::vector<std::pair<int, std::uint32_t>>> loads_;  // started by its threads
};

// How often a warp-wide access of `width` bytes a lane goes through the 32 banks: a warp is served
// in groups of 32 * 4 / width lanes, and a group once for each different word of its fullest bank.
// `extra` counts the passes beyond one a group.
struct BankCount {
  std::int64_t accesses = 0;
  std::int64_t extra = 0;
};
void count_banks(BankCount& count, const std::vector<std::uint32_t>& lanes,
                 const std::vector<bool>& active, int width);

}  // namespace marlin::simulator
