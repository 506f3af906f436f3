// Command line -> one verb -> exit code. Entry point: main.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <exception>

#include "codegen/base/error.h"
#include "tuner/cli/cli_common.h"
#include "tuner/cli/verbs.h"

namespace marlin {
namespace {

constexpr const char* kFooter =
    "\nExamples:\n"
    "  marlin doctor\n"
    "  marlin emit --shape 16x28672x4096 --arch sm_90a --sms 132\n"
    "  marlin inspect --emit resources --shapes llama3-8b --m 1,16,64 --arch sm_80 --sms 108\n"
    "  marlin prebuild --shapes llama3-8b --m 1,16,64 --arch sm_80,sm_90a --sms 108,132 --out DIR\n"
    "  marlin verify --shapes published\n"
    "  marlin bench --shapes llama3-8b --m 1,16,64\n"
    "  marlin tune --shapes llama3-8b\n"
    "\nExit codes: 0 done, 1 findings or partial failure, 2 usage, 3 environment (no GPU, no "
    "NVRTC),\n"
    "130 interrupted. Results are on stdout, all else on stderr.\n";

Exit exit_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_shape:
    case ErrorCode::invalid_scheme:
    case ErrorCode::invalid_target:
    case ErrorCode::invalid_config:
    case ErrorCode::invalid_argument: return Exit::usage;
    case ErrorCode::no_driver:
    case ErrorCode::no_device:
    case ErrorCode::no_nvrtc: return Exit::environment;
    default: return Exit::findings;
  }
}

void report(const Error& error) {
  warn(error.what());
  if (!error.options().empty()) fmt::print(stderr, "options:\n{}\n", error.options());
  if (!error.log().empty()) fmt::print(stderr, "log:\n{}\n", error.log());
  if (!error.source_path().empty()) warn("source kept in " + error.source_path());
}

Exit run(int argc, char** argv) {
  CLI::App app("marlin: FP16 x INT4 matrix products, compiled for one shape at a time.", "marlin");
  app.footer(kFooter);
  app.set_version_flag("--version", MARLIN_VERSION);
  app.require_subcommand(1);
  Exit exit = Exit::done;
  add_emit(app, exit);
  add_inspect(app, exit);
  add_prebuild(app, exit);
  add_verify(app, exit);
  add_bench(app, exit);
  add_tune(app, exit);
  add_tune_worker(app, exit);
  add_db(app, exit);
  add_cache(app, exit);
  add_doctor(app, exit);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? Exit::done : Exit::usage;
  } catch (const Error& error) {
    report(error);
    return exit_of(error.code());
  }
  return exit;
}

}  // namespace
}  // namespace marlin

int main(int argc, char** argv) {
  try {
    return static_cast<int>(marlin::run(argc, argv));
  } catch (const std::exception& error) {
    fmt::print(stderr, "marlin: {}\n", error.what());
    return static_cast<int>(marlin::Exit::findings);
  }
}
