// Files of tuning records -> the choice for a shape on a GPU.
// Entry points: TuningFile::read, TuningLayers::find.
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

// A canonical line has these fields side by side, so that lines of other shapes are passed by
// without a look at anything else in them.
std::vector<std::string_view> lines_of(std::string_view text, const Shape& shape,
                                       const Target& target, TokenRange range) {
  const std::string weights =
      fmt::format(",\"n\":{},\"k\":{},\"group\":{},\"exact_m\":", shape.n, shape.k, shape.group);
  const std::string machine = fmt::format(",\"arch\":\"{}\",\"sms\":{},", target.arch, target.sms);
  std::vector<std::string_view> lines;
  for (std::size_t at = 0; (at = find_text(text, weights, at)) != std::string_view::npos;) {
    const std::int64_t m = number_before(text, at);
    const std::size_t begin = text.substr(0, at).rfind('\n') + 1;  // npos + 1 is the beginning
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(begin, end - begin);
    at = end;
    if (m < range.least || m > range.most) continue;
    if (line.find(machine) != std::string_view::npos) lines.push_back(line);
  }
  return lines;
}

bool same_weights(const Shape& x, const Shape& y) {
  return x.n == y.n && x.k == y.k && x.group == y.group;
}

// Farther than by this factor from its m a record serves no other.
constexpr std::int64_t kFarthest = 2;

struct Candidate {
  const TuningFile* file = nullptr;
  TuningRecord record;
};
using Candidates = std::vector<Candidate>;
using Files = std::vector<std::shared_ptr<const TuningFile>>;

// In order of precedence.
Candidates candidates_of(const Files& files, const Shape& shape, const Target& target,
                         TokenRange range) {
  Candidates candidates;
  for (const auto& file : files) {
    std::vector<TuningRecord> records = file->choices(shape, target, range);
    for (auto record = records.rbegin(); record != records.rend(); ++record) {
      candidates.push_back({file.get(), std::move(*record)});
    }
  }
  return candidates;
}

// How far two token counts are from one another: 1 is none.
double distance(std::int64_t x, std::int64_t y) {
  return double(std::max(x, y)) / double(std::min(x, y));
}

const Candidate* best_of(const Candidates& candidates, const Shape& shape, const Target& target,
                         std::string_view gpu, bool chained) {
  const Candidate* best = nullptr;
  double least = 0;
  for (const Candidate& candidate : candidates) {
    const TuningRecord& record = candidate.record;
    if (record.chained != chained || (!gpu.empty() && record.gpu != gpu)) continue;
    if (record.shape == shape) return &candidate;
    const double far = distance(record.shape.m, shape.m);
    if (far > double(kFarthest)) continue;
    const bool nearer =
        best == nullptr || far < least || (far == least && record.shape.m > best->record.shape.m);
    if (!nearer || why_illegal(shape, target, record.config)) continue;
    best = &candidate;
    least = far;
  }
  return best;
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

std::vector<TuningRecord> TuningFile::choices(const Shape& shape, const Target& target,
                                              TokenRange range) const {
  const std::vector<std::string_view> lines = lines_of(text_, shape, target, range);
  std::vector<TuningRecord> found;
  std::set<std::tuple<std::string, std::int64_t, bool, bool>> seen;
  for (auto line = lines.rbegin(); line != lines.rend(); ++line) {
    auto record = parse_line(*line).record;
    if (!record || record->kind != TuningRecord::Kind::choice || !current_schema(*record)) continue;
    if (!same_weights(record->shape, shape) || record->target != target) continue;
    const Shape& its = record->shape;
    if (!seen.emplace(record->gpu, its.m, its.exact_m, record->chained).second) continue;
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
std::optional<TunedChoice> TuningLayers::find(const Shape& shape, const Target& target,
                                              std::string_view gpu, bool chained) const {
  if (broken_rule(shape)) return std::nullopt;
  const auto served = [&](const Candidate& by) {
    return TunedChoice{by.record, by.file->name(), by.record.shape == shape};
  };
  const Candidates same_m = candidates_of(files_, shape, target, {shape.m, shape.m});
  const Candidate* best = best_of(same_m, shape, target, gpu, chained);
  if (best != nullptr && best->record.shape == shape) return served(*best);
  const Candidates near = candidates_of(
      files_, shape, target, {(shape.m + kFarthest - 1) / kFarthest, shape.m * kFarthest});
  for (const bool kind : {chained, false}) {
    for (const std::string_view name : {gpu, std::string_view()}) {
      best = best_of(near, shape, target, name, kind);
      if (best != nullptr) return served(*best);
    }
  }
  return std::nullopt;
}

std::string default_tuning_db() {
  if (const auto path = variable("MARLIN_TUNING_DB")) return *path;
  const std::string folder = user_folder("XDG_DATA_HOME", ".local/share");
  return folder.empty() ? "" : folder + "/" + kTuningFileName;
}

}  // namespace marlin
