// Verbs of the command line program: each add_<verb> adds one subcommand whose callback does the
// work and stores the exit code; errors leave it as marlin::Error and main turns them into codes.
#pragma once

#include <CLI/CLI.hpp>

namespace marlin {

enum class Exit {
  done = 0,
  findings = 1,     // findings, or some of the work failed
  usage = 2,        // the command line, a shape, a target or a config breaks a rule
  environment = 3,  // no GPU, no driver or no NVRTC
  interrupted = 130,
};

// `exit` must outlive the parse of `app`; it is written by the verb that ran.
void add_emit(CLI::App& app, Exit& exit);
void add_inspect(CLI::App& app, Exit& exit);
void add_prebuild(CLI::App& app, Exit& exit);
void add_verify(CLI::App& app, Exit& exit);
void add_bench(CLI::App& app, Exit& exit);
void add_tune(CLI::App& app, Exit& exit);
void add_tune_worker(CLI::App& app, Exit& exit);
void add_db(CLI::App& app, Exit& exit);
void add_cache(CLI::App& app, Exit& exit);
void add_doctor(CLI::App& app, Exit& exit);

}  // namespace marlin
