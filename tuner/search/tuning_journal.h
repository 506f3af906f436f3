// TuningJournal: the user's tuning database as a search reads and extends it.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/base/unique_fd.h"
#include "runtime/choose/tuning_record.h"

namespace marlin {

// What a search measures on: records of anything else in the file are left alone.
struct TuningSubject {
  std::string gpu;
  Target target;
  std::string nvrtc;  // version: "13.0"
  int driver = 0;     // CUDA version: 13000
  bool chained = false;
};

// Every record is on the disk (appended whole, synced) before append() returns, so an end at any
// moment loses at most the record in hand. Safe to use from many threads; several processes may
// append to one file.
class TuningJournal {
 public:
  // Opens the file or makes it, with the folders above it. An unfinished last line, as a crash
  // leaves it, is cut off. Throws Error{io} with the path and the reason.
  TuningJournal(std::string path, TuningSubject subject);

  const std::string& path() const { return path_; }
  const TuningSubject& subject() const { return subject_; }

  // The records of this shape on the subject, of the current schema, in the order of the file. A
  // damaged line is passed over.
  std::vector<TuningRecord> records(const Problem& problem) const;

  // Fills in what the subject says and writes the record; gives it as it will be read back, its
  // times rounded. Throws Error{io} and leaves no part of a line when it cannot be written whole.
  TuningRecord append(TuningRecord record);

 private:
  void load(std::string_view text);

  std::string path_;
  TuningSubject subject_;
  UniqueFd fd_;
  mutable std::mutex mutex_;
  std::map<std::string, std::vector<TuningRecord>> records_;  // by to_string(shape)
};

}  // namespace marlin
