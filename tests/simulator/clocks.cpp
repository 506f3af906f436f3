// Arrivals and waits -> who knows of whose accesses. Entry point: Clocks.
#include "tests/simulator/clocks.h"

#include <algorithm>

namespace marlin::simulator {

int Clocks::add_agents(int count) {
  const int first = static_cast<int>(known_.size());
  for (int agent = first; agent < first + count; ++agent) {
    known_.emplace_back(agent + 1, 0).back() = 1;
  }
  return first;
}

bool Clocks::knows(int agent, int other, int time) const {
  const Clock& clock = known_[agent];
  return agent == other || (other < static_cast<int>(clock.size()) && clock[other] >= time);
}

void Clocks::publish(int agent, Clock& clock) {
  merge(clock, known_[agent]);
  ++known_[agent][agent];
}

void Clocks::meet(int first, int count) {
  Clock all;
  for (int agent = first; agent < first + count; ++agent) publish(agent, all);
  for (int agent = first; agent < first + count; ++agent) learn(agent, all);
}

void Clocks::learn_from(int agent, int other) {
  const Clock all = known_[other];
  learn(agent, all);
}

void Clocks::merge(Clock& clock, const Clock& other) {
  if (clock.size() < other.size()) clock.resize(other.size(), 0);
  for (std::size_t i = 0; i < other.size(); ++i) clock[i] = std::max(clock[i], other[i]);
}

}  // namespace marlin::simulator
