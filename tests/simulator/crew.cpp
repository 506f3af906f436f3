// Strands and what they wait for -> an order of execution, or the deadlock they are in.
// Entry point: Crew.
#include "tests/simulator/crew.h"

#include <stdexcept>

namespace marlin::simulator {

Crew::~Crew() {
  for (const auto& strand : strands_) {
    if (strand->thread.joinable()) strand->thread.join();
  }
}

void Crew::add(std::function<void()> work) {
  strands_.push_back(std::make_unique<Strand>());
  strands_.back()->work = std::move(work);
}

void Crew::run() {
  running_ = strands_.size() - 1;
  for (const auto& strand : strands_) {
    strand->thread = std::thread([this, &strand] { live(*strand); });
  }
  hand_over();
  end_.acquire();
  if (failure_ != nullptr) std::rethrow_exception(failure_);
}

void Crew::live(Strand& strand) {
  strand.turn.acquire();
  try {
    if (failure_ == nullptr) strand.work();
  } catch (const Abandoned&) {
  } catch (...) {
    if (failure_ == nullptr) failure_ = std::current_exception();
  }
  strand.done = true;
  hand_over();
}

void Crew::wait_until(const std::function<bool()>& ready,
                      const std::function<std::string()>& waiting_for) {
  if (ready()) return;
  Strand& strand = *strands_[running_];
  strand.ready = &ready;
  strand.waiting_for = &waiting_for;
  hand_over();
  strand.turn.acquire();
  strand.ready = nullptr;
  if (failure_ != nullptr) throw Abandoned();
}

bool Crew::can_go_on(const Strand& strand) const {
  return !strand.done && (failure_ != nullptr || strand.ready == nullptr || (*strand.ready)());
}

Crew::Strand* Crew::next_one() {
  const std::size_t count = strands_.size();
  const std::size_t from = seed_ == 0 ? running_ + 1 : random_() % count;
  for (std::size_t i = from; i < from + count; ++i) {
    if (!can_go_on(*strands_[i % count])) continue;
    running_ = i % count;
    return strands_[running_].get();
  }
  return nullptr;
}

void Crew::hand_over() {
  Strand* next = next_one();
  if (next == nullptr && failure_ == nullptr) {
    const std::string deadlock = all_waiting();
    if (!deadlock.empty()) {
      failure_ = std::make_exception_ptr(std::runtime_error(deadlock));
      next = next_one();
    }
  }
  (next == nullptr ? end_ : next->turn).release();
}

std::string Crew::all_waiting() const {
  std::string what;
  for (const auto& strand : strands_) {
    if (strand->done) continue;
    what += (what.empty() ? "nobody can go on: " : "; ") + (*strand->waiting_for)();
  }
  return what;
}

}  // namespace marlin::simulator
