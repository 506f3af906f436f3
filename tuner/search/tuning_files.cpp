// Tuning databases -> their records, the union of several, the difference of two.
// Entry points: load_db, merged, diff_of.
#include "tuner/search/tuning_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <tuple>

#include "codegen/base/error.h"
#include "runtime/base/unique_fd.h"
#include "runtime/cache/cache_folder.h"
#include "runtime/cache/cubin_cache.h"

namespace marlin {
namespace {

using Kind = TuningRecord::Kind;

// By machine, then weights, then tokens, then batch-invariant ones, then isolated or chained
// launches.
auto place_of(const TuningRecord& record) {
  const Problem& problem = record.problem;
  return std::make_tuple(record.target.arch, record.target.sms, record.gpu, problem.shape.n,
                         problem.shape.k, problem.scheme.group, problem.shape.m,
                         problem.shape.exact_m, problem.batch_invariant, record.chained);
}
using Place = decltype(place_of(TuningRecord()));

auto families_searched(const TuningRecord& record) {
  return std::count(record.searched.begin(), record.searched.end(), ',');
}

// Whether x survives beside y, by nothing that depends on the machine that merges.
bool better(const TuningRecord& x, const TuningRecord& y) {
  const auto rank = [](const TuningRecord& record) {
    return std::make_tuple(!current_schema(record), is_stale(record, "", 0),
                           -families_searched(record), record.us);
  };
  if (rank(x) != rank(y)) return rank(x) < rank(y);
  return to_line(x) < to_line(y);
}

// The whole of what can be read, pipes too.
std::string read_all(const std::string& path) {
  const auto fail = [&](int error) {
    throw Error(error == ENOENT ? ErrorCode::invalid_argument : ErrorCode::io,
                fmt::format("{}: {}", path, std::strerror(error)));
  };
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) fail(errno);
  std::string text;
  std::string block(std::size_t{1} << 16, '\0');
  for (;;) {
    const ssize_t got = read(fd.get(), block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(errno);
    if (got == 0) return text;
    text.append(block, 0, static_cast<std::size_t>(got));
    if (text.size() > TuningFile::kMostFileBytes) {
      throw Error(ErrorCode::io,
                  fmt::format("{}: has more than {} bytes", path, TuningFile::kMostFileBytes));
    }
  }
}

std::map<Place, TuningRecord> choices_by_place(const LoadedDb& db) {
  std::map<Place, TuningRecord> choices;
  for (const TuningRecord& record : db.records) {
    if (record.kind == Kind::choice) choices.insert_or_assign(place_of(record), record);
  }
  return choices;
}

}  // namespace

std::string to_string(const BadLine& bad) {
  return fmt::format("{}:{}: {}", bad.file, bad.number, bad.problem);
}

LoadedDb load_db(const TuningFile& file) {
  LoadedDb db{.name = file.name(), .records = {}, .bad = {}};
  const std::string_view text = file.text();
  std::size_t number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    ParsedLine line = parse_line(text.substr(begin, end - begin));
    ++number;
    begin = end + 1;
    if (line.record) {
      db.records.push_back(std::move(*line.record));
    } else {
      db.bad.push_back({db.name, number, std::move(line.problem)});
    }
  }
  return db;
}

LoadedDb load_named_db(const std::string& path) {
  return load_db(TuningFile(path, read_all(path)));
}

std::vector<TuningRecord> standing_choices(const LoadedDb& db) {
  std::vector<TuningRecord> choices;
  for (auto& [place, record] : choices_by_place(db)) choices.push_back(record);
  return choices;
}

bool same_key(const TuningRecord& x, const TuningRecord& y) {
  return x.kind == Kind::choice && y.kind == Kind::choice && place_of(x) == place_of(y);
}

std::vector<TuningRecord> merged(const std::vector<LoadedDb>& databases) {
  std::map<Place, TuningRecord> choices;
  // Choices come before what else is known of their place.
  std::map<std::tuple<Place, Kind, std::string>, TuningRecord> records;
  for (const LoadedDb& db : databases) {
    for (auto& [place, choice] : choices_by_place(db)) {
      const auto [other, is_new] = choices.emplace(place, choice);
      if (!is_new && better(choice, other->second)) other->second = choice;
    }
    for (const TuningRecord& record : db.records) {
      if (record.kind == Kind::choice) continue;
      records.emplace(std::make_tuple(place_of(record), record.kind, to_line(record)), record);
    }
  }
  for (auto& [place, choice] : choices) {
    records.emplace(std::make_tuple(place, Kind::choice, to_line(choice)), choice);
  }
  std::vector<TuningRecord> result;
  result.reserve(records.size());
  for (auto& [key, record] : records) result.push_back(std::move(record));
  return result;
}

std::string text_of(const std::vector<TuningRecord>& records) {
  std::string text;
  for (const TuningRecord& record : records) text += to_line(record);
  return text;
}

DbDiff diff_of(const LoadedDb& before, const LoadedDb& after) {
  const std::map<Place, TuningRecord> old = choices_by_place(before);
  const std::map<Place, TuningRecord> now = choices_by_place(after);
  DbDiff diff;
  for (const auto& [place, record] : old) {
    const auto found = now.find(place);
    if (found == now.end()) {
      diff.removed.push_back(record);
    } else if (found->second.config != record.config || found->second.schema != record.schema) {
      diff.changed.push_back({record, found->second});
    }
  }
  for (const auto& [place, record] : now) {
    if (!old.contains(place)) diff.added.push_back(record);
  }
  return diff;
}

std::vector<BadLine> add_choices(const std::string& dir, const std::vector<TuningRecord>& records) {
  const CacheFolder folder = CacheFolder::create(dir);
  const auto before = folder.read(kTuningFileName, TuningFile::kMostFileBytes);
  LoadedDb all =
      load_db(TuningFile(fmt::format("{}/{}", dir, kTuningFileName), before.value_or("")));
  all.records.insert(all.records.end(), records.begin(), records.end());
  const std::string text = text_of(merged({all}));
  if (text != before.value_or("")) folder.publish(kTuningFileName, text);
  return all.bad;
}

}  // namespace marlin
