// Which accesses happen before which others: vector clocks of all who touch memory.
#pragma once

#include <vector>

namespace marlin::simulator {

// An agent is a warp, all copies that signal one barrier, or the kernel before. What it does has a
// time of its own; another agent knows of it once it has learnt from something published since.
class Clocks {
 public:
  using Clock = std::vector<int>;  // of each agent, the last time that is known

  int add_agents(int count);  // the first one's number
  int time(int agent) const { return known_[agent][agent]; }
  bool knows(int agent, int other, int time) const;
  // What the agent has done and knows; what it does from here on is later.
  void publish(int agent, Clock& clock);
  void learn(int agent, const Clock& clock) { merge(known_[agent], clock); }
  // All of these agents know all that any of them does.
  void meet(int first, int count);

  // The agent learns what another one has done by now.
  void learn_from(int agent, int other);

  static void merge(Clock& clock, const Clock& other);

 private:
  std::vector<Clock> known_;
};

}  // namespace marlin::simulator
