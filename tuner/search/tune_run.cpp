// Shapes and devices -> a tuned cell for each shape. Entry points: cells_of, tune_all.
#include "tuner/search/tune_run.h"

#include <algorithm>
#include <exception>
#include <mutex>
#include <thread>

#include "tuner/measure/clock.h"

namespace marlin {
namespace {

// The cells that no device has taken yet, and the first error.
class Work {
 public:
  Work(std::vector<TuneCell>& cells, const TuneLimits& limits)
      : cells_(cells), limits_(limits), begin_(now()) {}

  bool ended() const {
    return limits_.stop() ||
           (limits_.budget_seconds > 0 && now() - begin_ >= limits_.budget_seconds);
  }

  TuneCell* take() {
    const std::lock_guard lock(mutex_);
    if (error_ || next_ == cells_.size() || ended()) return nullptr;
    return &cells_[next_++];
  }

  void finish(const TuneCell& cell, const std::function<void(const TuneCell&)>& done) {
    const std::lock_guard lock(mutex_);
    done(cell);
  }

  void fail(std::exception_ptr error) {
    const std::lock_guard lock(mutex_);
    if (!error_) error_ = std::move(error);
  }

  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::vector<TuneCell>& cells_;
  const TuneLimits& limits_;
  double begin_;
  std::mutex mutex_;
  std::size_t next_ = 0;
  std::exception_ptr error_;
};

}  // namespace

std::vector<TuneCell> cells_of(const std::vector<NamedProblem>& asked) {
  std::vector<TuneCell> cells;
  for (NamedProblem named : asked) {
    named.problem = kernel_problem(named.problem);
    const bool known = std::any_of(cells.begin(), cells.end(), [&](const TuneCell& cell) {
      return cell.named.problem == named.problem;
    });
    if (!known) cells.push_back({.named = named, .result = {}, .seconds = 0});
  }
  std::stable_sort(cells.begin(), cells.end(), [](const TuneCell& x, const TuneCell& y) {
    return x.named.problem.shape.m < y.named.problem.shape.m;
  });
  return cells;
}

std::vector<TuneCell> shard_of(const std::vector<TuneCell>& cells, int i, int n) {
  std::vector<TuneCell> part;
  for (auto at = static_cast<std::size_t>(i - 1); at < cells.size();
       at += static_cast<std::size_t>(n)) {
    part.push_back(cells[at]);
  }
  return part;
}

void tune_all(std::vector<TuneCell>& cells, const std::vector<TuneDevice*>& devices,
              TuningJournal& journal, const SearchRules& rules, const TuneLimits& limits,
              const std::function<void(const TuneCell&)>& done) {
  Work work(cells, limits);
  const auto tune_on = [&](TuneDevice& device) {
    try {
      while (TuneCell* cell = work.take()) {
        const double begin = now();
        cell->result =
            tune_cell(cell->named.problem, device, journal, rules, [&] { return work.ended(); });
        cell->seconds = now() - begin;
        work.finish(*cell, done);
      }
    } catch (...) {
      work.fail(std::current_exception());
    }
  };
  {
    std::vector<std::jthread> threads;
    threads.reserve(devices.size());
    for (TuneDevice* device : devices) threads.emplace_back([&, device] { tune_on(*device); });
  }
  work.rethrow();
}

}  // namespace marlin
