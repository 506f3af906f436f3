// Plan: every integer an emitted kernel uses, by name.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "codegen/plan/config.h"
#include "codegen/plan/decode_plan.h"
#include "codegen/plan/parts.h"
#include "codegen/plan/stripe_plan.h"
#include "codegen/plan/wgmma_plan.h"
#include "codegen/problem/problem.h"
#include "codegen/problem/target.h"

namespace marlin {

struct Plan {
  Problem problem;
  Target target;
  Config config;

  Launch launch;
  Tiles tiles;
  GroupScales scales;
  GlobalMemory global;
  Workspace workspace;

  // What the config's family has beside these, in the order of Family's enumerators.
  std::variant<StripePlan, DecodePlan, WgmmaPlan> own;

  const StripePlan& stripe() const { return std::get<StripePlan>(own); }
  const DecodePlan& decode() const { return std::get<DecodePlan>(own); }
  const WgmmaPlan& wgmma() const { return std::get<WgmmaPlan>(own); }
  StripePlan& stripe() { return std::get<StripePlan>(own); }
  DecodePlan& decode() { return std::get<DecodePlan>(own); }
  WgmmaPlan& wgmma() { return std::get<WgmmaPlan>(own); }

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& part) {
    part("launch", self.launch);
    part("tiles", self.tiles);
    part("scales", self.scales);
    part("global", self.global);
    part("workspace", self.workspace);
    std::visit([&](auto& own) { part(name_of(self.config.family()), own); }, self.own);
  }
};

// Room for counters; the same in every kernel.
inline constexpr std::int64_t kCounterBytes = 64 << 10;

inline constexpr std::int64_t kMostCounters = kCounterBytes / 4;

// What every family's plan begins with: tiles of N and K, row counts, scales and the strides of
// global memory.
Plan start_plan(const Problem& problem, const Target& target, const Config& config);

// Parts that several families share.
WarpTile warp_tile(const Plan& plan);
// Rows of so many bytes, copied by so many threads.
ActivationCopies activation_copies(int rows, int copiers, int row_bytes);
// Runs of `items` that are equal as far as they go, so that who reduces one is a literal.
std::vector<Reducer> even_reducers(int items, int blocks);
int most_of(const std::vector<Reducer>& reducers);

// Whether there are group scales, by where they are applied.
bool scales_accumulators(const Plan& plan);
bool scales_weights(const Plan& plan);

// Every integer of the plan as (name, value), "stripe.reduction.pitch", in a fixed order, for
// dumps.
std::vector<std::pair<std::string, std::int64_t>> named_values(const Plan& plan);

}  // namespace marlin
