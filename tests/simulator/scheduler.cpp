// Fibers and what they wait for -> an order of execution, or the deadlock they are in.
// Entry point: Scheduler.
#include "tests/simulator/scheduler.h"

#include <stdexcept>

namespace marlin::simulator {

Scheduler::~Scheduler() {
  for (const auto& fiber : fibers_) {
    if (fiber->thread.joinable()) fiber->thread.join();
  }
}

void Scheduler::add(std::function<void()> work) {
  fibers_.push_back(std::make_unique<Fiber>());
  fibers_.back()->work = std::move(work);
}

void Scheduler::run() {
  running_ = fibers_.size() - 1;
  for (const auto& fiber : fibers_) {
    fiber->thread = std::thread([this, &fiber] { live(*fiber); });
  }
  hand_over();
  end_.acquire();
  if (failure_ != nullptr) std::rethrow_exception(failure_);
}

void Scheduler::live(Fiber& fiber) {
  fiber.turn.acquire();
  try {
    if (failure_ == nullptr) fiber.work();
  } catch (const Abandoned&) {
  } catch (...) {
    if (failure_ == nullptr) failure_ = std::current_exception();
  }
  fiber.done = true;
  hand_over();
}

void Scheduler::wait_until(const std::function<bool()>& ready,
                           const std::function<std::string()>& waiting_for) {
  if (ready()) return;
  Fiber& fiber = *fibers_[running_];
  fiber.ready = &ready;
  fiber.waiting_for = &waiting_for;
  hand_over();
  fiber.turn.acquire();
  fiber.ready = nullptr;
  if (failure_ != nullptr) throw Abandoned();
}

bool Scheduler::can_go_on(const Fiber& fiber) const {
  return !fiber.done && (failure_ != nullptr || fiber.ready == nullptr || (*fiber.ready)());
}

Scheduler::Fiber* Scheduler::next_one() {
  const std::size_t count = fibers_.size();
  const std::size_t from = seed_ == 0 ? running_ + 1 : random_() % count;
  for (std::size_t i = from; i < from + count; ++i) {
    if (!can_go_on(*fibers_[i % count])) continue;
    running_ = i % count;
    return fibers_[running_].get();
  }
  return nullptr;
}

void Scheduler::hand_over() {
  Fiber* next = next_one();
  if (next == nullptr && failure_ == nullptr) {
    const std::string deadlock = all_waiting();
    if (!deadlock.empty()) {
      failure_ = std::make_exception_ptr(std::runtime_error(deadlock));
      next = next_one();
    }
  }
  (next == nullptr ? end_ : next->turn).release();
}

std::string Scheduler::all_waiting() const {
  std::string what;
  for (const auto& fiber : fibers_) {
    if (fiber->done) continue;
    what += (what.empty() ? "nobody can go on: " : "; ") + (*fiber->waiting_for)();
  }
  return what;
}

}  // namespace marlin::simulator
