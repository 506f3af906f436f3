// SingleFlight: of the threads that want the same thing at once, one makes it and all get it.
#pragma once

#include <future>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

#include "codegen/base/error.h"

namespace marlin {

template <typename Key, typename Value, typename Hash>
class SingleFlight {
 public:
  // What make() returns, run by this thread or by the one that asked first and has not finished.
  // An Error it throws reaches every thread that waited for it; after any other exception each of
  // those tries for itself. The next call runs make() again.
  template <typename Make>
  Value run(const Key& key, const Make& make) {
    for (;;) {
      std::promise<Outcome> promise;
      const std::optional<Flight> other = join_or_start(key, promise);
      if (!other) return lead(key, promise, make);
      const Outcome& outcome = other->get();
      if (outcome.value) return *outcome.value;
      if (outcome.error) throw renewed(*outcome.error);
    }
  }

 private:
  struct Outcome {
    std::optional<Value> value;
    std::optional<Error> error;
  };
  using Flight = std::shared_future<Outcome>;

  // Exceptions and their texts are counted references; threads get one each instead of sharing.
  static Error renewed(const Error& error) {
    return Error(error.code(), std::string(error.what()))
        .with_log(error.log())
        .with_options(error.options())
        .with_source_path(error.source_path());
  }

  // The flight that is under way, or nothing: then this one is.
  std::optional<Flight> join_or_start(const Key& key, std::promise<Outcome>& promise) {
    const std::lock_guard lock(mutex_);
    if (const auto found = flights_.find(key); found != flights_.end()) return found->second;
    flights_.emplace(key, promise.get_future().share());
    return std::nullopt;
  }

  template <typename Make>
  Value lead(const Key& key, std::promise<Outcome>& promise, const Make& make) {
    try {
      Value value = make();
      land(key, promise, {value, std::nullopt});
      return value;
    } catch (const Error& error) {
      land(key, promise, {std::nullopt, renewed(error)});
      throw;
    } catch (...) {
      land(key, promise, {});
      throw;
    }
  }

  void land(const Key& key, std::promise<Outcome>& promise, Outcome outcome) {
    {
      const std::lock_guard lock(mutex_);
      flights_.erase(key);
    }
    promise.set_value(std::move(outcome));
  }

  std::mutex mutex_;
  std::unordered_map<Key, Flight, Hash> flights_;
};

}  // namespace marlin
