// Files of tuning records -> those that may choose the config for a shape on a GPU.
// Entry points: TuningFile::read, TuningLayers::candidates.
#include "runtime/choose/tuning_db.h"

#include <fmt/format.h>
#include <string.h>

#include <algorithm>
#include <charconv>
#include <set>
#include <tuple>

#include "codegen/base/error.h"
#include "codegen/generator.h"
#include "runtime/base/environment.h"
#include "runtime/cache/cache_folder.h"
#include "runtime/cache/cubin_cache.h"
#include "runtime/choose/shipped_tuning.h"

namespace marlin {
namespace {

// memmem beats string_view::find by far: these needles begin with the most common byte.
std::size_t find_text(std::string_view text, std::string_view needle, std::size_t from) {
  if (from >= text.size()) return std::string_view::npos;
  const void* found = memmem(text.data() + from, text.size() - from, needle.data(), needle.size());
  if (found == nullptr) return std::string_view::npos;
  return static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
}

// The number that ends before `end`, or 0.
std::int64_t number_before(std::string_view text, std::size_t end) {
  constexpr std::size_t kMostDigits = 18;
  std::size_t begin = end;
  while (begin > 0 && end - begin < kMostDigits && text[begin - 1] >= '0' &&
         text[begin - 1] <= '9') {
    --begin;
  }
  std::int64_t number = 0;
  std::from_chars(text.data() + begin, text.data() + end, number);
  return number;
}

// Of batch-invariant records, which are parsed for such problems alone: their order of summation
// takes long to work out.
constexpr std::string_view kInvariantMark = ",\"batch_invariant\":true,";

// A canonical line has these fields side by side, so that lines of other shapes are passed by
// without a look at anything else in them.
std::vector<std::string_view> lines_of(std::string_view text, const Problem& problem,
                                       const Target& target, TokenRange range, Kin kin) {
  std::string weights =
      fmt::format(",\"n\":{},\"k\":{},\"group\":", problem.shape.n, problem.shape.k);
  std::string machine = fmt::format(",\"arch\":\"{}\",\"sms\":", target.arch);
  if (kin == Kin::same) {
    weights += fmt::format("{},\"exact_m\":", problem.scheme.group);
    machine += fmt::format("{},", target.sms);
  }
  std::vector<std::string_view> lines;
  for (std::size_t at = 0; (at = find_text(text, weights, at)) != std::string_view::npos;) {
    const std::int64_t m = number_before(text, at);
    const std::size_t begin = text.substr(0, at).rfind('\n') + 1;  // npos + 1 is the beginning
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(begin, end - begin);
    at = end;
    if (m < range.least || m > range.most) continue;
    if ((find_text(line, kInvariantMark, 0) != std::string_view::npos) != problem.batch_invariant) {
      continue;
    }
    if (line.find(machine) != std::string_view::npos) lines.push_back(line);
  }
  return lines;
}

// Whether they differ in m alone, or near kin in the group: a record of another scheme, epilogue or
// grouping serves no other.
bool are_kin(Problem x, const Problem& y, Kin kin) {
  x.shape.m = y.shape.m;
  x.shape.exact_m = y.shape.exact_m;
  if (kin == Kin::near) x.scheme.group = y.scheme.group;
  return x == y;
}

bool are_kin(const Target& x, const Target& y, Kin kin) {
  return x.arch == y.arch && (kin == Kin::near || x.sms == y.sms);
}

// Farther than by this factor from its m a record serves no other.
constexpr std::int64_t kFarthest = 2;

using Choices = std::vector<TunedChoice>;
using Files = std::vector<std::shared_ptr<const TuningFile>>;

// Of every layer, in order of precedence; which of them are exact is not asked yet.
Choices choices_of(const Files& files, const Problem& problem, const Target& target,
                   TokenRange range, Kin kin) {
  Choices choices;
  for (const auto& file : files) {
    std::vector<TuningRecord> records = file->choices(problem, target, range, kin);
    for (auto record = records.rbegin(); record != records.rend(); ++record) {
      choices.push_back({std::move(*record), file->name()});
    }
  }
  return choices;
}

// How far two token counts are from one another: 1 is none.
double distance(std::int64_t x, std::int64_t y) {
  return double(std::max(x, y)) / double(std::min(x, y));
}

bool of_gpu(const TuningRecord& record, std::string_view gpu) {
  return gpu.empty() || record.gpu == gpu;
}

// The first that was measured for this very shape on this GPU.
std::optional<TunedChoice> exact_of(const Choices& choices, const Problem& problem,
                                    std::string_view gpu, bool chained) {
  for (const TunedChoice& choice : choices) {
    const TuningRecord& record = choice.record;
    if (record.chained != chained || record.problem != problem || !of_gpu(record, gpu)) continue;
    TunedChoice exact = choice;
    exact.exact = true;
    return exact;
  }
  return std::nullopt;
}

// The others that may serve the shape.
Choices neighbours_of(const Choices& choices, const Problem& problem, const Target& target,
                      std::string_view gpu, bool chained) {
  Choices found;
  const auto is_exact = [&](const TuningRecord& record) {
    return record.problem == problem && record.target == target && of_gpu(record, gpu);
  };
  for (const TunedChoice& choice : choices) {
    const TuningRecord& record = choice.record;
    if (record.chained != chained || is_exact(record)) continue;
    if (distance(record.problem.shape.m, problem.shape.m) > double(kFarthest)) continue;
    found.push_back(choice);
  }
  const auto rank = [&](const TunedChoice& choice) {
    const TuningRecord& record = choice.record;
    return std::tuple(record.target != target, !of_gpu(record, gpu),
                      record.problem.scheme != problem.scheme, record.problem != problem,
                      distance(record.problem.shape.m, problem.shape.m), -record.problem.shape.m);
  };
  std::stable_sort(found.begin(), found.end(),
                   [&](const TunedChoice& x, const TunedChoice& y) { return rank(x) < rank(y); });
  return found;
}

}  // namespace

TuningFile::TuningFile(std::string name, std::string text)
    : name_(std::move(name)),
      owned_(std::make_shared<const std::string>(std::move(text))),
      text_(*owned_) {}

std::optional<TuningFile> TuningFile::read(const std::string& path) {
  auto text = read_checked_file(path, kMostFileBytes);
  if (!text) return std::nullopt;
  return TuningFile(path, std::move(*text));
}

std::vector<TuningRecord> TuningFile::choices(const Problem& problem, const Target& target,
                                              TokenRange range, Kin kin) const {
  const std::vector<std::string_view> lines = lines_of(text_, problem, target, range, kin);
  std::vector<TuningRecord> found;
  std::set<std::tuple<std::string, int, int, std::int64_t, bool, bool>> seen;
  for (auto line = lines.rbegin(); line != lines.rend(); ++line) {
    auto record = parse_line(*line).record;
    if (!record || record->kind != TuningRecord::Kind::choice || !current_schema(*record)) continue;
    const auto& [its, scheme] = std::tie(record->problem.shape, record->problem.scheme);
    if (!are_kin(record->problem, problem, kin) || !are_kin(record->target, target, kin)) continue;
    if (!seen.emplace(record->gpu, record->target.sms, scheme.group, its.m, its.exact_m,
                      record->chained)
             .second) {
      continue;
    }
    found.push_back(std::move(*record));
  }
  std::reverse(found.begin(), found.end());
  return found;
}

// One file is used as it lies in the library; several are joined.
const TuningFile& TuningFile::shipped() {
  static const auto& file = *new TuningFile([] {
    if (embedded::kTuningSize == 1) {
      return TuningFile("shipped", nullptr, embedded::text_of(embedded::kTuning[0]));
    }
    std::string text;
    for (std::size_t i = 0; i < embedded::kTuningSize; ++i)
      text += embedded::text_of(embedded::kTuning[i]);
    return TuningFile("shipped", std::move(text));
  }());
  return file;
}

TuningLayers TuningLayers::open(const std::vector<std::string>& paths,
                                std::vector<std::string>* problems) {
  std::vector<std::shared_ptr<const TuningFile>> files;
  for (const std::string& path : paths) {
    try {
      auto file = TuningFile::read(path);
      if (file) files.push_back(std::make_shared<const TuningFile>(std::move(*file)));
    } catch (const Error& error) {
      if (problems != nullptr) problems->emplace_back(error.what());
    }
  }
  files.push_back(std::make_shared<const TuningFile>(TuningFile::shipped()));
  return TuningLayers(std::move(files));
}

// Mostly there is an exact record of this GPU, and then no other line is parsed.
std::vector<TunedChoice> TuningLayers::candidates(const Problem& problem, const Target& target,
                                                  std::string_view gpu, bool chained) const {
  if (broken_rule(problem)) return {};
  const Choices same_m =
      choices_of(files_, problem, target, {problem.shape.m, problem.shape.m}, Kin::same);
  if (auto exact = exact_of(same_m, problem, gpu, chained)) return {std::move(*exact)};
  const Choices near = choices_of(
      files_, problem, target,
      {(problem.shape.m + kFarthest - 1) / kFarthest, problem.shape.m * kFarthest}, Kin::near);
  Choices candidates;
  if (chained) candidates = neighbours_of(near, problem, target, gpu, true);
  if (auto exact = exact_of(same_m, problem, gpu, false)) {
    candidates.push_back(std::move(*exact));
    return candidates;
  }
  for (TunedChoice& isolated : neighbours_of(near, problem, target, gpu, false)) {
    candidates.push_back(std::move(isolated));
  }
  return candidates;
}

std::string default_tuning_db() {
  if (const auto path = variable("MARLIN_TUNING_DB")) return *path;
  const std::string folder = user_folder("XDG_DATA_HOME", ".local/share");
  return folder.empty() ? "" : folder + "/" + kTuningFileName;
}

}  // namespace marlin
