// marlin inspect: a shape on a target -> what stands at one step between plan and SASS, or a table
// of the resources its kernel takes. Entry point: add_inspect.
#include <fmt/format.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <memory>

#include "codegen/base/error.h"
#include "runtime/compile/kernel_build.h"
#include "runtime/compile/nvrtc.h"
#include "tuner/cli/cli_common.h"
#include "tuner/cli/disassembler.h"
#include "tuner/cli/verbs.h"
#include "tuner/search/parallel.h"

namespace marlin {
namespace {

using Json = nlohmann::ordered_json;

struct InspectOptions {
  ShapeOptions shapes;
  TargetOptions targets;
  std::string what = "resources", config, out;
  int jobs = 1;
  bool json = false;
};

KernelText kernel_for(const InspectOptions& options, const Problem& asked, const Target& target) {
  const Problem problem = kernel_problem(asked);
  return write_kernel(problem, target, config_for(options.config, problem, target));
}

std::string base64(const std::string& bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                     reinterpret_cast<const unsigned char*>(bytes.data()),
                                     static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(length));
  return text;
}

Json describe(const Plan& plan) {
  return {{"shape", to_json(plan.problem)},
          {"target", to_json(plan.target)},
          {"config", to_string(plan.config)},
          {"entry", plan.launch.entry}};
}

std::string plan_text(const Plan& plan) {
  std::vector<std::vector<std::string>> rows = {{"shape", to_string(plan.problem)},
                                                {"target", to_string(plan.target)},
                                                {"config", to_string(plan.config)},
                                                {"entry", plan.launch.entry}};
  for (const auto& [name, value] : named_values(plan))
    rows.push_back({name, std::to_string(value)});
  return table(rows);
}

// One step of one kernel, as text (or a cubin's bytes), or as JSON under the step's name.
void dump_one(const InspectOptions& options, const std::string& disassembler) {
  const KernelText kernel =
      kernel_for(options, options.shapes.resolve_one().problem, options.targets.resolve_one());
  const Plan& plan = kernel.plan;
  Json result = json_result("inspect");
  result.update(describe(plan));
  std::string text;
  if (options.what == "plan") {
    text = plan_text(plan);
    for (const auto& [name, value] : named_values(plan)) result["plan"][name] = value;
  } else if (options.what == "cuda") {
    result["cuda"] = text = kernel.source;
  } else {
    CompileOutput compiled = compile_text(kernel);
    text = options.what == "ptx" ? std::move(compiled.ptx) : std::move(compiled.cubin);
    if (options.what == "sass") text = disassemble(disassembler, text);
    if (options.what == "cubin") {
      result["cubin_base64"] = base64(text);
    } else {
      result[options.what] = text;
    }
  }
  print_or_write(options.json ? text_of(result) : text, options.out);
}

// A kernel's line of the table of resources.
struct ResourceRow {
  std::string layer;
  KernelText kernel;
  KernelResources resources;
  std::size_t cubin_bytes = 0;
  double compile_ms = 0;
  std::string error;  // why it did not compile; empty when it did
};

void fill_row(ResourceRow& row) {
  try {
    const CompileOutput compiled = compile_text(row.kernel);
    row.resources = parse_resources(compiled.log, row.kernel.plan.launch.entry);
    row.cubin_bytes = compiled.cubin.size();
    row.compile_ms = compiled.milliseconds;
  } catch (const Error& error) {
    row.error = error.what();
  }
}

std::vector<ResourceRow> resource_rows(const InspectOptions& options) {
  std::vector<ResourceRow> rows;
  const std::vector<NamedProblem> shapes = options.shapes.resolve();
  for (const Target& target : options.targets.resolve()) {
    for (const NamedProblem& named : shapes) {
      rows.push_back({named.layer, kernel_for(options, named.problem, target), {}, 0, 0, {}});
    }
  }
  return rows;
}

std::string resource_table(const std::vector<ResourceRow>& rows) {
  std::vector<std::vector<std::string>> cells = {
      {"layer", "shape", "arch", "sms", "config", "registers", "spill_bytes", "stack_bytes",
       "shared_bytes", "threads", "grid", "cubin_bytes", "compile_ms"}};
  for (const ResourceRow& row : rows) {
    const Plan& plan = row.kernel.plan;
    std::vector<std::string> line = {row.layer.empty() ? "-" : row.layer, to_string(plan.problem),
                                     plan.target.arch, std::to_string(plan.target.sms),
                                     to_string(plan.config)};
    if (row.error.empty()) {
      const KernelResources& used = row.resources;
      const std::string grid =
          fmt::format("{}x{}x{}", plan.launch.grid_x, plan.launch.grid_y, plan.launch.grid_z);
      for (std::string cell :
           {std::to_string(used.registers), std::to_string(used.spill_stores + used.spill_loads),
            std::to_string(used.stack_bytes),
            std::to_string(plan.launch.shared_bytes + used.static_shared_bytes),
            std::to_string(plan.launch.threads), grid, std::to_string(row.cubin_bytes),
            fmt::format("{:.0f}", row.compile_ms)}) {
        line.push_back(std::move(cell));
      }
    } else {
      line.emplace_back("failed");
    }
    cells.push_back(std::move(line));
  }
  return table(cells);
}

Json resource_json(const ResourceRow& row) {
  Json json = {{"layer", row.layer}};
  json.update(describe(row.kernel.plan));
  if (!row.error.empty()) {
    json["error"] = row.error;
    return json;
  }
  json["registers"] = row.resources.registers;
  json["spill_store_bytes"] = row.resources.spill_stores;
  json["spill_load_bytes"] = row.resources.spill_loads;
  json["stack_bytes"] = row.resources.stack_bytes;
  json["shared_bytes"] = row.kernel.plan.launch.shared_bytes + row.resources.static_shared_bytes;
  json["threads"] = row.kernel.plan.launch.threads;
  json["grid"] = {row.kernel.plan.launch.grid_x, row.kernel.plan.launch.grid_y,
                  row.kernel.plan.launch.grid_z};
  json["cubin_bytes"] = row.cubin_bytes;
  json["compile_ms"] = row.compile_ms;
  return json;
}

Exit show_resources(const InspectOptions& options) {
  std::vector<ResourceRow> rows = resource_rows(options);
  nvrtc_identity();  // none at all is one error, not one for each row
  catch_interrupts();
  {
    Progress progress("compiling", rows.size());
    parallel_for(rows.size(), options.jobs, [&](std::size_t i) {
      fill_row(rows[i]);
      progress.step(rows[i].kernel.plan.launch.entry);
    });
  }
  if (interrupted()) return Exit::interrupted;
  Json result = json_result("inspect");
  result["kernels"] = Json::array();
  Exit exit = Exit::done;
  for (const ResourceRow& row : rows) {
    result["kernels"].push_back(resource_json(row));
    if (row.error.empty()) continue;
    exit = Exit::findings;
    warn(fmt::format("{} on {}: {}", to_string(row.kernel.plan.problem),
                     to_string(row.kernel.plan.target), row.error));
  }
  print_or_write(options.json ? text_of(result) : resource_table(rows), options.out);
  return exit;
}

Exit run_inspect(const InspectOptions& options) {
  if (options.what == "resources") return show_resources(options);
  if (options.what == "cubin" && !options.json && options.out.empty() &&
      isatty(STDOUT_FILENO) == 1) {
    throw Error(ErrorCode::invalid_argument,
                "a cubin is no text for a terminal: give --out FILE or redirect stdout");
  }
  std::string disassembler;
  if (options.what == "sass") {
    disassembler = find_disassembler();
    if (disassembler.empty()) {
      warn(kInstallDisassembler);
      return Exit::environment;
    }
  }
  dump_one(options, disassembler);
  return Exit::done;
}

}  // namespace

void add_inspect(CLI::App& app, Exit& exit) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* verb = app.add_subcommand("inspect",
                                      "Show a kernel's plan, source, PTX, cubin, SASS or "
                                      "resources");
  verb->footer(
      "\nplan, cuda, ptx, cubin and sass are of one shape on one target; resources is a table "
      "over\n"
      "all shapes and targets: registers of a thread, bytes spilled (stores and loads) and stack "
      "of\n"
      "a thread, shared memory and threads of a block, blocks of the grid, size of the cubin, "
      "time\n"
      "of the compile. All but sass and a default target need no GPU; sass needs nvdisasm or\n"
      "cuobjdump.\n"
      "\nExamples:\n"
      "  marlin inspect --shape 16x28672x4096 --arch sm_90a --sms 132 --emit plan\n"
      "  marlin inspect --shape 16x28672x4096 --arch sm_80 --sms 108 --emit cubin -o kernel.cubin\n"
      "  marlin inspect --shapes llama3-8b --m 1,16,64 --arch sm_80,sm_90a --sms 108,132 -j 2\n");
  verb->add_option("--emit", options->what, "what to show")
      ->check(CLI::IsMember({"plan", "cuda", "ptx", "cubin", "sass", "resources"}))
      ->capture_default_str();
  options->shapes.add_to(*verb);
  options->targets.add_to(*verb);
  verb->add_option("--config", options->config,
                   "this config's text, or 'model' for the cost model's, instead of the chosen one")
      ->type_name("TEXT");
  verb->add_option("-o,--out", options->out, "write to this file instead of stdout")
      ->type_name("FILE");
  verb->add_option("-j,--jobs", options->jobs, "compiles at the same time (resources)")
      ->check(CLI::Range(1, 1024))
      ->type_name("N");
  verb->add_flag("--json", options->json, "the same as JSON; a cubin as base64");
  verb->callback([options, &exit] { exit = run_inspect(*options); });
}

}  // namespace marlin
