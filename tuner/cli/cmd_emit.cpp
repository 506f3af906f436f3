// marlin emit: one shape on one target -> the CUDA source of its kernel. Entry point: add_emit.
#include <memory>

#include "runtime/compile/kernel_build.h"
#include "tuner/cli/cli_common.h"
#include "tuner/cli/verbs.h"

namespace marlin {
namespace {

struct EmitOptions {
  ShapeOptions problem;
  TargetOptions target;
  std::string config, out;
  bool json = false;
};

void run_emit(const EmitOptions& options) {
  const Problem problem = kernel_problem(options.problem.resolve_one().problem);
  const Target target = options.target.resolve_one();
  const KernelText kernel =
      write_kernel(problem, target, config_for(options.config, problem, target));
  if (!options.json) return print_or_write(kernel.source, options.out);
  nlohmann::ordered_json result = json_result("emit");
  result["shape"] = to_json(kernel.plan.problem);
  result["target"] = to_json(kernel.plan.target);
  result["config"] = to_string(kernel.plan.config);
  result["entry"] = kernel.plan.launch.entry;
  result["source"] = kernel.source;
  print_or_write(text_of(result), options.out);
}

}  // namespace

void add_emit(CLI::App& app, Exit&) {
  auto options = std::make_shared<EmitOptions>();
  CLI::App* verb = app.add_subcommand("emit", "Print the CUDA source of one kernel");
  verb->footer(
      "\nExamples:\n"
      "  marlin emit --shape 16x28672x4096 --arch sm_90a --sms 132\n"
      "  marlin emit --shape 1x4096x4096 --exact --group -1 --arch sm_80 --sms 108 -o kernel.cu\n");
  options->problem.add_to(*verb);
  options->target.add_to(*verb);
  verb->add_option("--config", options->config,
                   "this config's text, or 'model' for the cost model's, instead of the chosen one")
      ->type_name("TEXT");
  verb->add_option("-o,--out", options->out, "write to this file instead of stdout")
      ->type_name("FILE");
  verb->add_flag("--json", options->json, "the source and what it was written for, as JSON");
  verb->callback([options] { run_emit(*options); });
}

}  // namespace marlin
