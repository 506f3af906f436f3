// The memories a simulated kernel touches, with a record of who touched what and when.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace marlin::simulator {

// One array in device memory. Its addresses lie far from any other array's, so that an access
// outside it is an access to nothing.
struct Buffer {
  std::string name;
  std::int64_t base = 0;
  std::vector<std::uint8_t> bytes;
  std::vector<int> reads, writes;  // for each `grain` bytes
  int grain = 16;

  Buffer(std::string buffer_name, std::int64_t number, std::int64_t size, int grain_bytes,
         std::uint8_t fill);
  bool holds(std::int64_t address) const;
  // Bytes [address, address + size), which must lie inside and be aligned to their size. Throws.
  std::uint8_t* at(std::int64_t address, int size);
  const std::uint8_t* read(std::int64_t address, int size);
  std::uint8_t* write(std::int64_t address, int size);
};

// Who touched a word of shared memory since the block's last barrier.
class Touch {
 public:
  // A thread and how many barriers of its block, its group of warps and its warp it has passed.
  struct Now {
    int thread, group, block_epoch, group_epoch, warp_epoch;
  };
  void add(const Now& now);
  // Whether an access now is unordered with a recorded one.
  bool races(const Now& now) const;
  bool never() const { return epoch_ < 0; }

 private:
  static constexpr int kMany = -2;
  int epoch_ = -1, group_ = -1, group_epoch_ = -1, warp_ = -1, warp_epoch_ = -1, thread_ = -1;
};

// The shared memory of one block. Words are poisoned until written. A race, an access outside or a
// misaligned one throws; so does an access to a word that a copy is on its way to, which it is
// until the copying thread has waited for it.
class SharedMemory {
 public:
  static constexpr std::uint32_t kPoison = 0x7fff7fff;  // NaNs, as FP16 and as FP32

  // `base`: what the kernel sees as the address of byte 0.
  // Warps of a group, `group_warps` in a row, meet at barriers of their own.
  SharedMemory(std::uint32_t base, int size, int warps, int group_warps = 1);

  void block_barrier();
  void group_barrier(int group);
  void warp_barrier(int warp);

  std::uint32_t load(int thread, std::uint32_t address);
  void store(int thread, std::uint32_t address, std::uint32_t value);
  void start_copy(int thread, std::uint32_t address);  // 16 bytes
  void land_copy(int thread, std::uint32_t address, const std::uint8_t* bytes);
  // A word from another block of the cluster, on its way until whoever reads it has waited for all;
  // nobody may have touched the word before.
  void receive(std::uint32_t address, std::uint32_t value);
  void land_received();

  void require_aligned(std::uint32_t address, std::uint32_t size) const;

 private:
  struct Word {
    std::uint32_t value = kPoison;
    bool in_flight = false;
    Touch written, read;
  };
  Word& word(std::uint32_t address);
  Touch::Now now(int thread) const;
  void check_writable(const Word& word, int thread, std::uint32_t address) const;
  [[noreturn]] void fail(const std::string& what, std::uint32_t address, int thread) const;

  std::uint32_t base_;
  std::vector<Word> words_;
  std::vector<std::uint32_t> received_;  // addresses on their way from other blocks
  int group_warps_;
  int block_epoch_ = 0;
  std::vector<int> group_epochs_, warp_epochs_;
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
