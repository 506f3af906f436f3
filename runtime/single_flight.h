// SingleFlight: of the threads that want the same thing at once, one makes it and all get it.
#pragma once

#include <future>
#include <mutex>
#include <unordered_map>
#include <utility>

namespace marlin {

template <typename Key, typename Value, typename Hash>
class SingleFlight {
 public:
  // What make() returns, run by this thread or by the one that asked first and has not finished.
  // What it throws reaches every thread that waited for it; the next call runs make() again.
  template <typename Make>
  Value run(const Key& key, Make&& make) {
    std::promise<Value> promise;
    {
      std::unique_lock lock(mutex_);
      if (const auto found = flights_.find(key); found != flights_.end()) {
        std::shared_future<Value> result = found->second;
        lock.unlock();
        return result.get();
      }
      flights_.emplace(key, promise.get_future().share());
    }
    try {
      Value value = std::forward<Make>(make)();
      land(key);
      promise.set_value(value);
      return value;
    } catch (...) {
      land(key);
      promise.set_exception(std::current_exception());
      throw;
    }
  }

 private:
  void land(const Key& key) {
    const std::lock_guard lock(mutex_);
    flights_.erase(key);
  }

  std::mutex mutex_;
  std::unordered_map<Key, std::shared_future<Value>, Hash> flights_;
};

}  // namespace marlin
