// TuningRecord <-> its line of a tuning database. Entry points: to_line, parse_line.
#include "runtime/choose/tuning_record.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <vector>

#include "codegen/base/error.h"
#include "codegen/generator.h"
#include "runtime/base/sha256.h"

namespace marlin {
namespace {

using Kind = TuningRecord::Kind;

constexpr std::size_t kSumDigits = 16;
constexpr std::size_t kMostTextChars = 200;
// Beyond what any config field means, and small enough for every product of a few of them.
constexpr int kMostConfigValue = 1 << 20;
constexpr double kMostMicroseconds = 1e9;

// In the order of the enumerators; a record of any other scheme is refused, and never served.
const std::array<std::string_view, 1> kTypeNames = {info(DataType::f16).name};
const std::array<std::string_view, 1> kWeightNames = {info(WeightFormat::u4b8).record_name};
constexpr std::array<std::string_view, 3> kKinds = {"choice", "timing", "failure"};

bool printable(char c) { return c >= ' ' && c <= '~'; }

// What the reader takes: printable ASCII, not too much of it.
std::string plain_text(std::string_view text) {
  std::string plain(text.substr(0, kMostTextChars));
  std::replace_if(
      plain.begin(), plain.end(), [](char c) { return !printable(c); }, '?');
  return plain;
}

// A config's fields as a form's: what visit_config asks of a visitor.
template <class Form>
struct ConfigFields {
  Form& form;

  template <class Options>
  void family(Options& options) {
    auto family = static_cast<Family>(options.index());
    form.name("family", family, kFamilyNames);
    if constexpr (!std::is_const_v<Options>) options = options_of(family);
  }
  template <class Number>
  void number(const char* name, const char*, Number& value, bool = false) {
    form.number(name, value);
  }
  template <class Enum, class Names>
  void choice(const char* name, Enum& value, const Names& names) {
    form.name(name, value, names);
  }
  template <class Flag>
  void flag(const char* name, const char*, Flag& value) {
    form.mark(name, value);
  }
  template <class Number>
  void count(const char* name, const char*, Number& value) {
    form.more(name, value);
  }
};

// The fields of a line in their order, as Writer prints them and Reader takes them.
template <class Form, class Record>
void visit_record(Form& form, Record& record) {
  form.fixed("v", "1");
  form.name("kind", record.kind, kKinds);
  form.text("gpu", record.gpu);
  form.text("arch", record.target.arch);
  form.number("sms", record.target.sms);
  form.number("m", record.problem.shape.m);
  form.number("n", record.problem.shape.n);
  form.number("k", record.problem.shape.k);
  form.number("group", record.problem.scheme.group);
  form.flag("exact_m", record.problem.shape.exact_m);
  form.mark("chained", record.chained);
  form.mark("batch_invariant", record.problem.batch_invariant);
  form.name("a", record.problem.scheme.activation, kTypeNames);
  form.name("b", record.problem.scheme.weight, kWeightNames);
  form.name("c", record.problem.scheme.activation, kTypeNames);  // C is of the activations' type
  form.open("config");
  ConfigFields<Form> fields{form};
  visit_config(record.config, fields);
  form.close();
  form.number("schema", record.schema);
  if (record.kind == Kind::choice) form.text("searched", record.searched);
  form.text("protocol", record.protocol);
  if (record.kind == Kind::failure) {
    form.text("reason", record.reason);
  } else {
    form.time("us", record.us);
    form.time("min_us", record.min_us);
    form.time("max_us", record.max_us);
  }
  if (record.kind == Kind::choice) form.time("model_us", record.model_us);
  form.text("nvrtc", record.nvrtc);
  form.number("driver", record.driver);
}

class Writer {
 public:
  void fixed(std::string_view key, std::string_view value) { put(key, value); }

  template <class Enum, class Names>
  void name(std::string_view key, Enum value, const Names& names) {
    text(key, names[static_cast<std::size_t>(value)]);
  }

  void text(std::string_view key, std::string_view value) {
    std::string quoted = "\"";
    for (const char c : plain_text(value)) {
      if (c == '"' || c == '\\') quoted += '\\';
      quoted += c;
    }
    put(key, quoted + "\"");
  }

  void number(std::string_view key, std::int64_t value) { put(key, fmt::format("{}", value)); }
  void flag(std::string_view key, bool value) { put(key, value ? "true" : "false"); }
  void mark(std::string_view key, bool value) {
    if (value) flag(key, true);
  }
  void more(std::string_view key, int value) {
    if (value != 1) number(key, value);
  }
  // A nanosecond is finer than any clock of a GPU.
  void time(std::string_view key, double us) { put(key, fmt::format("{:.3f}", us)); }

  void open(std::string_view key) { put(key, "{"); }
  void close() { text_ += '}'; }

  std::string take() { return std::move(text_); }

 private:
  void put(std::string_view key, std::string_view value) {
    if (text_.back() != '{') text_ += ',';
    text_ += '"';
    text_ += key;
    text_ += "\":";
    text_ += value;
  }

  std::string text_ = "{";
};

// After the first thing that does not fit it takes nothing more.
class Reader {
 public:
  explicit Reader(std::string_view line) : line_(line) {}

  void fixed(std::string_view key, std::string_view value) {
    begin(key);
    if (!take(value)) fail(fmt::format("\"{}\" is not {}", key, value));
  }

  template <class Enum, class Names>
  void name(std::string_view key, Enum& value, const Names& names) {
    std::string word;
    text(key, word);
    const auto found = std::find(names.begin(), names.end(), word);
    if (found == names.end()) return fail(fmt::format("\"{}\" has a value that is unknown", key));
    value = static_cast<Enum>(found - names.begin());
  }

  void text(std::string_view key, std::string& value) {
    begin(key);
    if (!take("\"")) fail(fmt::format("\"{}\" is no text", key));
    value.clear();
    while (ok() && !take("\"")) {
      take("\\");
      if (at_ == line_.size() || !printable(line_[at_])) {
        return fail(fmt::format("\"{}\" has a byte that is no printable ASCII", key));
      }
      if (value.size() == kMostTextChars) {
        return fail(fmt::format("\"{}\" has more than {} characters", key, kMostTextChars));
      }
      value += line_[at_++];
    }
  }

  template <class Int>
  void number(std::string_view key, Int& value) {
    begin(key);
    if (!read(value)) fail(fmt::format("\"{}\" is no integer, or too large", key));
  }

  void flag(std::string_view key, bool& value) {
    begin(key);
    value = take("true");
    if (!value && !take("false")) fail(fmt::format("\"{}\" is neither true nor false", key));
  }

  // A flag that is there only where it is true.
  void mark(std::string_view key, bool& value) {
    value = take(fmt::format(",\"{}\":", key));
    if (value && !take("true")) fail(fmt::format("\"{}\" is there and not true", key));
  }

  // A count that is there only where it is more than 1.
  void more(std::string_view key, int& value) {
    value = 1;
    if (take(fmt::format(",\"{}\":", key)) && (!read(value) || value < 2)) {
      fail(fmt::format("\"{}\" is there and not an integer above 1", key));
    }
  }

  void time(std::string_view key, double& us) {
    begin(key);
    if (!read(us, std::chars_format::fixed) || !std::isfinite(us)) {
      fail(fmt::format("\"{}\" is no number", key));
    }
  }

  void open(std::string_view key) {
    begin(key);
    if (!take("{")) fail(fmt::format("\"{}\" is no object", key));
    first_ = true;
  }
  void close() {
    if (!take("}")) fail("an object has more fields than it should have");
  }

  bool ok() const { return problem_.empty(); }
  const std::string& problem() const { return problem_; }
  std::size_t position() const { return at_; }

 private:
  void begin(std::string_view key) {
    if (!first_ && !take(",")) fail(fmt::format("\"{}\" is not there", key));
    first_ = false;
    if (!take("\"") || !take(key) || !take("\":")) fail(fmt::format("\"{}\" is not there", key));
  }

  bool take(std::string_view word) {
    if (!ok() || line_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  template <class Number, class... Format>
  bool read(Number& value, Format... format) {
    if (!ok()) return false;
    const char* const begin = line_.data() + at_;
    const auto [end, error] = std::from_chars(begin, line_.data() + line_.size(), value, format...);
    at_ += static_cast<std::size_t>(end - begin);
    return error == std::errc();
  }

  void fail(std::string why) {
    if (ok()) problem_ = fmt::format("column {}: {}", at_ + 1, why);
  }

  std::string_view line_;
  std::size_t at_ = 1;  // past the opening brace
  bool first_ = true;
  std::string problem_;
};

std::string body_of(const TuningRecord& record) {
  Writer writer;
  visit_record(writer, record);
  return writer.take();
}

std::string sum_of(std::string_view body) {
  return fmt::format(",\"sum\":\"{}\"}}", sha256_hex(body).substr(0, kSumDigits));
}

// Finds a number of a config that no config field can mean.
struct ConfigLimits {
  std::optional<std::string> rule = {};

  template <class Options>
  void family(Options&) {}
  void number(const char*, const char*, int value, bool = false) { check(value); }
  template <class Enum, class Names>
  void choice(const char*, Enum, const Names&) {}
  void flag(const char*, const char*, bool) {}
  void count(const char*, const char*, int value) { check(value); }

 private:
  void check(int value) {
    if (rule || (value >= 1 && value <= kMostConfigValue)) return;
    rule = fmt::format("{} in the config is not in 1..{}", value, kMostConfigValue);
  }
};

std::optional<std::string> broken_config_rule(const Config& config) {
  ConfigLimits limits;
  visit_config(config, limits);
  return limits.rule;
}

std::optional<std::string> broken_time_rule(const TuningRecord& record) {
  // Below half a nanosecond it would be written as none.
  if (record.kind != Kind::failure && !(record.us >= 0.0005)) {
    return fmt::format("us = {} is not above 0", record.us);
  }
  for (const double us : {record.us, record.min_us, record.max_us, record.model_us}) {
    if (!(us >= 0 && us <= kMostMicroseconds) || std::signbit(us)) {
      return fmt::format("a time of {} us is not in 0..{:.0f}", us, kMostMicroseconds);
    }
  }
  return std::nullopt;
}

std::optional<std::string> broken_target_rule(const Target& target) {
  try {
    require_valid(target);
  } catch (const Error& error) {
    return error.what();
  }
  return std::nullopt;
}

// The rule a record breaks, whatever its form.
std::optional<std::string> broken_rule(const TuningRecord& record) {
  const Problem& problem = record.problem;
  if (record.gpu.empty()) return "the GPU has no name";
  if (auto rule = broken_target_rule(record.target)) return rule;
  if (auto rule = broken_rule(problem)) return rule;
  if (!problem.shape.exact_m && rung_for(problem.shape.m) != problem.shape.m) {
    return fmt::format("m = {} is neither exact nor a rung", problem.shape.m);
  }
  if (auto rule = broken_config_rule(record.config)) return rule;
  if (auto rule = broken_time_rule(record)) return rule;
  if (record.schema < 1) return fmt::format("schema = {} is not above 0", record.schema);
  if (record.driver < 0) return fmt::format("driver = {} is below 0", record.driver);
  if (!current_schema(record)) return std::nullopt;
  if (auto rule = why_illegal(problem, record.target, record.config)) {
    return fmt::format("'{}' is not legal for {} on {}: {}", to_string(record.config),
                       to_string(problem), to_string(record.target), *rule);
  }
  return std::nullopt;
}

// One of the comma separated words of `list`.
bool lists(std::string_view list, std::string_view word) {
  for (std::size_t begin = 0; begin <= list.size();) {
    const std::size_t end = std::min(list.find(',', begin), list.size());
    if (list.substr(begin, end - begin) == word) return true;
    begin = end + 1;
  }
  return false;
}

}  // namespace

std::string to_line(const TuningRecord& record) {
  if (auto rule = broken_rule(record)) {
    throw Error(ErrorCode::invalid_argument, fmt::format("tuning record: {}", *rule));
  }
  const std::string body = body_of(record);
  return body + sum_of(body) + "\n";
}

ParsedLine parse_line(std::string_view line) {
  if (line.size() > kMostLineBytes) {
    return {std::nullopt, fmt::format("has {} bytes, over {}", line.size(), kMostLineBytes)};
  }
  if (line.empty() || line.front() != '{') return {std::nullopt, "is no JSON object"};
  TuningRecord record;
  Reader reader(line);
  visit_record(reader, record);
  if (!reader.ok()) return {std::nullopt, reader.problem()};
  const std::string_view body = line.substr(0, reader.position());
  if (body_of(record) != body) {
    return {std::nullopt, "is not in the canonical form: a number or text is written otherwise"};
  }
  if (line.substr(body.size()) != sum_of(body)) return {std::nullopt, "its checksum is wrong"};
  if (auto rule = broken_rule(record)) return {std::nullopt, *rule};
  return {std::move(record), {}};
}

bool current_schema(const TuningRecord& record) {
  return record.schema == schema_of(record.config.family());
}

bool is_stale(const TuningRecord& record, std::string_view nvrtc, int driver) {
  if (!nvrtc.empty() && record.nvrtc != nvrtc) return true;
  if (driver != 0 && record.driver != driver) return true;
  if (record.kind != Kind::choice) return false;
  return !std::all_of(std::begin(kFamilies), std::end(kFamilies), [&](Family family) {
    return lists(record.searched, fmt::format("{}/{}", name_of(family), schema_of(family)));
  });
}

}  // namespace marlin
