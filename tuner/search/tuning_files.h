// Whole tuning databases, as the verbs read, join and compare them.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "runtime/choose/tuning_db.h"

namespace marlin {

struct BadLine {
  std::string file;
  std::size_t number = 0;  // 1 is the first
  std::string problem;     // the broken rule
};

// "FILE:12: its checksum is wrong"
std::string to_string(const BadLine& bad);

struct LoadedDb {
  std::string name;
  std::vector<TuningRecord> records;  // in the order of the lines
  std::vector<BadLine> bad;
};

// Every line of the file. A last line without a line end is a bad one if it is torn.
LoadedDb load_db(const TuningFile& file);

// The same of a file that was named by the user, who answers for it: whoever may write it. Throws
// Error{invalid_argument} when there is none, Error{io} when it cannot be read or is larger than a
// database may be.
LoadedDb load_named_db(const std::string& path);

// The choices of one file, of any schema: of several for the same GPU, target, shape and kind of
// launches the last.
std::vector<TuningRecord> standing_choices(const LoadedDb& db);

// Whether both are choices for the same GPU, target, shape and kind of launches.
bool same_key(const TuningRecord& x, const TuningRecord& y);

// The union, in an order that depends on nothing but the records: exact duplicates once, and of the
// choices for one key the one of the current schema, then with all families of today searched, then
// with most families searched, then the fastest. In one database a later choice stands for an
// earlier one.
std::vector<TuningRecord> merged(const std::vector<LoadedDb>& databases);

// The lines of all, as a file holds them.
std::string text_of(const std::vector<TuningRecord>& records);

// Adds choices to those of a cache folder, where they stand for earlier ones for the same key. What
// is left out of the file because it is damaged there.
std::vector<BadLine> add_choices(const std::string& dir, const std::vector<TuningRecord>& records);

// What `marlin db diff` shows.
struct ChangedChoice {
  TuningRecord before, after;
};
struct DbDiff {
  std::vector<TuningRecord> added, removed;
  std::vector<ChangedChoice> changed;  // another config or schema; another time alone is none

  bool empty() const { return added.empty() && removed.empty() && changed.empty(); }
};
DbDiff diff_of(const LoadedDb& before, const LoadedDb& after);

}  // namespace marlin
