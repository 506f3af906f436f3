// --arch, --sms and --config -> targets and configs that a verb works on.
// Entry points: TargetOptions::resolve, choice_for, config_for.
#include <fmt/format.h>

#include <algorithm>

#include "codegen/base/error.h"
#include "codegen/generator.h"
#include "runtime/choose/select.h"
#include "runtime/choose/settings.h"
#include "runtime/driver/device.h"
#include "runtime/driver/driver.h"
#include "tuner/cli/cli_common.h"

namespace marlin {
namespace {

[[noreturn]] void refuse(const std::string& message) {
  throw Error(ErrorCode::invalid_target, message);
}

std::string known_names() {
  std::string names;
  for (const ArchLimits& arch : known_archs()) {
    names += (names.empty() ? "" : ", ") + std::string(arch.name);
  }
  return names;
}

// What --arch and --sms leave out is taken from the GPU; one that no architecture serves is an
// error only where its architecture is asked for.
std::optional<Target> own_target(bool arch_given) {
  try {
    return gpu_target();
  } catch (const Error& error) {
    if (arch_given && error.code() == ErrorCode::invalid_target) return std::nullopt;
    throw;
  }
}

std::vector<std::string> archs_or_own(const std::vector<std::string>& archs,
                                      const std::optional<Target>& own) {
  if (!archs.empty()) return archs;
  if (own) return {own->arch};
  refuse(fmt::format("no GPU here to take the architecture from: give --arch ({}) and --sms",
                     known_names()));
}

int own_sms(const std::string& arch, const std::optional<Target>& own) {
  if (own && own->arch == arch) return own->sms;
  refuse(fmt::format(
      "no {} GPU here to take the SM count from: give --sms, the target's number of streaming "
      "multiprocessors (A100 108, A10 72, L4 58, L40S 142, H100 SXM 132, H200 132, RTX 5090 170)",
      arch));
}

}  // namespace

void TargetOptions::add_to(CLI::App& verb) {
  const std::string group = "Targets";
  verb.add_option(
          "--arch", archs,
          fmt::format("architectures ({}, or others that run their code, as sm_121 does); the "
                      "GPU's own when there is one",
                      known_names()))
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("ARCH,...")
      ->group(group);
  verb.add_option("--sms", sms,
                  "SM counts, one for each --arch or one for all; the GPU's own when it has that "
                  "architecture, needed otherwise")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("COUNT,...")
      ->group(group);
}

std::vector<Target> TargetOptions::resolve() const {
  const std::optional<Target> own =
      archs.empty() || sms.empty() ? own_target(!archs.empty()) : std::optional<Target>();
  std::vector<std::string> names = archs_or_own(archs, own);
  for (std::string& name : names) name = arch_named(name);
  std::vector<int> counts = sms;
  if (counts.empty()) {
    for (const std::string& name : names) counts.push_back(own_sms(name, own));
  }
  if (names.size() != counts.size() && names.size() != 1 && counts.size() != 1) {
    refuse(fmt::format("{} architectures and {} SM counts: give one count for each, or one for all",
                       names.size(), counts.size()));
  }
  std::vector<Target> targets;
  for (std::size_t i = 0; i < std::max(names.size(), counts.size()); ++i) {
    const Target target{names[names.size() == 1 ? 0 : i], counts[counts.size() == 1 ? 0 : i]};
    require_valid(target);
    if (std::find(targets.begin(), targets.end(), target) == targets.end()) {
      targets.push_back(target);
    }
  }
  return targets;
}

Target TargetOptions::resolve_one() const {
  const std::vector<Target> all = resolve();
  if (all.size() != 1) refuse(fmt::format("{} targets: this works on one target", all.size()));
  return all.front();
}

std::optional<Target> gpu_target() {
  if (!gpu_available()) return std::nullopt;
  CUdevice device = 0;
  check(driver().cuDeviceGet(&device, 0), "cuDeviceGet");
  return target_of_device(device);
}

std::string gpu_name_of(const Target& target) {
  try {
    if (gpu_target() != target) return "";
    CUdevice device = 0;
    check(driver().cuDeviceGet(&device, 0), "cuDeviceGet");
    return device_name(device);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::invalid_target) return "";  // no kernels for the GPU here
    throw;
  }
}

const TuningLayers& tuning_layers() {
  static const TuningLayers layers =
      TuningLayers::open(tuning_paths(settings_from({.disable_jit = false})));
  return layers;
}

Choice choice_for(const std::string& text, const Problem& problem, const Target& target,
                  std::string_view gpu, bool chained, int nvrtc) {
  Choice choice = choose_config(text, problem, target, gpu, tuning_layers(), chained, nvrtc);
  if (choice.by != ChosenBy::given) return choice;
  if (const auto rule = why_illegal(problem, target, choice.config)) {
    throw Error(ErrorCode::invalid_config,
                fmt::format("'{}' is not legal for {} on {}: {}", text, to_string(problem),
                            to_string(target), *rule));
  }
  return choice;
}

Config config_for(const std::string& text, const Problem& problem, const Target& target,
                  bool chained) {
  return choice_for(text, problem, target, gpu_name_of(target), chained).config;
}

}  // namespace marlin
