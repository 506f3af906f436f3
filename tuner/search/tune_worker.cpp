// Requests <-> lines of JSON <-> a TuneDevice in another process.
// Entry points: serve, RemoteDevice::try_out, RemoteDevice::race.
#include "tuner/search/tune_worker.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <nlohmann/json.hpp>

#include "tuner/measure/clock.h"
#include "tuner/report/json.h"
#include "tuner/search/tune_bench.h"

extern char** environ;

namespace marlin {
namespace {

using Json = nlohmann::json;

Problem problem_from(const Json& json) {
  return {.shape = {.m = json.at("m"),
                    .n = json.at("n"),
                    .k = json.at("k"),
                    .exact_m = json.at("exact_m")},
          .scheme = parse_scheme(json.at("scheme").get<std::string>()),
          .batch_invariant = json.at("batch_invariant")};
}

Timing timing_from(const Json& json) {
  return {json.at("median_us"), json.at("min_us"), json.at("max_us"), json.at("launches"),
          json.at("replays")};
}

Json answer(TuneDevice& device, const Json& request) {
  const Problem problem = problem_from(request.at("shape"));
  std::vector<Config> configs;
  for (const std::string text : request.at("configs")) configs.push_back(parse_config(text));
  if (request.at("ask") == "trial") {
    const Trial trial = device.try_out(problem, configs.at(0));
    return {{"failure", trial.failure}, {"timing", to_json(trial.timing)}};
  }
  const auto race = device.race(problem, configs, request.at("rounds"));
  if (!race) throw DeviceLost("a config of the race brought the device down");
  Json lanes = Json::array();
  for (const RaceTiming& lane : *race) {
    lanes.push_back({{"timing", to_json(lane.timing)}, {"round_us", lane.round_us}});
  }
  return {{"race", lanes}};
}

// False when the other side is gone.
bool write_line(int fd, const Json& json) {
  const std::string line = json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  for (std::size_t done = 0; done < line.size();) {
    const ssize_t written = write(fd, line.data() + done, line.size() - done);
    if (written < 0 && errno != EINTR) return false;
    if (written > 0) done += static_cast<std::size_t>(written);
  }
  return true;
}

// Appends what can be read; false at the end or after a failure.
bool read_more(int fd, std::string& buffer) {
  char bytes[4096];
  ssize_t count = 0;
  do {
    count = read(fd, bytes, sizeof(bytes));
  } while (count < 0 && errno == EINTR);
  if (count <= 0) return false;
  buffer.append(bytes, static_cast<std::size_t>(count));
  return true;
}

bool take_line(std::string& buffer, std::string& line) {
  const std::size_t end = buffer.find('\n');
  if (end == std::string::npos) return false;
  line = buffer.substr(0, end);
  buffer.erase(0, end + 1);
  return true;
}

std::string end_of(int status) {
  if (WIFSIGNALED(status)) return fmt::format("died of {}", strsignal(WTERMSIG(status)));
  return fmt::format("ended with code {}", WEXITSTATUS(status));
}

}  // namespace

void serve(TuneDevice& device, const WorkerHello& hello, int in, int out) {
  std::signal(SIGINT, SIG_IGN);  // the terminal's, meant for the search, which ends us in its time
  std::signal(SIGPIPE, SIG_IGN);
  if (!write_line(out, {{"gpu", hello.gpu},
                        {"arch", hello.target.arch},
                        {"sms", hello.target.sms},
                        {"driver", hello.driver}})) {
    return;
  }
  std::string buffer, line;
  while (true) {
    while (!take_line(buffer, line)) {
      if (!read_more(in, buffer)) return;
    }
    try {
      if (!write_line(out, answer(device, Json::parse(line)))) return;
    } catch (const DeviceLost& lost) {
      write_line(out, {{"lost", lost.what()}});
      return;
    } catch (const std::exception& error) {
      if (!write_line(out, {{"unable", error.what()}})) return;
    }
  }
}

RemoteDevice::RemoteDevice(std::vector<std::string> command, double patience)
    : command_(std::move(command)), patience_(patience) {
  start();
}

RemoteDevice::~RemoteDevice() { end(); }

// The program's standard input and output become our ends of two pipes; its own ends are open in
// it alone when this returns, so that its death ends them.
void RemoteDevice::spawn() {
  int requests[2] = {-1, -1}, answers[2] = {-1, -1};
  if (pipe2(requests, O_CLOEXEC) != 0) throw DeviceFailure("no pipe to a worker");
  const UniqueFd its_input(requests[0]);
  to_ = UniqueFd(requests[1]);
  if (pipe2(answers, O_CLOEXEC) != 0) throw DeviceFailure("no pipe from a worker");
  const UniqueFd its_output(answers[1]);
  from_ = UniqueFd(answers[0]);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, its_input.get(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, its_output.get(), STDOUT_FILENO);
  std::vector<char*> arguments;
  for (std::string& argument : command_) arguments.push_back(argument.data());
  arguments.push_back(nullptr);
  const int error =
      posix_spawn(&process_, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error == 0) return;
  process_ = -1;
  throw DeviceFailure(fmt::format("{}: {}", command_[0], std::strerror(error)));
}

void RemoteDevice::start() {
  std::signal(SIGPIPE, SIG_IGN);  // a worker that died is found out by its missing answer
  spawn();
  buffer_.clear();
  std::string line;
  if (!read_line(line)) throw DeviceFailure("the worker did not come up: it " + died_);
  const Json hello = Json::parse(line);
  hello_.gpu = hello.at("gpu");
  hello_.target = {hello.at("arch"), hello.at("sms")};
  hello_.driver = hello.at("driver");
}

void RemoteDevice::end() {
  to_ = UniqueFd();
  if (process_ < 0) return;
  kill(process_, SIGKILL);
  waitpid(process_, nullptr, 0);
  process_ = -1;
}

// False when no line comes: `died_` says why, and the worker is gone.
bool RemoteDevice::read_line(std::string& line) {
  const double deadline = now() + patience_;
  while (!take_line(buffer_, line)) {
    pollfd wait{.fd = from_.get(), .events = POLLIN, .revents = 0};
    const double left = deadline - now();
    const int ready = left > 0 ? poll(&wait, 1, static_cast<int>(left * 1000) + 1) : 0;
    if (ready < 0 && errno == EINTR) continue;
    if (ready == 0) {
      died_ = fmt::format("gave no answer within {:g} s", patience_);
      end();
      return false;
    }
    if (ready > 0 && read_more(from_.get(), buffer_)) continue;
    int status = 0;
    waitpid(process_, &status, 0);
    process_ = -1;
    died_ = end_of(status);
    return false;
  }
  return true;
}

// Nothing when the worker died of it; `died_` says how.
std::optional<Json> RemoteDevice::ask(const Json& request) {
  if (process_ < 0) start();
  std::string line;
  write_line(to_.get(), request);  // to a dead worker: then no answer comes either
  if (!read_line(line)) return std::nullopt;
  Json answer = Json::parse(line);
  if (answer.contains("unable")) throw DeviceFailure(answer.at("unable").get<std::string>());
  if (!answer.contains("lost")) return answer;
  died_ = answer.at("lost");
  end();
  return std::nullopt;
}

Trial RemoteDevice::try_out(const Problem& problem, const Config& config) {
  Trial trial;
  if (compiler_ != nullptr) trial.failure = compiler_->wait(problem, config);
  if (!trial.failure.empty()) return trial;
  const auto answer =
      ask({{"ask", "trial"}, {"shape", to_json(problem)}, {"configs", {to_string(config)}}});
  if (!answer) {
    trial.failure = "the worker " + died_;
    return trial;
  }
  trial.timing = timing_from(answer->at("timing"));
  trial.failure = answer->at("failure");
  return trial;
}

std::optional<std::vector<RaceTiming>> RemoteDevice::race(const Problem& problem,
                                                          const std::vector<Config>& configs,
                                                          int rounds) {
  Json texts = Json::array();
  for (const Config& config : configs) texts.push_back(to_string(config));
  const auto answer =
      ask({{"ask", "race"}, {"shape", to_json(problem)}, {"configs", texts}, {"rounds", rounds}});
  if (!answer) return std::nullopt;
  std::vector<RaceTiming> race;
  for (const Json& lane : answer->at("race")) {
    race.push_back(
        {timing_from(lane.at("timing")), lane.at("round_us").get<std::vector<double>>()});
  }
  return race;
}

}  // namespace marlin
