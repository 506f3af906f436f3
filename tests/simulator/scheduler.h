// Fibers of execution that wait for each other, run one at a time.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <random>
#include <semaphore>
#include <string>
#include <thread>
#include <vector>

namespace marlin::simulator {

// A fiber runs until it waits for something that is not so yet; then another one's turn comes. Not
// thread-safe but for what the fibers themselves call.
class Scheduler {
 public:
  // Seed 0: fibers take turns in the order in which they were added; else in one drawn by it.
  explicit Scheduler(unsigned seed) : seed_(seed), random_(seed) {}
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  void add(std::function<void()> work);
  // Runs all to their ends. Throws what the first fiber that fails throws, or std::runtime_error
  // with what all wait for when none can go on.
  void run();

  // By a running fiber. `waiting_for` tells a reader what is missing.
  void wait_until(const std::function<bool()>& ready,
                  const std::function<std::string()>& waiting_for);

 private:
  struct Abandoned {};  // unwinds a fiber after another one's failure
  struct Fiber {
    std::function<void()> work;
    std::thread thread;
    std::binary_semaphore turn{0};
    const std::function<bool()>* ready = nullptr;  // null: it can go on
    const std::function<std::string()>* waiting_for = nullptr;
    bool done = false;
  };

  void live(Fiber& fiber);
  bool can_go_on(const Fiber& fiber) const;
  Fiber* next_one();
  void hand_over();  // to the next fiber or, when there is none, to run()
  std::string all_waiting() const;

  unsigned seed_;
  std::mt19937 random_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::size_t running_ = 0;
  std::exception_ptr failure_;
  std::binary_semaphore end_{0};
};

}  // namespace marlin::simulator
