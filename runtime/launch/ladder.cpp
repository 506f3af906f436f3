// A row count -> the kernel of its rung -> a launch with the stream's workspace.
// Entry points: Ladder::launch, Ladder::warm_up, Ladder::exchange.
#include "runtime/launch/ladder.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "codegen/base/error.h"
#include "runtime/driver/device.h"
#include "runtime/driver/driver.h"
#include "runtime/launch/first_use.h"
#include "runtime/launch/kernel.h"

namespace marlin {
namespace {

// What no kernel goes beyond: the partial sums of a tile of 192 x 256 for each SM, and counters.
constexpr std::size_t kWorkspaceOfAnSm = std::size_t{196} << 10;

CUcontext current_context() {
  CUcontext context = nullptr;
  check(driver().cuCtxGetCurrent(&context), "cuCtxGetCurrent");
  return context;
}

void require_rows(const char* name, std::int64_t m) {
  if (m >= 0 && m <= kMaxM) return;
  throw Error(ErrorCode::invalid_argument, fmt::format("{} = {} is not in 0..{}", name, m, kMaxM));
}

// Makes a context current on this thread for its lifetime.
class CurrentContext {
 public:
  explicit CurrentContext(CUcontext context) : previous_(current_context()) {
    check(driver().cuCtxSetCurrent(context), "cuCtxSetCurrent");
  }
  ~CurrentContext() { driver().cuCtxSetCurrent(previous_); }
  CurrentContext(const CurrentContext&) = delete;
  CurrentContext& operator=(const CurrentContext&) = delete;

 private:
  CUcontext previous_;
};

void require_tuner(const Options& options) {
  if (first_use_tuner() == nullptr) {
    throw Error(ErrorCode::invalid_argument,
                "tune_on_first_use needs the tuner: link marlin::tuner and call "
                "marlin::enable_tuning() (marlin/tune.h) before the Linear is made");
  }
  if (const std::string fixed = Ladder::why_fixed(options); !fixed.empty()) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("tune_on_first_use has nothing to choose: {}", fixed));
  }
}

// Ladders with the same kernels, so that one thread makes a kernel and the others find it.
using Sharers = std::vector<const Ladder*>;

std::vector<Sharers> by_kernels(std::span<const Ladder* const> ladders) {
  std::vector<Sharers> groups;
  for (const Ladder* ladder : ladders) {
    const auto group = std::find_if(groups.begin(), groups.end(), [&](const Sharers& sharers) {
      return sharers.front()->shares_kernels(*ladder);
    });
    if (group == groups.end()) {
      groups.push_back({ladder});
    } else {
      group->push_back(ladder);
    }
  }
  return groups;
}

// One rung of one group, and what went wrong with it.
struct Task {
  const Sharers* sharers;
  int rung;
  std::exception_ptr error;

  void run() noexcept {
    try {
      const CurrentContext current(sharers->front()->context());
      for (const Ladder* ladder : *sharers) ladder->warm(rung);
    } catch (...) {
      error = std::current_exception();
    }
  }
};

// The slots that are still empty, the largest rungs first: these take the longest to compile.
std::vector<Task> tasks_for(const std::vector<Sharers>& groups, std::int64_t most_m) {
  std::vector<Task> tasks;
  for (int rung = rung_index(most_m); rung >= 0; --rung) {
    for (const Sharers& sharers : groups) {
      const bool filled = std::all_of(sharers.begin(), sharers.end(), [&](const Ladder* ladder) {
        return ladder->kernel_at(rung) != nullptr;
      });
      if (!filled) tasks.push_back({&sharers, rung, nullptr});
    }
  }
  return tasks;
}

void run_all(std::vector<Task>& tasks, unsigned threads) {
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    for (std::size_t i = next++; i < tasks.size(); i = next++) tasks[i].run();
  };
  std::vector<std::jthread> others;
  try {
    for (unsigned i = 1; i < threads && i < tasks.size(); ++i) others.emplace_back(work);
  } catch (const std::system_error&) {  // no more threads to be had: these must do
  }
  work();
}

}  // namespace

Ladder::Ladder(const DeviceWeights& weights, Options options, KernelStore& store,
               Workspaces& workspaces)
    : weights_(weights), options_(std::move(options)), store_(store), workspaces_(workspaces) {
  require_valid(
      Problem{.shape = {.m = 1, .n = weights.n, .k = weights.k}, .scheme = weights.scheme});
  require_pointer("b", weights.b);
  require_pointer("scales", weights.scales);
  if (options_.tune_on_first_use) require_tuner(options_);
  current_device();  // says so when there is no context
  context_ = current_context();
  check(driver().cuCtxGetId(context_, &context_id_), "cuCtxGetId");
}

// A rule for each option that fixes them.
std::string Ladder::why_fixed(const Options& options) {
  if (options.config) return "the options name a config";
  if (options.target) return "the options name a target";
  if (options.batch_invariant) return "they are batch-invariant, and keep their bits";
  return "";
}

void Ladder::launch(CUstream stream, const void* a, std::int64_t m, void* c) const {
  require_rows("m", m);
  if (m == 0) return;
  require_pointer("a", a);
  require_pointer("c", c);
  require_context();
  const int rung = rung_index(m);
  const Kernel* kernel = kernel_at(rung);
  if (kernel == nullptr) kernel = fill(rung, stream);
  LaunchArgs args = {
      .a = a, .b = weights_.b, .scales = weights_.scales, .c = c, .dependent = options_.chained};
  const auto bytes = static_cast<std::size_t>(kernel->plan().workspace.bytes);
  if (bytes == 0) return kernel->enqueue(stream, args, m);
  Workspaces::Lease workspace = workspaces_.lend(context_id_, stream, bytes);
  args.workspace = workspace.pointer();
  kernel->enqueue(stream, args, m);
  workspace.enqueued();
}

void Ladder::require_context() const {
  const CUcontext current = current_context();
  if (current == context_) return;
  throw Error(ErrorCode::invalid_argument,
              current == nullptr
                  ? "no CUDA context is current on this thread: make that of the Linear current"
                  : "another CUDA context is current than the one the Linear was made in");
}

Problem Ladder::problem_at(int rung) const {
  return {.shape = {.m = rungs()[rung], .n = weights_.n, .k = weights_.k},
          .scheme = weights_.scheme,
          .batch_invariant = options_.batch_invariant};
}

const Kernel* Ladder::fill(int rung, CUstream stream) const {
  if (const Kernel* kernel = kernel_at(rung)) return kernel;
  if (tunes_first_use(stream)) {
    store_.tune_once(problem_at(rung), options_, [&] { first_use_tuner()(*this, rung); });
    if (const Kernel* kernel = kernel_at(rung)) return kernel;
  }
  Options options = options_;
  options.stream = stream;
  const Kernel* kernel = store_.get(problem_at(rung), options);
  prepare(*kernel);
  // Where another thread has filled it meanwhile, with a tuned kernel perhaps, that one stays.
  const Kernel* present = nullptr;
  return slots_[rung].compare_exchange_strong(present, kernel, std::memory_order_acq_rel) ? kernel
                                                                                          : present;
}

bool Ladder::tunes_first_use(CUstream stream) const {
  return options_.tune_on_first_use && !TuningHere::on_this_thread() && !capture_under_way(stream);
}

void Ladder::exchange(int rung, const Kernel* kernel) const {
  prepare(*kernel);
  slots_[rung].store(kernel, std::memory_order_release);
}

// It may have been loaded into another context of this device only.
void Ladder::prepare(const Kernel& kernel) const {
  kernel.load_into_context();
  const Plan& plan = kernel.plan();
  workspaces_.reserve(context_id_, static_cast<std::size_t>(plan.workspace.bytes),
                      kWorkspaceOfAnSm * static_cast<std::size_t>(plan.target.sms));
}

const Ladder& ladder_of(const Linear& linear) { return linear.ladder(); }

bool Ladder::shares_kernels(const Ladder& other) const {
  return context_ == other.context_ && &store_ == &other.store_ && weights_.n == other.weights_.n &&
         weights_.k == other.weights_.k && weights_.scheme == other.weights_.scheme &&
         options_ == other.options_;
}

void Ladder::warm_up(std::span<const Ladder* const> ladders, std::int64_t most_m, int threads) {
  require_rows("most_m", most_m);
  if (most_m == 0) return;
  if (threads < 0) {
    throw Error(ErrorCode::invalid_argument, fmt::format("threads = {} is negative", threads));
  }
  const std::vector<Sharers> groups = by_kernels(ladders);
  std::vector<Task> tasks = tasks_for(groups, most_m);
  const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
  run_all(tasks, threads > 0 ? static_cast<unsigned>(threads) : cores);
  for (auto task = tasks.rbegin(); task != tasks.rend(); ++task) {
    if (task->error) std::rethrow_exception(task->error);
  }
}

}  // namespace marlin
