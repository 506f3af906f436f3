// TuningFile, TuningLayers: tuning databases, and the look-up of choices in them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/cache/cubin_cache.h"
#include "runtime/choose/tuning_record.h"

namespace marlin {

// Token counts from `least` to `most`.
struct TokenRange {
  std::int64_t least = 1, most = kMaxM;
};

// Which records a look-up finds beside those of the problem's own n, k, scheme and target: of any
// group and SM count, too, whose configs have yet to be fitted and judged.
enum class Kin { same, near };

// The text of one database. Lines are parsed when they are looked at. Safe to read from many
// threads at once; a copy shares the text.
class TuningFile {
 public:
  TuningFile(std::string name, std::string text);

  // The file at this path, links followed: nothing when there is none. Throws Error{io} with the
  // path and the rule for what is no plain file, larger than kMostFileBytes, owned by somebody
  // other than the user and root, or writable by others.
  static std::optional<TuningFile> read(const std::string& path);
  // The data measured for the library's release (tuner/data), embedded in it.
  static const TuningFile& shipped();

  static constexpr std::size_t kMostFileBytes = kMaxChoicesBytes;

  const std::string& name() const { return name_; }  // its path, or "shipped"
  std::string_view text() const { return text_; }

  // The choices of the current schema for this n and k and an m of the range on this target, in the
  // order of the file, chained and isolated ones; a later one replaces an earlier one of the same
  // GPU, problem and kind of launches. A torn or damaged line is passed over. The shape's own m
  // plays no part.
  std::vector<TuningRecord> choices(const Problem& problem, const Target& target,
                                    TokenRange range = {}, Kin kin = Kin::same) const;

 private:
  TuningFile(std::string name, std::shared_ptr<const std::string> owned, std::string_view text)
      : name_(std::move(name)), owned_(std::move(owned)), text_(text) {}

  std::string name_;
  std::shared_ptr<const std::string> owned_;  // null: the text is embedded
  std::string_view text_;
};

struct TunedChoice {
  TuningRecord record;
  std::string layer;   // name of the file it came from
  bool exact = false;  // measured for this very shape on the GPU asked for; else a neighbour's
};

// Databases in order of precedence. Safe to use from many threads at once.
class TuningLayers {
 public:
  explicit TuningLayers(std::vector<std::shared_ptr<const TuningFile>> files)
      : files_(std::move(files)) {}

  // The files at these paths that are there, then the shipped data. One that is refused is left
  // out, and `problems` gets the reason.
  static TuningLayers open(const std::vector<std::string>& paths,
                           std::vector<std::string>* problems = nullptr);

  const std::vector<std::shared_ptr<const TuningFile>>& files() const { return files_; }

  // The records that may serve the shape, the first to be asked first. One measured for this very
  // shape on this GPU ("" as gpu: on any) is an answer, in whatever layer it is, and the last of
  // the list. Before it, or where there is none, come its neighbours, whose configs have yet to be
  // fitted to the shape and judged (select.h): those of this GPU with another m within a factor of
  // two, the nearest first, then those of another group, of another SM count of this architecture
  // and of other GPUs, of this very shape or a near m. Of two that are equally near the one of the
  // larger m comes first, then that of the earlier layer, then the later line. For chained launches
  // all this of chained records, then of isolated ones.
  std::vector<TunedChoice> candidates(const Problem& problem, const Target& target,
                                      std::string_view gpu, bool chained = false) const;

 private:
  std::vector<std::shared_ptr<const TuningFile>> files_;
};

// Where the user's database is: MARLIN_TUNING_DB ("" for none), else
// $XDG_DATA_HOME/marlin/tuning.jsonl, else ~/.local/share/marlin/tuning.jsonl, else "".
std::string default_tuning_db();

}  // namespace marlin
