// TuningFile, TuningLayers: tuning databases, and the look-up of a choice in them.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/tuning_record.h"

namespace marlin {

// The text of one database. Lines are parsed when they are looked at. Safe to read from many
// threads at once.
class TuningFile {
 public:
  TuningFile(std::string name, std::string text) : name_(std::move(name)), text_(std::move(text)) {}

  // The file at this path: nothing when there is none. Throws Error{io} with the path and the rule
  // for what is no plain file, larger than kMostFileBytes, or writable by others.
  static std::optional<TuningFile> read(const std::string& path);
  // The data measured for the library's release (tuner/data), with a view of embedded text.
  static const TuningFile& shipped();

  static constexpr std::size_t kMostFileBytes = std::size_t{64} << 20;

  const std::string& name() const { return name_; }  // its path, or "shipped"
  std::string_view text() const { return text_; }

  // The choices of the current schema for this n, k and group on this target, in the order of the
  // file; a later one replaces an earlier one of the same GPU and m. A torn or damaged line is
  // passed over.
  std::vector<TuningRecord> choices(const Shape& shape, const Target& target) const;

 private:
  std::string name_;
  std::string text_;
};

struct TunedChoice {
  TuningRecord record;
  std::string layer;   // name of the file it came from
  bool exact = false;  // measured for this very shape; else for the nearest m
};

// Databases in order of precedence.
class TuningLayers {
 public:
  explicit TuningLayers(std::vector<std::shared_ptr<const TuningFile>> files);

  // Exact in any layer, else the nearest m within a factor of two whose config is legal for the
  // shape; both first among the records of this GPU, then of any GPU of the target ("" as gpu: any
  // at once). Nothing when no record serves.
  std::optional<TunedChoice> find(const Shape& shape, const Target& target,
                                  std::string_view gpu) const;

 private:
  std::vector<std::shared_ptr<const TuningFile>> files_;
};

// Where the user's database is: MARLIN_TUNING_DB ("" for none), else
// $XDG_DATA_HOME/marlin/tuning.jsonl, else ~/.local/share/marlin/tuning.jsonl, else "".
std::string default_tuning_db();

// The database inside a prebuilt cache folder.
inline constexpr const char* kTuningFileName = "tuning.jsonl";

}  // namespace marlin
