// marlin db ls|merge|diff|validate: what tuning databases hold, and what may be done to them.
// Entry point: add_db.
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <memory>

#include "codegen/base/error.h"
#include "runtime/base/output_file.h"
#include "runtime/choose/settings.h"
#include "runtime/compile/nvrtc.h"
#include "runtime/driver/driver.h"
#include "tuner/cli/cli_common.h"
#include "tuner/cli/verbs.h"
#include "tuner/search/tuning_files.h"

namespace marlin {
namespace {

using Json = nlohmann::ordered_json;

struct DbOptions {
  std::vector<std::string> files;
  std::string out, gpu;
  bool drop_damaged = false, only_choices = false, json = false;
};

// The versions that a record of this machine would be measured with; "" and 0 where unknown.
struct Versions {
  std::string nvrtc;
  int driver = 0;
};

Versions versions_here() {
  Versions here;
  try {
    here.nvrtc = nvrtc().version();
  } catch (const Error&) {  // nothing is stale by an NVRTC that is not there
  }
  try {
    here.driver = driver().version;
  } catch (const Error&) {  // nor by such a driver
  }
  return here;
}

// The databases that the verb works on, and what is wrong with a layer that is left out.
struct Databases {
  std::vector<LoadedDb> loaded;
  std::vector<std::string> problems;
};

Databases load_all(const DbOptions& options) {
  Databases all;
  for (const std::string& path : options.files) all.loaded.push_back(load_named_db(path));
  if (!options.files.empty()) return all;
  const Settings settings = settings_from({.disable_jit = false});
  const TuningLayers layers = TuningLayers::open(tuning_paths(settings), &all.problems);
  for (const auto& file : layers.files()) all.loaded.push_back(load_db(*file));
  return all;
}

std::vector<BadLine> bad_lines(const std::vector<LoadedDb>& databases) {
  std::vector<BadLine> bad;
  for (const LoadedDb& db : databases) bad.insert(bad.end(), db.bad.begin(), db.bad.end());
  return bad;
}

std::string state_of(const TuningRecord& record, const Versions& here) {
  if (!current_schema(record)) return "other schema";
  return is_stale(record, here.nvrtc, here.driver) ? "stale" : "current";
}

// What the choice gains over the cost model's own config; nothing when that was not timed.
std::string gain_of(const TuningRecord& record) {
  if (record.model_us <= 0) return "";
  return fmt::format("{:+.1f}%", 100 * (record.model_us / record.us - 1));
}

Json describe(const TuningRecord& record) {
  Json json = {{"gpu", record.gpu}};
  json["target"] = to_json(record.target);
  json["shape"] = to_json(record.problem);
  json["chained"] = record.chained;
  json["config"] = to_string(record.config);
  json["schema"] = record.schema;
  json["searched"] = record.searched;
  json["protocol"] = record.protocol;
  json["us"] = record.us;
  json["min_us"] = record.min_us;
  json["max_us"] = record.max_us;
  json["model_us"] = record.model_us > 0 ? Json(record.model_us) : Json();
  json["nvrtc"] = record.nvrtc;
  json["driver"] = record.driver;
  return json;
}

Json describe(const BadLine& bad) {
  return {{"file", bad.file}, {"line", bad.number}, {"problem", bad.problem}};
}

std::vector<std::string> row_of(const TuningRecord& record) {
  return {record.gpu,
          record.target.arch,
          std::to_string(record.target.sms),
          to_string(record.problem),
          record.chained ? "chained" : "isolated",
          to_string(record.config)};
}

std::string short_time(double us) { return fmt::format("{:.3f}", us); }

Exit run_ls(const DbOptions& options) {
  const Databases all = load_all(options);
  const Versions here = versions_here();
  Json result = json_result("db ls");
  result["layers"] = Json::array();
  result["problems"] = all.problems;
  result["damaged"] = bad_lines(all.loaded).size();
  result["choices"] = Json::array();
  std::vector<std::vector<std::string>> rows = {
      {"gpu", "arch", "sms", "shape", "launches", "config", "us", "gain", "state", "layer"}};
  for (const LoadedDb& db : all.loaded) {
    result["layers"].push_back(db.name);
    for (const TuningRecord& record : standing_choices(db)) {
      if (record.gpu.find(options.gpu) == std::string::npos) continue;
      const std::string state = state_of(record, here);
      rows.push_back(row_of(record));
      for (const std::string& cell : {short_time(record.us), gain_of(record), state, db.name}) {
        rows.back().push_back(cell);
      }
      Json json = describe(record);
      json["state"] = state;
      json["layer"] = db.name;
      result["choices"].push_back(std::move(json));
    }
    if (!db.bad.empty()) {
      warn(fmt::format("{}: {} damaged lines, which `marlin db validate` names", db.name,
                       db.bad.size()));
    }
  }
  for (const std::string& problem : all.problems) warn(problem);
  if (options.json) {
    print(text_of(result));
  } else if (rows.size() > 1) {
    print(table(rows));
  }
  return all.problems.empty() && result["damaged"] == 0 ? Exit::done : Exit::findings;
}

void write_file(const std::string& path, std::string_view text) {
  try {
    OutputFile file(path);
    file.write(text);
    file.commit();
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("--out {}", error.what()));
  }
}

bool is_choice(const TuningRecord& record) { return record.kind == TuningRecord::Kind::choice; }

Exit run_merge(const DbOptions& options) {
  const std::vector<LoadedDb> databases = load_all(options).loaded;
  const std::vector<BadLine> bad = bad_lines(databases);
  for (const BadLine& line : bad) warn(to_string(line));
  if (!bad.empty() && !options.drop_damaged) {
    warn(fmt::format("{} damaged lines: nothing is written; --drop-damaged leaves them out",
                     bad.size()));
    return Exit::findings;
  }
  std::vector<TuningRecord> records = merged(databases);
  if (options.only_choices) std::erase_if(records, std::not_fn(is_choice));
  const std::string text = text_of(records);
  if (text.size() > TuningFile::kMostFileBytes) {
    throw Error(ErrorCode::io, fmt::format("--out {}: the union has {} bytes, over {}", options.out,
                                           text.size(), TuningFile::kMostFileBytes));
  }
  write_file(options.out, text);
  const auto choices = std::count_if(records.begin(), records.end(), is_choice);
  Json result = json_result("db merge");
  result["out"] = options.out;
  result["records"] = records.size();
  result["choices"] = choices;
  result["dropped"] = bad.size();
  report(options.json ? text_of(result)
                      : fmt::format("{} records, {} of them choices, in {}\n", records.size(),
                                    choices, options.out),
         options.out);
  return Exit::done;
}

Json list_json(const std::vector<TuningRecord>& records) {
  Json list = Json::array();
  for (const TuningRecord& record : records) list.push_back(describe(record));
  return list;
}

void add_rows(std::vector<std::vector<std::string>>& rows, const char* mark,
              const std::vector<TuningRecord>& records) {
  for (const TuningRecord& record : records) {
    rows.push_back(row_of(record));
    rows.back().insert(rows.back().begin(), mark);
    rows.back().push_back(short_time(record.us));
  }
}

Exit run_diff(const DbOptions& options) {
  const Databases both = load_all(options);
  const DbDiff diff = diff_of(both.loaded.at(0), both.loaded.at(1));
  const std::vector<BadLine> bad = bad_lines(both.loaded);
  for (const BadLine& line : bad) warn(to_string(line));
  Json result = json_result("db diff");
  result["added"] = list_json(diff.added);
  result["removed"] = list_json(diff.removed);
  result["changed"] = Json::array();
  std::vector<std::vector<std::string>> rows = {
      {"", "gpu", "arch", "sms", "shape", "launches", "config", "us"}};
  add_rows(rows, "-", diff.removed);
  add_rows(rows, "+", diff.added);
  for (const ChangedChoice& change : diff.changed) {
    add_rows(rows, "<", {change.before});
    add_rows(rows, ">", {change.after});
    result["changed"].push_back(
        {{"before", describe(change.before)}, {"after", describe(change.after)}});
  }
  if (options.json) {
    print(text_of(result));
  } else if (!diff.empty()) {
    print(table(rows));
  }
  return diff.empty() && bad.empty() ? Exit::done : Exit::findings;
}

Exit run_validate(const DbOptions& options) {
  const Databases all = load_all(options);
  const std::vector<BadLine> bad = bad_lines(all.loaded);
  std::size_t records = 0;
  for (const LoadedDb& db : all.loaded) records += db.records.size();
  Json result = json_result("db validate");
  result["records"] = records;
  result["problems"] = all.problems;
  result["findings"] = Json::array();
  std::string text;
  for (const std::string& problem : all.problems) text += problem + "\n";
  for (const BadLine& line : bad) {
    text += to_string(line) + "\n";
    result["findings"].push_back(describe(line));
  }
  text += fmt::format("{} records, {} findings\n", records, bad.size() + all.problems.size());
  print(options.json ? text_of(result) : text);
  return bad.empty() && all.problems.empty() ? Exit::done : Exit::findings;
}

}  // namespace

void add_db(CLI::App& app, Exit& exit) {
  auto options = std::make_shared<DbOptions>();
  CLI::App* db = app.add_subcommand("db", "Look at tuning databases, join and check them");
  db->require_subcommand(1);
  db->footer(
      "\nWhere no file is named, ls and validate take all that kernels are chosen by, in this "
      "order:\n"
      "$MARLIN_TUNING_DB, else $XDG_DATA_HOME/marlin/tuning.jsonl, else\n"
      "~/.local/share/marlin/tuning.jsonl; tuning.jsonl in each prebuilt folder and in the cache\n"
      "folder; the data that is shipped.\n"
      "\nExamples:\n"
      "  marlin db ls --gpu H200\n"
      "  marlin db merge part1.jsonl part2.jsonl --out tuning.jsonl\n"
      "  marlin db diff before.jsonl after.jsonl\n"
      "  marlin db validate tuning.jsonl\n");
  const auto add = [&](const char* name, const char* help, Exit (*run)(const DbOptions&)) {
    CLI::App* verb = db->add_subcommand(name, help);
    verb->add_flag("--json", options->json, "the same as JSON");
    verb->callback([options, run, &exit] { exit = run(*options); });
    return verb;
  };
  const auto add_files = [&](CLI::App* verb, const char* help) {
    return verb->add_option("files", options->files, help)->type_name("FILE");
  };
  CLI::App* ls =
      add("ls", "List the choices; exit code 1 when a database is damaged or refused", run_ls);
  add_files(ls, "databases");
  ls->add_option("--gpu", options->gpu, "only of GPUs whose name holds this text");
  CLI::App* merge = add("merge",
                        "Write the union of databases. Of several choices for one shape on one "
                        "GPU, isolated and chained ones apart, that of the current kernels stays, "
                        "then that of the widest search, "
                        "then the fastest",
                        run_merge);
  add_files(merge, "databases")->required();
  merge
      ->add_option("--out", options->out,
                   "the file to write, - for stdout; may be one of the others")
      ->required()
      ->type_name("FILE");
  merge->add_flag("--drop-damaged", options->drop_damaged, "leave damaged lines out");
  merge->add_flag("--choices", options->only_choices,
                  "leave out timings and failures, which only a search goes back to");
  add_files(add("diff",
                "Show choices that one database lacks (-), has anew (+) or has changed (< >); exit "
                "code 1 when there are any",
                run_diff),
            "the old and the new database")
      ->required()
      ->expected(2);
  add_files(add("validate", "Name every damaged line and the rule it breaks; exit code 1 for any",
                run_validate),
            "databases");
}

}  // namespace marlin
