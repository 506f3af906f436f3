// Config <-> its one-line text, as printed, cached and given on the command line.
// Entry points: to_string, parse_config.
#include "codegen/plan/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <sstream>
#include <vector>

#include "codegen/base/error.h"

namespace marlin {

const char* name_of(Family family) { return kFamilyNames[static_cast<std::size_t>(family)].data(); }

std::variant<StripeOptions, DecodeOptions, WgmmaOptions> options_of(Family family) {
  switch (family) {
    case Family::stripe: return StripeOptions{};
    case Family::decode: return DecodeOptions{};
    case Family::wgmma: return WgmmaOptions{};
  }
  return {};
}

namespace {

using AllOptions = decltype(Config::options);

class TextWriter {
 public:
  void family(const AllOptions& options) {
    const auto family = static_cast<Family>(options.index());
    if (family != Family::stripe) text_ = name_of(family);
  }
  void number(const char*, const char* prefix, int value, bool joined = false) {
    word(joined, fmt::format("{}{}", prefix, value));
  }
  template <class Enum, class Names>
  void choice(const char*, Enum value, const Names& names) {
    word(false, names[static_cast<std::size_t>(value)]);
  }
  void flag(const char*, const char* text, bool value) {
    if (value) word(false, text);
  }
  void count(const char*, const char* prefix, int value) {
    if (value != 1) word(false, fmt::format("{}{}", prefix, value));
  }
  std::string take() { return std::move(text_); }

 private:
  void word(bool joined, std::string_view text) {
    if (!joined && !text_.empty()) text_ += ' ';
    text_ += text;
  }

  std::string text_;
};

// Takes the text word by word; a joined field goes on in the word of the one before it. Options
// come last, in any order.
class TextReader {
 public:
  explicit TextReader(std::string_view text) {
    std::istringstream words{std::string(text)};
    for (std::string word; words >> word;) words_.push_back(word);
  }

  void family(AllOptions& options) {
    for (const Family family : {Family::decode, Family::wgmma}) {
      if (words_.empty() || words_.front() != name_of(family)) continue;
      options = options_of(family);
      words_.erase(words_.begin());
      return;
    }
  }
  void number(const char*, const char* prefix, int& value, bool joined = false) {
    if (!joined) next_word();
    if (!take(prefix) || !take_number(rest_, value)) refuse(words_[next_ - 1]);
  }
  template <class Enum, class Names>
  void choice(const char*, Enum& value, const Names& names) {
    next_word();
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (!take(names[i])) continue;
      value = static_cast<Enum>(i);
      return;
    }
    refuse(words_[next_ - 1]);
  }
  void flag(const char*, const char* text, bool& value) {
    take_option([&](std::string_view word) { return value = word == text; });
  }
  void count(const char*, const char* prefix, int& value) {
    take_option([&](std::string_view word) {
      const std::size_t size = std::string_view(prefix).size();
      if (word.substr(0, size) != prefix) return false;
      word.remove_prefix(size);
      return take_number(word, value) && word.empty();
    });
  }
  // After the last field: what is left is none of this family's options, or one said twice.
  void finish() {
    end_word();
    if (next_ < words_.size()) refuse(words_[next_]);
  }

 private:
  static constexpr std::size_t kFields = 8;

  [[noreturn]] static void refuse(const std::string& word) {
    throw Error(ErrorCode::invalid_config, fmt::format("config: cannot read '{}'; the form is '{}'",
                                                       word, to_string(Config{})));
  }
  void end_word() const {
    if (!rest_.empty()) refuse(words_[next_ - 1]);
  }
  void next_word() {
    end_word();
    if (next_ == words_.size()) {
      throw Error(ErrorCode::invalid_config,
                  fmt::format("config: {} fields of {}; the form is '{}'", next_, kFields,
                              to_string(Config{})));
    }
    rest_ = words_[next_++];
  }
  bool take(std::string_view prefix) {
    if (rest_.substr(0, prefix.size()) != prefix) return false;
    rest_.remove_prefix(prefix.size());
    return true;
  }
  // A positive integer at the beginning of the text.
  static bool take_number(std::string_view& text, int& value) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return error == std::errc() && value > 0;
  }
  template <class Reads>
  void take_option(const Reads& reads) {
    end_word();
    const auto found =
        std::find_if(words_.begin() + static_cast<std::ptrdiff_t>(next_), words_.end(), reads);
    if (found != words_.end()) words_.erase(found);
  }

  std::vector<std::string> words_;
  std::size_t next_ = 0;   // the first word that no field has taken
  std::string_view rest_;  // of the word before it
};

}  // namespace

std::string to_string(const Config& config) {
  TextWriter writer;
  visit_config(config, writer);
  return writer.take();
}

Config parse_config(std::string_view text) {
  Config config;
  TextReader reader(text);
  visit_config(config, reader);
  reader.finish();
  return config;
}

}  // namespace marlin
